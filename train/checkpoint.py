"""The run directory on disk: what `train` leaves and `export` reads, and the state to resume from.

    model.safetensors   EMA weights of the last epoch, with a `ModelRecord` as metadata
    checkpoint.pt       everything needed to continue to the same result
    config.toml  split.json  metrics.json  predictions.csv  *.png  report.md

Files are written whole or not at all. Nothing is unpickled: `torch.load(weights_only=True)`.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, TypeVar, cast

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from smartbin.atomic import write_bytes_atomic, write_text_atomic
from smartbin.errors import CheckpointError, ConfigError
from smartbin.images import LabelledPhoto
from smartbin.preprocess import PreprocessSpec
from train.datasets.photos import DataSet
from train.datasets.sources import Part
from train.datasets.split_record import SPLIT_FILE, SplitRecord, record_split
from train.datasets.splits import RecordedSplit
from train.metrics import RunMetrics, Score
from train.networks.architectures import Triple, architecture_of
from train.networks.origin import METADATA_KEY

MODEL_FILE = "model.safetensors"
STATE_FILE = "checkpoint.pt"
CONFIG_FILE = "config.toml"
METRICS_FILE = "metrics.json"
_STATE_VERSION = 1


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelRecord(_Record):
    """What a reader of the weights has to know; travels inside `model.safetensors`."""

    schema_version: int = 1
    architecture: str
    classes: tuple[str, ...]
    mean: Triple
    std: Triple
    preprocess: PreprocessSpec
    seed: int
    epochs: int
    weights: str
    """Name of the starting weights: their file, `imagenet`, or `none`."""
    data: str
    data_fingerprint: str
    git_commit: str | None


class TrainState(TypedDict):
    """The content of `checkpoint.pt`, tensors and plain values: `epoch` epochs done, `step` batches of the next."""

    version: int
    epoch: int
    step: int
    model: dict[str, Tensor]
    ema: dict[str, Tensor]
    optimizer: dict[str, object]
    loss_sum: float
    objective_sum: float
    seconds: float
    set_up_seconds: float
    epoch_seconds: float
    """Both absent in checkpoints of version 0.1."""
    history: str
    fingerprint: str
    best: dict[str, Tensor]
    teachers: str
    """SHA-256 of the teachers' weights. Like `best` absent in checkpoints of version 0.1."""


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """A finished run."""

    path: Path
    record: ModelRecord
    split: SplitRecord
    metrics: RunMetrics

    @property
    def architecture(self) -> str:
        """Name of the architecture, which `architecture_of` takes."""
        return self.record.architecture

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes in the order of the logits."""
        return self.record.classes

    @property
    def mean(self) -> Triple:
        """Mean of the normalisation, RGB, on the 0 to 1 scale."""
        return self.record.mean

    @property
    def std(self) -> Triple:
        """Standard deviation of the normalisation, RGB, on the 0 to 1 scale."""
        return self.record.std

    @property
    def preprocess(self) -> PreprocessSpec:
        """The device preprocessing that the network was validated with."""
        return self.record.preprocess

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.record.seed

    @property
    def epochs(self) -> int:
        """Epochs trained."""
        return self.record.epochs

    @property
    def weights(self) -> str:
        """Name of the starting weights."""
        return self.record.weights

    @property
    def data(self) -> str:
        """Name of the data set."""
        return self.record.data

    @property
    def data_fingerprint(self) -> str:
        """SHA-256 over all photos and their parts."""
        return self.record.data_fingerprint

    @property
    def git_commit(self) -> str | None:
        """Commit of the code that trained, where known."""
        return self.record.git_commit

    @property
    def validation(self) -> Score:
        """Figures on the validation photos, of the delivered weights in float32."""
        return self.metrics.val

    def photos(self, part: Part, data: Sequence[str] | Path | None = None) -> list[LabelledPhoto]:
        """The photos of a part, absolute paths; `data` is where they are now, if they moved.

        `data`: a folder for a run on one source; for a run on several `NAME=FOLDER` for each that moved.
        Raises `CheckpointError` if a photo is not there any more or a folder is of no source.
        """
        photos = self.split.listed(part, data)
        if gone := [photo for photo in photos if not photo.path.is_file()]:
            roots = self.split.roots(data)
            raise CheckpointError(
                f"photos of the run's {part} part are gone",
                where=", ".join(str(root) for root in roots.values()),
                found=f"{len(gone)} of {len(photos)} absent, such as {gone[0].path.name}",
                fix=f"give the folder that holds them now: --data {'NAME=FOLDER' if len(roots) > 1 else 'FOLDER'}",
            )
        return photos

    def build_model(self) -> nn.Module:
        """The trained network in eval mode: normalised float32 [N, 3, S, S] to logits [N, C].

        Raises `CheckpointError` if the weights are damaged.
        """
        model = architecture_of(self.architecture).build(len(self.classes), 0.0, 0.0)
        tensors, _ = _read_model(self.path / MODEL_FILE)
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            raise CheckpointError(
                "the weights do not fit their architecture", where=self.path / MODEL_FILE, found=str(error)[:300]
            ) from error
        return model.eval()


def load_run(path: Path | str) -> TrainedRun:
    """Open a finished run directory; `CheckpointError` says what is missing or damaged."""
    path = Path(path)
    if not path.is_dir():
        raise CheckpointError("no run directory here", where=path, expected="a folder made by train/run.py")
    if not (path / MODEL_FILE).is_file() and (path / STATE_FILE).is_file():
        raise CheckpointError(
            "this run has not finished", where=path, fix=f"continue it: python train/run.py --resume {path}"
        )
    _, record = _read_model(path / MODEL_FILE, with_tensors=False)
    try:
        architecture_of(record.architecture)
    except ConfigError as error:
        raise CheckpointError(
            "a run of an unknown architecture", where=path, found=record.architecture, expected=error.expected
        ) from error
    return TrainedRun(
        path=path,
        record=record,
        split=read_record(path / SPLIT_FILE, SplitRecord),
        metrics=read_record(path / METRICS_FILE, RunMetrics),
    )


def save_model(path: Path, weights: Mapping[str, Tensor], record: ModelRecord) -> None:
    """Write `model.safetensors` into the run directory `path`."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    write_bytes_atomic(path / MODEL_FILE, save(tensors, metadata={METADATA_KEY: record.model_dump_json()}))


def save_split(path: Path, data: DataSet, fingerprint: str) -> None:
    """Write `split.json` into the run directory `path`."""
    record = record_split(data, fingerprint)
    write_text_atomic(path / SPLIT_FILE, record.model_dump_json(indent=1) + "\n")


def begun_split(path: Path) -> RecordedSplit | None:
    """The split that the run in `path` began with; None if there is none yet."""
    if not (path / SPLIT_FILE).is_file():
        return None
    return read_record(path / SPLIT_FILE, SplitRecord).recorded()


def save_state(path: Path, state: TrainState) -> None:
    """Write `checkpoint.pt` into the run directory `path`."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_bytes_atomic(path / STATE_FILE, buffer.getvalue())


def has_state(path: Path) -> bool:
    """Whether the run in `path` has a state to resume from; one that was killed in its first epoch has none yet.

    `CheckpointError` for a finished run without one: beginning again would replace it.
    """
    if (path / STATE_FILE).is_file():
        return True
    if (path / MODEL_FILE).is_file():
        raise CheckpointError(
            "nothing to resume here: the run has finished, and its state is gone",
            where=path,
            found=f"{MODEL_FILE} without {STATE_FILE}",
            expected="both, or neither in a run that was stopped in its first epoch",
            fix="use the run as it is, or begin another with --out",
        )
    return False


def load_state(path: Path) -> TrainState:
    """Read `checkpoint.pt` of the run directory `path`; `CheckpointError` if absent, damaged or of another version."""
    file = path / STATE_FILE
    if not file.is_file():
        raise CheckpointError(
            "nothing to resume here",
            where=path,
            expected=f"a run directory with {STATE_FILE}, as the first process of this run sees it",
            fix="give all machines of the run the same folder",
        )
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            "the checkpoint cannot be read", where=file, found=str(error).split("\n")[0], fix="start the run again"
        ) from error
    version = state.get("version") if isinstance(state, dict) else None
    if version != _STATE_VERSION:
        raise CheckpointError("a checkpoint of another version", where=file, found=version, expected=_STATE_VERSION)
    return cast("TrainState", state)


RecordType = TypeVar("RecordType", bound=BaseModel)


def read_record(file: Path, model: type[RecordType]) -> RecordType:
    """A JSON file of the run directory as its record; `CheckpointError` if absent or damaged."""
    try:
        return model.model_validate_json(file.read_bytes())
    except FileNotFoundError as error:
        raise CheckpointError(
            "the run directory is incomplete", where=file.parent, expected=file.name, fix="let the run finish"
        ) from error
    except ValidationError as error:
        raise CheckpointError("a damaged file of a run", where=file, found=str(error.errors()[0]["msg"])) from error


def _read_model(file: Path, *, with_tensors: bool = True) -> tuple[dict[str, Tensor], ModelRecord]:
    if not file.is_file():
        raise CheckpointError("no trained weights here", where=file.parent, expected=file.name)
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = (opened.metadata() or {}).get(METADATA_KEY, "")
            tensors = {name: opened.get_tensor(name) for name in opened.keys()} if with_tensors else {}  # noqa: SIM118
        return tensors, ModelRecord.model_validate_json(metadata)
    except (SafetensorError, OSError) as error:
        raise CheckpointError("the weights cannot be read", where=file, found=error) from error
    except ValidationError as error:
        raise CheckpointError(
            "not weights of a smartbin run", where=file, found=str(error.errors()[0]["msg"])
        ) from error

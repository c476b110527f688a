"""The model bundle: a folder with `model.onnx`, `manifest.json` and `MODEL_CARD.md`, written whole or not at all.

The export writes it, everything that classifies reads it. Nothing in it is executed and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from smartbin.atomic import replace_folder
from smartbin.classes import check_classes
from smartbin.errors import BundleError, DataError
from smartbin.prediction import RejectThresholds
from smartbin.preprocess import PreprocessSpec

SCHEMA_VERSION: Literal[1] = 1
MODEL_FILE, MANIFEST_FILE, CARD_FILE = "model.onnx", "manifest.json", "MODEL_CARD.md"
GOLDEN_FILE, SIGNATURE_FILE = "golden.npz", "signature.bin"  # a bundle may have them
INPUT_NAME, PROBABILITIES_NAME, ENERGY_NAME = "image", "probabilities", "energy"

Target: TypeAlias = Literal["cpu", "tensorrt"]
"""What a graph is laid out for; ONNX Runtime runs both, TensorRT its own alone."""

_BUILTIN = Path(__file__).with_name("builtin_bundle")
_CHUNK_BYTES = 1 << 20


def _checked_classes(names: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return check_classes(names)
    except DataError as error:
        raise ValueError(f"{error.what}: {error.found}") from error


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Metric(_Record):
    """Accuracy on one set of photos, with its 95 % Wilson interval."""

    split: str
    photos: int = Field(ge=1)
    of: Literal["checkpoint", "exported"]
    accuracy: float = Field(ge=0, le=1)
    interval_low: float = Field(ge=0, le=1)
    interval_high: float = Field(ge=0, le=1)
    macro_f1: float = Field(ge=0, le=1)


class Parity(_Record):
    """How far the exported file is from the checkpoint that it was made of, on real photos."""

    photos: int = Field(ge=1)
    top1_agreement: float = Field(ge=0, le=1)
    max_abs_probability_difference: float = Field(ge=0)
    mean_abs_probability_difference: float = Field(ge=0)
    energy_difference: float | None = Field(default=None, ge=0)
    """Root mean square, as a part of the spread of torch's energies; None in bundles that are older than this entry."""


class TrainingRecord(_Record):
    """Where the weights come from."""

    run: str
    seed: int
    epochs: int
    weights: str
    data: str
    data_fingerprint: str
    git_commit: str | None = None


class ManifestDraft(_Record):
    """Everything in a manifest that the export decides; the files' hashes are added on writing."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")
    created_utc: str
    classes: Annotated[tuple[str, ...], AfterValidator(_checked_classes)]
    architecture: str
    precision: Literal["fp32", "fp16", "int8"]
    target: Target = Field(default="cpu", description="what the graph is laid out for")
    calibration: str | None = Field(default=None, description="how int8 ranges were found")
    preprocess: PreprocessSpec
    thresholds: RejectThresholds
    temperature: float = Field(gt=0)
    metrics: tuple[Metric, ...]
    parity: Parity
    training: TrainingRecord


class Manifest(ManifestDraft):
    """The manifest as it stands in the bundle."""

    files: dict[str, str] = Field(description="sha256, as hexadecimal digits, of every other file of the bundle")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was read and verified."""

    path: Path
    manifest: Manifest

    @property
    def model_path(self) -> Path:
        """Where the ONNX file is."""
        return self.path / MODEL_FILE


def builtin_bundle_path() -> Path:
    """The folder of the bundle that ships with smartbin."""
    return _BUILTIN


def read_bundle(path: Path | str) -> Bundle:
    """Read and verify a bundle: schema, classes, and the hash of every file. `BundleError` says what does not fit."""
    path = Path(path)
    manifest_path = path / MANIFEST_FILE
    try:
        text = manifest_path.read_text(encoding="utf-8")
    except OSError as error:
        raise BundleError(
            "no model bundle here",
            where=path,
            found=error.strerror or str(error),
            expected=f"a folder with {MANIFEST_FILE}, {MODEL_FILE} and {CARD_FILE}",
            fix="export one with `python export/run.py RUN --out DIR`, or leave --bundle out to use the built-in one",
        ) from error
    except UnicodeDecodeError as error:
        raise _refused(manifest_path, "bytes that are not UTF-8") from error
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise _refused(manifest_path, describe_validation(error)) from error
    _verify_files(path, manifest)
    return Bundle(path, manifest)


def write_bundle(path: Path, *, model: Path, card: str, draft: ManifestDraft, golden: bytes | None = None) -> Bundle:
    """Write a bundle to the folder `path` (replacing one that is there), then read it back.

    The ONNX file `model` is copied; `golden` is the content of `golden.npz`, see `smartbin.golden`. `BundleError` if
    `path` exists and is something other than a bundle.
    """
    if path.exists() and not (path / MANIFEST_FILE).is_file() and (path.is_file() or any(path.iterdir())):
        raise BundleError(
            "will not replace this: it is no model bundle", where=path, expected="a new, an empty or a bundle's folder"
        )
    with replace_folder(path) as folder:
        shutil.copyfile(model, folder / MODEL_FILE)
        (folder / CARD_FILE).write_text(card, encoding="utf-8")
        if golden is not None:
            (folder / GOLDEN_FILE).write_bytes(golden)
        files = {item.name: sha256_file(item) for item in sorted(folder.iterdir())}
        manifest = Manifest(**dict(draft), files=files)
        (folder / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return read_bundle(path)


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file as hexadecimal digits, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def describe_validation(error: ValidationError) -> str:
    """A pydantic error as one line a problem: key, value found, what is wrong."""
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"]) or "(the whole)"
        lines.append(f"{key} = {problem['input']!r:.80}: {problem['msg']}")
    return "; ".join(lines)


def _verify_files(path: Path, manifest: Manifest) -> None:
    for required in (MODEL_FILE, CARD_FILE):
        if required not in manifest.files:
            raise _refused(path / MANIFEST_FILE, f"no hash for {required}")
    for name, recorded in manifest.files.items():
        if Path(name).name != name:
            raise _refused(path / MANIFEST_FILE, f"the file name {name!r}, which leaves the bundle")
        file = path / name
        if not file.is_file():
            raise _refused(file, "no such file")
        if (found := sha256_file(file)) != recorded:
            raise BundleError(
                "the model bundle is damaged or was changed",
                where=file,
                found=f"sha256 {found}",
                expected=f"sha256 {recorded}",
                fix="copy the whole bundle folder again, or export it again",
            )


def _refused(where: Path, found: str) -> BundleError:
    return BundleError(
        "the model bundle is refused",
        where=where,
        found=found,
        expected=f"a bundle of schema {SCHEMA_VERSION}",
        fix="copy the whole bundle folder again, or export it again with this version of smartbin",
    )

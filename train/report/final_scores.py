"""The delivered network on every part of the data and on pictures of other things, with its features on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from smartbin.preprocess import to_input
from train.console import progress
from train.datasets.sources import Part
from train.inference import BATCH, DevicePreparation, classify, normalise
from train.loader import PhotoSamples
from train.metrics import Outputs
from train.networks.architectures import split_outputs
from train.networks.feature_distance import FeatureSpace, collected_features, fit_feature_space
from train.ranks import gathered, rank
from train.report.outputs import OutsiderOutputs, RunOutputs, Scored
from train.report.outsiders import Outsider, OutsiderKind, count_outsiders, outsiders
from train.training import Training


@dataclass(frozen=True, slots=True)
class _Seen:
    """Logits with labels, and features [N, D] where the network has a linear layer."""

    outputs: Outputs
    features: NDArray[np.float32] | None


def score_everything(training: Training) -> tuple[RunOutputs, Outputs]:
    """What is kept of a run (validation, test, outsiders), and the logits of the training photos.

    Validation and test in float32; the many training photos as they were trained, faster.
    """
    train, val = _classify(training, "train", exact=False), _classify(training, "val")
    test = _classify(training, "test") if training.data.test else None
    space = fit_feature_space(train.features) if train.features is not None else None
    kept = RunOutputs(
        val=_scored(val, space),
        test=_scored(test, space) if test else None,
        outsiders=_score_outsiders(training, space) if training.config.outsiders and rank() == 0 else None,
        space=space,
    )
    return kept, train.outputs


def _classify(training: Training, part: Part, *, exact: bool = True) -> _Seen:
    prepare = DevicePreparation(training.config.preprocess)
    samples = PhotoSamples(training.data.part(part), training.data.classes, training.store, prepare)
    with collected_features(training.average) as features:
        outputs = classify(
            training.average,
            training.architecture,
            samples,
            training.fabric,
            workers=training.evaluation_workers,
            title=f"scoring the {part} photos",
            exact=exact,
        )
    own = np.concatenate(features) if features else np.empty((0, 0), np.float32)
    whole = gathered(own, len(samples))
    return _Seen(outputs, whole if whole.size else None)


def _scored(seen: _Seen, space: FeatureSpace | None) -> Scored:
    return Scored(seen.outputs, _distances(seen.features, space))


def _distances(features: NDArray[np.float32] | None, space: FeatureSpace | None) -> NDArray[np.float32] | None:
    return None if features is None or space is None else space.distances(features)


def _score_outsiders(training: Training, space: FeatureSpace | None) -> OutsiderOutputs:
    """The pictures are made as they are needed, a batch at a time, in this process."""
    model, spec = training.average, training.config.preprocess
    kinds: list[OutsiderKind] = []
    names: list[str] = []
    logits: list[NDArray[np.float32]] = []
    model.eval()
    with (
        progress("scoring pictures of other things", count_outsiders()) as advance,
        collected_features(model) as features,
        torch.inference_mode(),
    ):
        for pictures in _batches(outsiders(), BATCH):
            inputs = np.stack([to_input(picture.image, spec).image for picture in pictures])
            images = torch.from_numpy(inputs).to(training.fabric.device)
            output, _ = split_outputs(model(normalise(images, training.architecture)))
            logits.append(output.float().cpu().numpy())
            kinds += [picture.kind for picture in pictures]
            names += [picture.name for picture in pictures]
            advance(len(pictures), "")
    distances = _distances(np.concatenate(features) if features else None, space)
    return OutsiderOutputs(np.concatenate(logits), distances, tuple(kinds), tuple(names))


def _batches(pictures: Iterator[Outsider], size: int) -> Iterator[list[Outsider]]:
    while batch := list(islice(pictures, size)):
        yield batch

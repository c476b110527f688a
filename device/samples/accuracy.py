"""How often the bin is right where it works, from the labels that people gave.

Three figures, each with Wilson's 95 % interval:

- accepted: of the items whose flap was opened for a class, the part that was of this class. From the pictures that were
  drawn at random among all accepted decisions, each counted with the inverse of the chance it was drawn with
  (Horvitz and Thompson, JASA 47, 1952), so that a change of `accepted_share` does no harm.
- uncertain: of the items that were held back, the part whose best guess was right all the same: what caution costs.
- guesses: both together, each with its share of the decisions: how often the best guess is right, acted on or not.

"None of the classes" is an answer, and every guess is wrong on it; skipped pictures do not count. Unequal weights make
labels worth less: the interval is that of Kish's effective number, (Σw)² / Σw², which for two kinds weighted by their
shares W is 1 / Σ W² / n.

A drawn picture that looks like a kept drawn one with the same guess is not kept, but the kept one counts for it as
well: so items which come again and again have their weight.

What the figures do not know: drawn pictures beyond the quotas, so that busy hours count for less; among the uncertain,
what comes again and again counts once; decisions in bad light have no guess and are left out; and who labels only the
easy pictures, or only the wrong ones, gets the accuracy of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from device.samples.labels import Sample, SampleBook
from smartbin.calibration import wilson_interval


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share of right guesses, 0 to 1, with its 95 % interval, from so many labels."""

    share: float
    low: float
    high: float
    labels: int


@dataclass(frozen=True, slots=True)
class LiveAccuracy:
    """The three figures; None where no label says anything of one."""

    accepted: Estimate | None
    uncertain: Estimate | None
    guesses: Estimate | None


@dataclass(frozen=True, slots=True)
class _Kind:
    """Labelled pictures of one kind: their weighted share, effective and real number."""

    share: float
    effective: float
    labels: int


def live_accuracy(book: SampleBook, *, since_ms: int = 0, model: str | None = None) -> LiveAccuracy:
    """The accuracy since then; with `model` (as the run was called) only this one's decisions count."""
    counted = [
        sample
        for sample in book.labelled()
        if sample.time_ms >= since_ms and (model is None or sample.model == model) and _counts(sample)
    ]
    decisions = book.decisions(since_ms, model)
    return estimate(counted, decisions.get("accepted", 0), decisions.get("uncertain", 0))


def estimate(samples: Sequence[Sample], accepted: int, uncertain: int) -> LiveAccuracy:
    """The figures from labelled pictures and from the numbers of accepted and uncertain decisions they stand for."""
    drawn = _kind([sample for sample in samples if sample.reason == "random"])
    held_back = _kind([sample for sample in samples if sample.reason == "uncertain"])
    return LiveAccuracy(
        _estimate(drawn), _estimate(held_back), _estimate(_together(drawn, accepted, held_back, uncertain))
    )


def is_right(sample: Sample) -> bool:
    """Whether the guess is what the label says."""
    return sample.given is not None and sample.given.verdict == "class" and sample.given.label == sample.guess


def _counts(sample: Sample) -> bool:
    return sample.given is not None and sample.given.verdict != "skip"


def _kind(samples: Sequence[Sample]) -> _Kind | None:
    if not samples:
        return None
    weights = [1 / sample.share + sample.stands_for for sample in samples]
    right = sum(weight for weight, sample in zip(weights, samples, strict=True) if is_right(sample))
    total = sum(weights)
    return _Kind(right / total, total**2 / sum(weight**2 for weight in weights), len(samples))


def _together(drawn: _Kind | None, accepted: int, held_back: _Kind | None, uncertain: int) -> _Kind | None:
    """Both kinds with their shares of the decisions; None where one that occurs has no label."""
    parts = [(kind, count) for kind, count in ((drawn, accepted), (held_back, uncertain)) if count > 0]
    total = accepted + uncertain
    known = [(kind, count / total) for kind, count in parts if kind is not None]
    if not known or len(known) < len(parts):
        return None
    share = sum(weight * kind.share for kind, weight in known)
    effective = 1 / sum(weight**2 / kind.effective for kind, weight in known)
    return _Kind(share, effective, sum(kind.labels for kind, _ in known))


def _estimate(kind: _Kind | None) -> Estimate | None:
    if kind is None:
        return None
    share, effective = min(1.0, kind.share), max(1.0, kind.effective)  # sums of floats may pass by a last digit
    low, high = wilson_interval(share * effective, effective)
    return Estimate(share, low, high, kind.labels)

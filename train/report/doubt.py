"""The sections of a report on doubt: confidence, when the bin says "unsure", and pictures of other things."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smartbin.calibration import TEMPERATURE_RANGE, is_bound
from train.networks.feature_distance import USUAL_SHARE
from train.report.document import Block, Section, Table, Text
from train.report.figure_files import picture
from train.report.findings import Findings
from train.report.outputs import OutsiderOutputs, RunOutputs
from train.report.outsiders import missing_pictures
from train.report.plots_doubt import draw_coverage, draw_reliability, draw_scores
from train.report.rejection import KEEP, ScoreCatch, doubt_of, threshold_that_keeps, weight_in_energy
from train.report.reliability import BINS

_COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)


def doubt_sections(outputs: RunOutputs, findings: Findings) -> list[Section]:
    """All of them; without outsiders the last is left out."""
    sections = [_confidence(findings), _coverage(findings)]
    if outputs.outsiders is not None:
        sections.append(_outsiders(outputs, outputs.outsiders, findings))
    return sections


def _confidence(findings: Findings) -> Section:
    found = findings.reliability
    temperatures = f"{min(found.fold_temperatures):.3f} to {max(found.fold_temperatures):.3f}"
    low, high = TEMPERATURE_RANGE
    bound = (
        f" (at its bound: {low:g} to {high:g} were tried, and it would be better still beyond)"
        if is_bound(found.temperature)
        else ""
    )
    rows = (
        ("bins of equal width", f"{found.before:.4f}", f"{found.fitted:.4f}", f"{found.crossfitted:.4f}"),
        ("bins of equally many photos", f"{found.adaptive_before:.4f}", "–", f"{found.adaptive_crossfitted:.4f}"),
    )
    columns = ("", "before", "after, on the photos it was fitted on", "after, cross-fitted")
    return Section(
        "Confidence",
        (
            Text(
                f"One temperature, {found.temperature:.3f}{bound}, fitted on the validation photos, brings the "
                f"expected calibration error from {found.before:.3f} to {found.crossfitted:.3f}. That figure is "
                "cross-fitted: fitted on four fifths of the photos, measured on the remaining fifth, all fifths "
                f"together; the folds' temperatures were {temperatures}. On the very photos that it was fitted on it "
                f"is {found.fitted:.3f}."
            ),
            picture(
                "reliability",
                lambda: draw_reliability(found),
                alt=f"Reliability diagrams: calibration error {found.before:.3f} before the temperature and "
                f"{found.crossfitted:.3f} after it; the table below has the points.",
                caption="Ten bins of equally many photos each (adaptive: bins of equal width would leave most of them "
                "nearly empty). On the dotted line confidence is what it says.",
            ),
            Table(f"Expected calibration error, {BINS} bins", columns, rows),
            Text(
                f"With so few photos nobody gets 0: answers with exactly these confidences that were perfectly "
                f"calibrated would show {found.chance:.3f} on average, and up to {found.chance_high:.3f} in 95 of 100 "
                "draws.",
                quiet=True,
            ),
            _bins_table(findings),
        ),
    )


def _bins_table(findings: Findings) -> Table:
    rows = tuple(
        (
            f"{entry.confidence:.3f}",
            str(entry.photos),
            f"{entry.accuracy:.3f}",
            f"{entry.interval_low:.3f} – {entry.interval_high:.3f}",
        )
        for entry in findings.reliability.bins_after
    )
    columns = ("mean confidence", "photos", "part that is right", "95 % interval")
    return Table("Points of the diagram after the temperature", columns, rows, folded=True)


def _coverage(findings: Findings) -> Section:
    coverage, acceptance = findings.coverage, findings.acceptance
    thresholds = acceptance.thresholds
    accepted, accuracy = np.array(coverage.accepted), np.array(coverage.accuracy)
    rows = tuple((f"{share:.0%}", f"{accuracy[np.searchsorted(accepted, share - 1e-9)]:.4f}") for share in _COVERAGES)
    return Section(
        "When it says “unsure”",
        (
            Text(
                f"Below a confidence of {thresholds.min_confidence:.3f} or above an energy of "
                f"{thresholds.max_energy:.2f} an answer is held back. The thresholds are chosen on the validation "
                f"photos to keep {KEEP:.0%} of them: they keep {acceptance.kept:.1%} "
                f"({acceptance.kept_crossfitted:.1%} when chosen on other folds), {acceptance.accuracy:.1%} of those "
                f"are right (95 % interval {acceptance.interval_low:.3f} to {acceptance.interval_high:.3f}), and they "
                f"catch {acceptance.mistakes_caught} of {acceptance.mistakes} mistakes."
            ),
            picture(
                "coverage",
                lambda: draw_coverage(coverage, acceptance),
                alt=f"Accuracy against coverage: {rows[0][1]} of all, {rows[1][1]} of the most confident 95 %, "
                f"{rows[3][1]} of the most confident 80 %; the chosen thresholds answer {acceptance.kept:.3f} and get "
                f"{acceptance.accuracy:.4f} of them right.",
                caption="The most confident photos first. The diamond is what the two chosen thresholds do together.",
            ),
            Table("Accuracy when only the most confident are answered", ("answered", "right"), rows),
            Text(
                f"Area under the risk-coverage curve: {coverage.area:.4f} (0 is best); with the same mistakes, all of "
                f"them last, it would be {coverage.best_area:.4f}.",
                quiet=True,
            ),
        ),
    )


def _outsiders(outputs: RunOutputs, others: OutsiderOutputs, findings: Findings) -> Section:
    bundle, distance = findings.catches[0], findings.catch("feature distance alone")
    blocks: list[Block] = [
        Text(
            f"{len(others.names)} pictures of what belongs into no class: natural pictures that libraries ship, "
            "textures, and rendered items of other things. No network was trained on them and no threshold chosen by "
            f"them. At the thresholds above a bin holds back {bundle.caught:.1%} of them "
            f"({bundle.interval_low:.3f} to {bundle.interval_high:.3f})."
        ),
        _catches_table(findings.catches),
        Text(
            f"They are views of {len(set(others.originals))} originals only; the intervals draw whole originals anew. "
            "Each way of rejecting has the threshold, or thresholds, that keep 95 % of the validation photos. "
            "Feature distance: how far the picture's features, scaled to length 1, lie outside the principal "
            f"directions of the training photos. The energy is that of a bundle: of the logits, and "
            f"{weight_in_energy(outputs.val):.3g} times that distance, as --unfamiliar {USUAL_SHARE:g} has it.",
            quiet=True,
        ),
    ]
    val, temperature = outputs.val, findings.reliability.temperature
    right = val.outputs.predicted == val.outputs.labels
    weight = weight_in_energy(val)
    inside = doubt_of(val.outputs.logits, temperature, val.distances)
    outside = doubt_of(others.logits, temperature, others.distances)
    energy = findings.catch("energy alone")
    if energy is not None:
        blocks.insert(1, _histogram("energy", inside.energy(weight), right, outside.energy(weight), others, energy))
    if distance is not None and inside.distance is not None and outside.distance is not None:
        blocks.append(_histogram("feature distance", inside.distance, right, outside.distance, others, distance))
    if gone := missing_pictures():
        blocks.append(Text(f"Natural pictures that are not on this machine: {', '.join(gone)}.", quiet=True))
    return Section("Pictures of other things", tuple(blocks))


def _histogram(
    name: str,
    inside: NDArray[np.float64],
    right: NDArray[np.bool_],
    outside: NDArray[np.float64],
    others: OutsiderOutputs,
    catch: ScoreCatch,
) -> Block:
    threshold = threshold_that_keeps(inside, KEEP)
    return picture(
        name.replace(" ", "_"),
        lambda: draw_scores(name, inside, right, outside, others, threshold),
        alt=f"Histograms of the {name}: validation photos, right and wrong, and pictures of other things. At the "
        f"threshold {threshold:.3g}, which keeps 95 % of validation, {catch.caught:.1%} of the others are held back.",
        caption=f"By {name} alone, with the threshold that keeps 95 % of the validation photos: {catch.caught:.1%} of "
        f"the other pictures lie beyond it; AUROC {catch.auroc:.3f}.",
    )


def _catches_table(catches: list[ScoreCatch]) -> Table:
    kinds = tuple(f"{entry.kind} ({entry.pictures})" for entry in catches[0].kinds)
    columns = ("held back by", "AUROC", "caught", "95 % interval", *kinds, "mistakes caught")
    rows = tuple(
        (
            entry.score,
            "–" if entry.auroc is None else f"{entry.auroc:.3f}",
            f"{entry.caught:.1%}",
            f"{entry.interval_low:.3f} – {entry.interval_high:.3f}",
            *("–" if not kind.pictures else f"{kind.caught / kind.pictures:.1%}" for kind in entry.kinds),
            str(entry.mistakes_caught),
        )
        for entry in catches
    )
    return Table("Part of the pictures of other things that is held back, at 95 % of validation kept", columns, rows)

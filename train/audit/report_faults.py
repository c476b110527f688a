"""The report's second half: broken files, copies, look-alikes, outliers and suspicious labels, with their photos."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from train.audit.copies import leaking
from train.audit.records import Audit, CopyGroup, LabelCheck
from train.audit.survey import Survey
from train.report.document import Block, Facts, Section, Table, Text
from train.report.gallery import Shown, photo_gallery

_ROWS = 200


def fault_sections(found: Survey, shown: int) -> list[Section]:
    """Everything that somebody should look at; galleries have at most `shown` photos."""
    paths = {fact.name: fact.photo.path for fact in found.facts}
    audit = found.audit
    return [
        _broken(audit),
        _copies(audit, paths, shown),
        *_alike(audit),
        _outliers(audit, paths, shown),
        _labels(audit, paths, shown),
    ]


def _broken(audit: Audit) -> Section:
    if not audit.broken:
        return Section("Broken files", (Text("None."),))
    rows = tuple((entry.name, entry.error) for entry in audit.broken[:_ROWS])
    return Section("Broken files", (Table(_listed("Files that cannot be read", audit.broken), ("file", "why"), rows),))


def _copies(audit: Audit, paths: Mapping[str, Path], shown: int) -> Section:
    copies = audit.copies
    facts = Facts(
        (
            ("same file as another", f"{copies.exact_photos} photos"),
            (f"near another ({copies.near_bits} of 256 bits or fewer differ)", f"{copies.near_photos} photos"),
            ("groups", str(len(copies.groups))),
            ("groups with several labels", str(len(copies.conflicts))),
            ("groups across parts", str(len(copies.leaks))),
            ("validation photos with a copy in training", str(leaking(copies, "val"))),
            ("test photos with a copy in training", str(leaking(copies, "test"))),
        )
    )
    blocks: list[Block] = [facts]
    if copies.groups:
        rows = tuple(_copy_row(group) for group in copies.groups[:_ROWS])
        title = _listed("Groups of copies; several labels first, then those across parts", copies.groups)
        blocks.append(Table(title, ("photos", "labels", "parts", "bits"), rows, folded=len(rows) > 12))
        blocks.append(photo_gallery("copies", _shown_copies(copies.groups, paths, shown)))
    return Section("Duplicates", tuple(blocks))


def _copy_row(group: CopyGroup) -> tuple[str, str, str, str]:
    labels = ", ".join(dict.fromkeys(member.label for member in group.members))
    parts = ", ".join(dict.fromkeys(member.part for member in group.members))
    return (", ".join(member.name for member in group.members), labels, parts, _distance(group))


def _distance(group: CopyGroup) -> str:
    return "same file" if group.exact else str(group.distance)


def _shown_copies(groups: tuple[CopyGroup, ...], paths: Mapping[str, Path], most: int) -> list[Shown]:
    """The first photos of each group, group after group."""
    chosen: list[Shown] = []
    for number, group in enumerate(groups, 1):
        room = most - len(chosen)
        if room < 2:
            break
        chosen += [
            _shown(paths, member.name, f"{number}. ", f"{member.part}, {_distance(group)}")
            for member in group.members[: min(room, 4)]
        ]
    return chosen


def _alike(audit: Audit) -> list[Section]:
    found = audit.alike
    if found is None:
        return []
    text = (
        "Photos whose features nearly agree show one item from another side, mostly. They are no error, but a network "
        "that learned from one knows the other: validation photos with their like in training flatter the accuracy."
    )
    if found.too_coarse:
        text = (
            f"At a cosine of {found.least:g} the features throw too many photos together to tell items apart; a higher "
            "--alike would be needed. The figures below are those of the copies alone."
        )
    facts = Facts(
        (
            ("photos in groups", f"{found.photos} in {found.groups} groups, the largest of {found.largest}"),
            ("validation photos with their like in training", str(found.val_in_training)),
            ("test photos with their like in training", str(found.test_in_training)),
        )
    )
    return [Section("Look-alikes and copies", (Text(text), facts))]


def _outliers(audit: Audit, paths: Mapping[str, Path], shown: int) -> Section:
    if not audit.outliers:
        return Section("Outliers", (Text("None: no photo is very dark, very bright, blurred or almost uniform."),))
    rows = tuple((entry.name, entry.kind, f"{entry.value:.3f}", f"{entry.limit:g}") for entry in audit.outliers[:_ROWS])
    title = _listed("Photos beyond a limit", audit.outliers)
    table = Table(title, ("photo", "what", "value", "limit"), rows, folded=len(rows) > 12)
    chosen = [_shown(paths, entry.name, "", f"{entry.kind}, {entry.value:.2f}") for entry in audit.outliers[:shown]]
    return Section("Outliers", (table, photo_gallery("outliers", chosen)))


def _labels(audit: Audit, paths: Mapping[str, Path], shown: int) -> Section:
    check = audit.labels
    if check is None:
        return Section("Likely wrong labels", (Text(f"Labels were not checked: {audit.labels_note}."),))
    blocks: list[Block] = [Text(_worth(check))]
    if check.suspects:
        rows = tuple(
            (entry.name, entry.part, entry.label, entry.suggested, f"{entry.confidence:.2f}", f"{entry.own:.3f}")
            for entry in check.suspects[:_ROWS]
        )
        columns = ("photo", "part", "given", "suggested", "its probability", "given one's")
        title = _listed("Labels that the probabilities contradict, the worst first", check.suspects)
        blocks.append(Table(title, columns, rows, folded=len(rows) > 12))
        chosen = [
            _shown(paths, entry.name, "", f"{entry.label}→{entry.suggested}? {entry.confidence:.0%} {entry.part}")
            for entry in check.suspects[:shown]
        ]
        blocks.append(photo_gallery("labels", chosen))
    return Section("Likely wrong labels", tuple(blocks))


def _worth(check: LabelCheck) -> str:
    return (
        f"Confident learning on {check.photos} photos: {check.folds}-fold logistic regression on the features of "
        f"{check.features}, photos that show the same in one fold. It gets {check.accuracy:.1%} right (log loss "
        f"{check.log_loss:.3f}), so that most of the photos below are its own mistakes and some are wrong labels: look "
        "before changing one."
    )


def _listed(title: str, entries: tuple[object, ...]) -> str:
    return f"{title} ({len(entries)}{f', the first {_ROWS} here' if len(entries) > _ROWS else ''})"


def _shown(paths: Mapping[str, Path], name: str, number: str, remark: str) -> Shown:
    caption = f"{number}{name.rsplit('/', 1)[-1]}: {remark}"
    return Shown(paths[name], caption, caption)

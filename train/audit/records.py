"""What an audit found, as it stands in `audit.json`. Photos are named `source/folder/file`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from train.datasets.photos import Part

AUDIT_FILE = "audit.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Count(_Record):
    """Photos of a class in a part of a source."""

    source: str
    label: str
    part: Part
    photos: int


class Shape(_Record):
    """A format and size of photos, and how many have it."""

    format: str
    width: int
    height: int
    photos: int


class Broken(_Record):
    """A file that cannot be read."""

    name: str
    error: str


class Member(_Record):
    """A photo of a group of copies."""

    name: str
    label: str
    part: Part


class CopyGroup(_Record):
    """Photos that show the same: equal files, or near-duplicates by their perceptual hash."""

    exact: bool
    """All are the same file, byte by byte."""
    distance: int
    """Smallest number of differing hash bits between two of them that are not equal files; 0 if all are."""
    members: tuple[Member, ...]

    @property
    def labels_differ(self) -> bool:
        """Whether they are in folders of different classes."""
        return len({member.label for member in self.members}) > 1

    @property
    def crosses_parts(self) -> bool:
        """Whether they are in different parts of the split."""
        return len({member.part for member in self.members}) > 1


class Copies(_Record):
    """Duplicates, counted and listed."""

    near_bits: int
    """Hashes that differ in at most as many of 256 bits are near."""
    exact_photos: int
    """Photos that another file equals, byte by byte."""
    near_photos: int
    """Photos that another one resembles, exact ones included."""
    groups: tuple[CopyGroup, ...]

    @property
    def leaks(self) -> tuple[CopyGroup, ...]:
        """Groups that straddle parts."""
        return tuple(group for group in self.groups if group.crosses_parts)

    @property
    def conflicts(self) -> tuple[CopyGroup, ...]:
        """Groups with more than one label."""
        return tuple(group for group in self.groups if group.labels_differ)


class AlikeGroups(_Record):
    """Photos that look alike to the network (mostly one item from several sides) or are copies, counted."""

    least: float
    """Cosine of two photos' features above which they look alike."""
    too_coarse: bool
    """The features threw too many photos together: copies only were counted."""
    groups: int
    photos: int
    """Photos in groups of two or more."""
    largest: int
    val_in_training: int
    """Validation photos that have their like among the training photos."""
    test_in_training: int


class Spread(_Record):
    """How a statistic is spread over the photos of a class or a source."""

    statistic: str
    by: Literal["class", "source", "all"]
    group: str
    photos: int
    low: float
    """5th percentile; for an angle the mean direction minus the circular deviation."""
    middle: float
    """Median; for an angle the mean direction."""
    high: float
    """95th percentile; for an angle the mean direction plus the circular deviation."""


class Outlier(_Record):
    """A photo that is dark, bright, blurred or almost uniform, with the value that says so."""

    name: str
    kind: Literal["very dark", "very bright", "blurred", "almost uniform"]
    value: float
    limit: float


class Shortcut(_Record):
    """How well classes or sources are told from numbers that do not say what a photo shows.

    Cross-validated; `skill` is the balanced accuracy stretched so that chance is 0 and perfect is 1.
    """

    target: Literal["class", "source"]
    kind: str
    """Kind of the statistics used, or `all`."""
    photos: int
    accuracy: float
    most_frequent: float
    """Accuracy of always answering the most frequent one."""
    balanced: float
    """Mean recall."""
    chance: float
    """Mean recall of guessing."""
    skill: float
    recalls: dict[str, float]
    alarming: bool


class Suspect(_Record):
    """A photo whose label is likely wrong."""

    name: str
    part: Part
    label: str
    suggested: str
    confidence: float
    """Out-of-sample probability of the suggested class."""
    own: float
    """Out-of-sample probability of the given class: the lower, the more likely an error; the list's order."""


class LabelCheck(_Record):
    """Labels against out-of-sample probabilities (confident learning), or why they were not checked."""

    features: str
    """The network that the features are of."""
    folds: int
    photos: int
    accuracy: float
    """Of the out-of-sample predictions: what the check is worth."""
    log_loss: float
    penalty: float
    """Inverse strength of the L2 penalty that had the lowest loss."""
    suspects: tuple[Suspect, ...]


class Audit(_Record):
    """All findings."""

    schema_version: int = 1
    data: str
    split: str
    notes: tuple[str, ...]
    classes: tuple[str, ...]
    sources: tuple[str, ...]
    photos: int
    counts: tuple[Count, ...]
    shapes: tuple[Shape, ...]
    broken: tuple[Broken, ...]
    copies: Copies
    alike: AlikeGroups | None
    spreads: tuple[Spread, ...]
    outliers: tuple[Outlier, ...]
    shortcuts: tuple[Shortcut, ...]
    labels: LabelCheck | None
    labels_note: str
    """Why the labels were not checked; empty if they were."""
    seconds: float
    software: str

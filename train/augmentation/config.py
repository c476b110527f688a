"""What happens to training photos: the table `augment` of a training run's configuration. Each field is a flag."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from train.section import Section


class Augment(Section):
    """What happens to training photos, and to no others. It ends where the device's brightness correction begins."""

    enabled: bool = True
    """Off: training photos go through the device preprocessing, like all others."""
    min_scale: float = Field(default=0.35, gt=0, le=1)
    """Smallest part of the photo's area that a crop keeps."""
    min_ratio: float = Field(default=0.75, gt=0)
    """Narrowest crop, width / height, before it is stretched to the square."""
    max_ratio: float = Field(default=1.5, gt=0)
    """Widest crop. The device stretches 4:3, so the range is centred above 1."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability that left and right are swapped."""
    flip_down: float = Field(default=0.5, ge=0, le=1)
    """Probability that top and bottom are swapped: an item lies any way up in a bin."""
    turn: float = Field(default=0.5, ge=0, le=1)
    """Probability of a quarter turn."""
    colour: Literal["trivial", "jitter", "none"] = "trivial"
    """`trivial`: TrivialAugmentWide (one of 14 operations, arXiv 2103.10158); `jitter`: ColorJitter."""
    light: float = Field(default=0.4, ge=0, le=1)
    """Probability of another light: exposure, white balance and sensor noise, in linear light."""
    darkest: float = Field(default=1 / 32, gt=0, le=1)
    """Least light, as a part of the photo's own; drawn evenly in stops."""
    brightest: float = Field(default=2.0, gt=0, le=8)
    """Most light; below 1 the set becomes a dark one."""
    white_balance: float = Field(default=0.25, ge=0, lt=1)
    """Red and blue gain go up or down by at most this part."""
    erase: float = Field(default=0.15, ge=0, le=1)
    """Probability that a rectangle (2 to 20 % of the area) is filled with noise."""
    paste: float = Field(default=0.0, ge=0, le=1)
    """Probability that a photo gives way to a scene: its item, cut out, alone or with others of its class, on another
    background. Photos whose item cannot be cut out well stay as they are."""
    photo_side: int = Field(default=0, ge=0)
    """Longest side of a training photo before augmentation, pixels; larger ones are shrunk once, by area averaging.
    0: 640, or more where the smallest crop would otherwise have fewer pixels than the network takes."""

    views: int = Field(default=0, ge=0)
    """Each photo is augmented in so many ways only, and every epoch takes the next; a frozen front then has to be
    computed only once, see `front`. 0: anew each time."""

    @model_validator(mode="after")
    def _check_ranges(self) -> Augment:
        if self.min_ratio > self.max_ratio:
            raise ValueError("min_ratio must not be above max_ratio")
        if self.darkest > self.brightest:
            raise ValueError("darkest must not be above brightest")
        return self

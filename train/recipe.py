"""How a network learns: the table `recipe` of a training run's configuration. Each field is a flag."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from train.section import Section

HeadStart: TypeAlias = Literal["auto", "small", "linear", "probe"]

_NEW_HEAD_RATE, _FITTED_HEAD_RATE = 2e-3, 5e-4


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.resolve()


def _switch(value: object) -> object:
    """`on` or `off` for the truth values of earlier runs' files."""
    return {True: "on", False: "off"}.get(value) if isinstance(value, bool) else value


class Recipe(Section):
    """How the network learns."""

    batch: int = Field(default=32, ge=1)
    """Photos in a step."""
    whole_batches: bool = True
    """A last batch of fewer photos is left out of an epoch; off: it is trained on, unless it is a single photo."""
    accumulate: int = Field(default=1, ge=1)
    """Parts in which a batch goes through the network, one after the other, to save memory; batch norm sees a part."""
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """Adam with its two betas at .9 and .999 and weight decay apart from the gradient, plain Adam, or SGD."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Nesterov momentum of SGD."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """How the rates go on after the warm-up: along a half cosine to a hundredth, or as they are."""
    head_rate: float = Field(default=0.0, ge=0)
    """Peak learning rate of the head, and of stages that the weights lack. 0: 5e-4 for a head that starts from a probe
    or was loaded, else 2e-3."""
    backbone_rate: float = Field(default=3e-4, gt=0)
    """Peak learning rate of the last stage with loaded weights."""
    stage_decay: float = Field(default=0.85, gt=0, le=1)
    """Factor on the backbone rate for each stage further to the front; 1: all stages learn at one rate."""
    weight_decay: float = Field(default=0.02, ge=0)
    """Weight decay; biases and norms have none."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Part of all steps over which the rates rise to their peak; 0: they begin there."""
    clip_norm: float = Field(default=2.0, ge=0)
    """Gradients with a larger norm are scaled down to it; 0 leaves them."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Part of the target spread evenly over all classes."""
    ema_decay: float = Field(default=0.995, ge=0, lt=1)
    """Decay a step of the weights' moving average, which is what a run delivers; smaller in the first steps. 0: there
    is no average, and the plain weights are delivered."""
    patience: int = Field(default=0, ge=0)
    """Stop after so many epochs without a better macro F1 on the validation photos; 0: never."""
    deliver: Literal["last", "best"] = "last"
    """Whose weights the run delivers: the last epoch's, or those of the epoch with the best macro F1 on the validation
    photos, whose figures are then flattered by the choice."""
    balance: float = Field(default=0.5, ge=0, le=1)
    """Class balance of the sampler: a class of n photos is drawn n**(1 - balance) often. 0: as they come; 1: evenly."""
    mixup: float = Field(default=0.0, ge=0)
    """Alpha of mixup; 0 is off."""
    cutmix: float = Field(default=0.0, ge=0)
    """Alpha of cutmix; 0 is off. With both on, each batch gets one of the two."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Dropout in front of the classifier."""
    head_start: HeadStart = "auto"
    """What a new classifier starts from: small random weights, those that torch gives to a linear layer, or a linear
    probe of the loaded network, which is then undone less. auto: a probe where the weights are whole, else small."""
    drop_path: float = Field(default=0.1, ge=0, lt=1)
    """Stochastic depth, for architectures that have it (EfficientNet)."""
    auxiliary: float = Field(default=0.4, ge=0)
    """Weight of InceptionV3's auxiliary loss; 0: none, which also lets it train below 299 px."""
    distill_weight: float = Field(default=0.5, ge=0, le=1)
    """Part of the objective that is the teachers' answers, where there are teachers; the rest is the labels."""
    distill_temperature: float = Field(default=2.0, gt=0)
    """Both sides' logits are divided by it: a higher one shows more of what a teacher thinks of the other classes."""
    freeze_until: str = ""
    """Name of the first stage that is trained; those in front of it are frozen."""
    freeze: int = Field(default=0, ge=0)
    """So many of the network's top-level children are frozen, counted from the front. ResNet50 has 10: with 9 only its
    classifier learns, with 7 its last block as well. 0: none."""
    frozen_statistics: bool = True
    """Frozen parts keep their batch-norm statistics, too; off: these go on following the batches."""
    front: Literal["auto", "off", "float16", "float32", "uint8"] = "auto"
    """How a frozen front's answers to the photos are kept; they are computed once if the photos come again (without
    augmentation, or with `views`). auto: as float16, if it is possible; off: they are computed for every batch. uint8
    takes half the room of float16 and is rounded to 255 steps a channel."""
    freeze_bn: Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)] = "auto"
    """Every batch norm whose weights were loaded is frozen wherever it stands: statistics, scale and shift. auto: where
    the weights are whole, i.e. lack nothing but the head."""

    pull: float = Field(default=0.0, ge=0)
    """Pull of trained weights towards the loaded ones (L2-SP), beside weight decay's towards 0; 0 is off."""
    keep: float = Field(default=0.0, ge=0)
    """Weight of a second loss: to go on answering as the loaded network does in its own 1,000 classes; 0 is off."""
    blend: float = Field(default=0.0, ge=0, lt=1)
    """Part of the starting weights in what is delivered (WiSE-FT); 0 is off. A finished run delivers another blend
    with `--resume RUN --blend PART`."""
    blend_with: Annotated[Path | None, AfterValidator(_absolute)] = None
    """Another finished run of the same network and classes, whose weights are blended in instead of the start's (model
    soups): runs from the same starting weights have better weights between them than at either end."""

    def settled(self, *, whole: bool, new_linear_head: bool) -> Recipe:
        """With what `auto` means spelled out, once weights are loaded; `whole` if they lack nothing but the head."""
        settled: dict[str, object] = {}
        if self.head_start == "auto":
            settled["head_start"] = "probe" if whole and new_linear_head else "small"
        if self.freeze_bn == "auto":
            settled["freeze_bn"] = "on" if whole else "off"
        return self.model_copy(update=settled)

    def with_head(self, *, probed: bool, loaded: bool) -> Recipe:
        """With what became of the head: whether it is a probe's now (which may not fit) or was loaded; and its rate."""
        start = "small" if self.head_start == "probe" and not probed else self.head_start
        rate = self.head_rate or (_FITTED_HEAD_RATE if probed or loaded else _NEW_HEAD_RATE)
        return self.model_copy(update={"head_start": start, "head_rate": rate})

    def describe_start(self) -> str:
        """How it starts, for a recipe without `auto`."""
        heads = {
            "small": "small random weights",
            "linear": "a linear layer's random weights",
            "probe": "a linear probe",
        }
        norms = "loaded batch norms are frozen" if self.freeze_bn == "on" else "batch norms learn"
        return f"a new head starts from {heads[self.head_start]}; rate of the head {self.head_rate:g}; {norms}"

    @model_validator(mode="after")
    def _check_freezing(self) -> Recipe:
        if self.freeze and self.freeze_until:
            raise ValueError("freeze and freeze_until say the same in two ways: give one of them")
        if self.blend_with and not self.blend:
            raise ValueError("blend_with needs a blend above 0")
        return self

"""How a network learns: the table `recipe` of a training run's configuration. Each field is a flag."""

from __future__ import annotations

from pydantic import Field

from train.section import Section


class Recipe(Section):
    """How the network learns."""

    batch: int = Field(default=32, ge=1)
    """Photos in a step."""
    head_rate: float = Field(default=2e-3, gt=0)
    """Peak learning rate of everything that starts random: the head, and stages that the weights lack."""
    backbone_rate: float = Field(default=3e-4, gt=0)
    """Peak learning rate of the last stage with loaded weights."""
    stage_decay: float = Field(default=0.85, gt=0, le=1)
    """Factor on the backbone rate for each stage further to the front."""
    weight_decay: float = Field(default=0.02, ge=0)
    """AdamW weight decay; biases and norms have none."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Part of all steps over which the rates rise to their peak; then they fall along a half cosine."""
    clip_norm: float = Field(default=2.0, ge=0)
    """Gradients with a larger norm are scaled down to it; 0 leaves them."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Part of the target spread evenly over all classes."""
    ema_decay: float = Field(default=0.995, ge=0, lt=1)
    """Decay a step of the weights' moving average, which is what a run delivers; smaller in the first steps."""
    balance: float = Field(default=0.5, ge=0, le=1)
    """Class balance of the sampler: a class of n photos is drawn n**(1 - balance) often. 0: as they come; 1: evenly."""
    mixup: float = Field(default=0.0, ge=0)
    """Alpha of mixup; 0 is off."""
    cutmix: float = Field(default=0.0, ge=0)
    """Alpha of cutmix; 0 is off. With both on, each batch gets one of the two."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Dropout in front of the classifier."""
    drop_path: float = Field(default=0.1, ge=0, lt=1)
    """Stochastic depth, for architectures that have it (EfficientNet)."""
    auxiliary: float = Field(default=0.4, ge=0)
    """Weight of InceptionV3's auxiliary loss."""
    freeze_until: str = ""
    """Name of the first stage that is trained; those in front of it are frozen, batch-norm statistics included."""

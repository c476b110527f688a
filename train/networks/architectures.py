"""The networks that can be trained: how each is built, what sizes it likes, its stages, where its weights are.

`ARCHITECTURES` is what `--model` offers by name; beside these it takes `timm:NAME` for any network of timm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torchvision
from torch import Tensor, nn
from torchvision.models import inception

from smartbin.errors import ConfigError, WeightsError
from train.networks.auxiliary import AuxiliaryHead
from train.networks.network import Architecture, Stage, Triple, split_outputs
from train.networks.resnet9 import STAGE_NAMES as RESNET9_STAGES
from train.networks.resnet9 import ResNet9
from train.networks.timm_models import TIMM_PREFIX, build_timm, download_timm, timm_architecture

__all__ = ["ARCHITECTURES", "HALF", "Architecture", "Stage", "Triple", "architecture_of", "register", "split_outputs"]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
HALF: Triple = (0.5, 0.5, 0.5)


_REGISTERED: dict[str, Architecture] = {}
ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(_REGISTERED)
"""All architectures by name; a view of what was registered."""


def architecture_of(name: str) -> Architecture:
    """The architecture of that name, or any of timm's as `timm:NAME`; `ConfigError` naming those there are."""
    if name.startswith(TIMM_PREFIX):
        return timm_architecture(name)
    if name not in ARCHITECTURES:
        raise ConfigError(
            "unknown architecture", where="model", found=name, expected=f"{', '.join(ARCHITECTURES)} or timm:NAME"
        )
    return ARCHITECTURES[name]


def register(architecture: Architecture) -> None:
    """Add an architecture to those that `--model` offers, or replace the one of its name."""
    _REGISTERED[architecture.name] = architecture


def _stages(**prefixes: str) -> tuple[Stage, ...]:
    return tuple(Stage(name, tuple(entries.split())) for name, entries in prefixes.items())


def _resnet50(classes: int, dropout: float, drop_path: float) -> nn.Module:
    del drop_path  # torchvision's ResNet has none
    model: nn.Module = torchvision.models.resnet50(weights=None, num_classes=classes)
    if dropout:
        # A pre-hook instead of a Sequential keeps the names of the state dict those of every published file.
        model.get_submodule("fc").register_forward_pre_hook(_Dropout(dropout))
    return model


class _Dropout:
    """Dropout in front of a layer, active only while that layer is training."""

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (nn.functional.dropout(inputs[0], self.probability, training=layer.training), *inputs[1:])


def _inception_v3(classes: int, dropout: float, drop_path: float) -> nn.Module:
    """Torchvision's InceptionV3 with its auxiliary head, without `transform_input`.

    That switch re-scales an image normalised with ImageNet's mean and std to one normalised with mean = std = .5:
    (x * std + mean - .5) / .5. Normalising with .5 in the first place is the same network without the detour.
    """
    del drop_path
    model: nn.Module = torchvision.models.inception_v3(
        weights=None,
        num_classes=classes,
        aux_logits=True,
        transform_input=False,
        init_weights=True,
        dropout=dropout,
        inception_blocks=[*_INCEPTION_BLOCKS, AuxiliaryHead],
    )
    return model


def _resnet9(classes: int, dropout: float, drop_path: float) -> nn.Module:
    del drop_path
    return ResNet9(classes, dropout)


def _no_weights() -> dict[str, Tensor]:
    raise WeightsError("there are no ImageNet weights of resnet9", fix="it learns from scratch: --weights none")


def _torchvision_weights(name: str) -> Callable[[], dict[str, Tensor]]:
    return lambda: dict(torchvision.models.get_weight(name).get_state_dict(progress=True, check_hash=True))


_INCEPTION_BLOCKS = (
    inception.BasicConv2d,
    inception.InceptionA,
    inception.InceptionB,
    inception.InceptionC,
    inception.InceptionD,
    inception.InceptionE,
)
_LITE_STAGES = _stages(
    stem="conv_stem bn1",
    **{f"blocks.{number}": f"blocks.{number}" for number in range(7)},
    conv_head="conv_head bn2",
    head="classifier",
)
_RESNET_STAGES = _stages(
    stem="conv1 bn1", layer1="layer1", layer2="layer2", layer3="layer3", layer4="layer4", head="fc"
)
_INCEPTION_STAGES = _stages(
    stem="Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 Conv2d_3b_1x1 Conv2d_4a_3x3",
    Mixed_5="Mixed_5b Mixed_5c Mixed_5d",
    Mixed_6a="Mixed_6a",
    Mixed_6b="Mixed_6b",
    Mixed_6c="Mixed_6c",
    Mixed_6d="Mixed_6d",
    Mixed_6e="Mixed_6e",
    Mixed_7a="Mixed_7a",
    Mixed_7b="Mixed_7b",
    Mixed_7c="Mixed_7c",
    head="fc AuxLogits",
)


def _lite(number: int, train_size: int, test_size: int) -> Architecture:
    name = f"tf_efficientnet_lite{number}"
    return Architecture(
        name=f"efficientnet_lite{number}",
        train_size=train_size,
        test_size=test_size,
        mean=HALF,
        std=HALF,
        stages=_LITE_STAGES,
        build=build_timm(name),
        download=download_timm(name),
    )


for _architecture in (
    Architecture(
        name="resnet50",
        train_size=192,
        test_size=224,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        stages=_RESNET_STAGES,
        build=_resnet50,
        download=_torchvision_weights("ResNet50_Weights.IMAGENET1K_V2"),
        download_v1=_torchvision_weights("ResNet50_Weights.IMAGENET1K_V1"),
    ),
    Architecture(
        name="inception_v3",
        train_size=299,
        test_size=299,
        mean=HALF,
        std=HALF,
        stages=_INCEPTION_STAGES,
        build=_inception_v3,
        download=_torchvision_weights("Inception_V3_Weights.IMAGENET1K_V1"),
        download_v1=_torchvision_weights("Inception_V3_Weights.IMAGENET1K_V1"),
        min_train_size=299,  # its auxiliary head
        min_test_size=75,
    ),
    Architecture(
        name="resnet9",
        train_size=128,
        test_size=128,
        mean=HALF,
        std=HALF,
        stages=_stages(**{name: name for name in RESNET9_STAGES}),
        build=_resnet9,
        download=_no_weights,
    ),
    _lite(0, 192, 224),
    _lite(2, 224, 260),
):
    register(_architecture)

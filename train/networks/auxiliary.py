"""InceptionV3's auxiliary head, which rests where its loss does not count."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.inception import InceptionAux


class AuxiliaryHead(InceptionAux):  # type: ignore[misc]  # torchvision has no types
    """Torchvision's; features [N, 768, S, S] to logits [N, C], or to None while it rests.

    It needs images of 299 px, which the rest of the network does not.
    """

    rests = False

    def forward(self, features: Tensor) -> Tensor | None:
        """Logits, or None."""
        return None if self.rests else super().forward(features)


def rest_auxiliary_heads(model: nn.Module) -> None:
    """Neither compute nor train them from now on; their entries stay in the state dict."""
    for module in model.modules():
        if isinstance(module, AuxiliaryHead):
            module.rests = True
            module.requires_grad_(False)

"""The head's first weights: a linear probe, i.e. logistic regression on what the loaded network makes of each photo.

Called by the set-up of a run (`Recipe.head_start`). A random head pulls the network about in the first steps, and what
ImageNet taught it of other places is lost there; from a probe it need not (LP-FT, Kumar et al., arXiv 2202.10054).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from smartbin.errors import ConfigError
from train.console import progress
from train.inference import BATCH, normalise
from train.loader import PhotoSamples, in_order, load_batches
from train.networks.architectures import Architecture

_ROUNDS = 200
_STRENGTH = 0.3  # weight of the squared norm beside the mean loss: a weak probe is worse at home, but better elsewhere


def head_of(model: nn.Module, architecture: Architecture) -> nn.Linear:
    """The last linear layer, the network's classifier; `ConfigError` if it is something else."""
    name = architecture.stages[-1].prefixes[0]
    head = model.get_submodule(name)
    if not isinstance(head, nn.Linear):
        raise ConfigError(
            "this network's head is no single linear layer",
            where=f"{architecture.name}.{name}",
            found=type(head).__name__,
            expected="Linear",
            fix="train it without head_start, keep and blend, or choose another --model",
        )
    return head


@contextmanager
def head_inputs(head: nn.Linear) -> Iterator[list[Tensor]]:
    """While open, what each call of the network gives its head, float [N, F], is appended to the list."""
    seen: list[Tensor] = []
    handle = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        handle.remove()


def probe_head(
    model: nn.Module, architecture: Architecture, samples: PhotoSamples, fabric: Fabric, workers: int
) -> None:
    """Set the head of `model` to the probe of these photos, each seen once in eval mode."""
    head = head_of(model, architecture)
    features, labels = _features(model, architecture, samples, fabric, workers)
    weight, bias = fit_probe(features, labels, head.out_features)
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)


def fit_probe(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Ridge-penalised logistic regression on standardised features [N, F]: weight [C, F] and bias [C] for raw ones."""
    features = features.double()
    mean, spread = features.mean(dim=0), features.std(dim=0) + 1e-3
    inputs = (features - mean) / spread
    weight = torch.zeros(classes, inputs.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([weight, bias], max_iter=_ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        miss = nn.functional.cross_entropy(inputs @ weight.T + bias, labels) + _STRENGTH * weight.square().sum()
        miss.backward()  # type: ignore[no-untyped-call]
        return miss

    search.step(loss)  # type: ignore[no-untyped-call]
    raw = (weight / spread).detach()
    return raw.float(), (bias - raw @ mean).detach().float()


def _features(
    model: nn.Module, architecture: Architecture, samples: PhotoSamples, fabric: Fabric, workers: int
) -> tuple[Tensor, Tensor]:
    model.eval()
    labels = []
    with (
        head_inputs(head_of(model, architecture)) as seen,
        progress("fitting the head to the loaded network", len(samples)) as advance,
        torch.no_grad(),
    ):
        for batch in load_batches(samples, in_order(len(samples), BATCH), workers):
            model(normalise(batch.images.to(fabric.device), architecture))
            labels.append(batch.labels)
            advance(len(batch.labels), "")
    return torch.cat([inputs.float().cpu() for inputs in seen]), torch.cat(labels)

"""The head's first weights: a linear probe, i.e. logistic regression on what the loaded network makes of each photo.

Called by the set-up of a run (`Recipe.head_start`). A random head pulls the network about in the first steps, and what
ImageNet taught it of other places is lost there; from a probe it need not (LP-FT, Kumar et al., arXiv 2202.10054).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from smartbin.errors import ConfigError
from train.console import progress, say
from train.inference import BATCH, normalise
from train.loader import PhotoSamples, SampleKey, epoch_batches, in_order, load_batches
from train.networks.architectures import Architecture
from train.networks.freezing import Frozen

_ROUNDS = 200
_CHECKED = 4  # batches
_WORSE = 2.0  # times the loss of guessing; a probe that fits is below it even where the photos cannot be told apart
_STRENGTH = 0.3  # weight of the squared norm beside the mean loss: a weak probe is worse at home, but better elsewhere


def has_linear_head(model: nn.Module, architecture: Architecture) -> bool:
    """Whether the network's classifier is a single linear layer."""
    return isinstance(model.get_submodule(architecture.stages[-1].prefixes[0]), nn.Linear)


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
    model: nn.Module, architecture: Architecture, frozen: Frozen, samples: PhotoSamples, fabric: Fabric, workers: int
) -> bool:
    """Set the head of `model` to the probe of these photos, each seen once in eval mode; whether that was done.

    Where training would see other activations than that, so that the probe were far worse than guessing (batch norms
    whose statistics are of another size, or of layers that start random), the head stays as it is, which is said.
    """
    head = head_of(model, architecture)
    read = partial(_features, model, architecture, samples, fabric, workers)
    model.eval()
    weight, bias = fit_probe(*read(in_order(len(samples), BATCH)), head.out_features)
    with _buffers_kept(model):
        model.train()
        frozen.rest(model)
        features, labels = read(_mixed(len(samples)))
    loss = float(nn.functional.cross_entropy(features @ weight.T + bias, labels))
    guessing = math.log(head.out_features)
    if loss > _WORSE * guessing:
        say(
            f"note: the head starts small and not as a probe, whose loss would be {loss:.1f} in training (guessing: "
            f"{guessing:.1f}): the loaded batch norms do not fit these photos; --freeze-bn on keeps them as they are"
        )
        return False
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    return True


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
    model: nn.Module,
    architecture: Architecture,
    samples: PhotoSamples,
    fabric: Fabric,
    workers: int,
    batches: list[list[SampleKey]],
) -> tuple[Tensor, Tensor]:
    """What the head gets of the samples, [N, F], and their labels [N], on the CPU; the model's mode is the caller's."""
    labels = []
    with (
        head_inputs(head_of(model, architecture)) as seen,
        progress("fitting the head to the loaded network", sum(map(len, batches))) as advance,
        torch.no_grad(),
    ):
        for batch in load_batches(samples, batches, workers):
            model(normalise(batch.images.to(fabric.device), architecture))
            labels.append(batch.labels)
            advance(len(batch.labels), "")
    return torch.cat([inputs.float().cpu() for inputs in seen]), torch.cat(labels)


def _mixed(count: int) -> list[list[SampleKey]]:
    """A few batches of all classes, the same for the same number of samples."""
    places = np.random.default_rng(count).permutation(count)[: _CHECKED * BATCH]
    return epoch_batches([SampleKey(int(place), int(place)) for place in places], BATCH)


@contextmanager
def _buffers_kept(model: nn.Module) -> Iterator[None]:
    """Batch norms are afterwards as they were."""
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        yield
    finally:
        for name, buffer in model.named_buffers():
            buffer.copy_(before[name])

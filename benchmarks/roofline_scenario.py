"""Networks in torch, eager, with AMP and compiled, beside what the chip could do at best: its roofline.

The roofline is measured in the same process, not read from a data sheet: the fastest large matrix product in the way's
own type, and the fastest copy. A batch cannot be quicker than its arithmetic at that speed, nor than reading the
weights and the batch once. Weights are random: they do not change the speed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.laps import WARM_UP, Laps
from benchmarks.report import LATENCY_COLUMNS, Cell, Measurement, Table
from smartbin.errors import ConfigError
from train.machine import describe_device
from train.networks.architectures import Architecture, architecture_of

NETWORKS, BATCHES = ("resnet50", "inception_v3"), (1, 64)
_CLASSES = 6
_TRIES = 10
_MATRIX_SIDE = {"cuda": 8192, "cpu": 1024}
_COPIED_BYTES = {"cuda": 1 << 30, "cpu": 1 << 27}


@dataclass(frozen=True, slots=True)
class RooflineOptions:
    """`device`: cpu, cuda, or auto for the GPU where there is one."""

    networks: Sequence[str]
    batches: Sequence[int]
    device: str
    threads: int
    laps: Laps


@dataclass(frozen=True, slots=True)
class _Way:
    """How a network is run; `half`: convolutions and matrix products in the device's half precision."""

    name: str
    half: bool = False
    compiled: bool = False


WAYS = (_Way("eager float32"), _Way("AMP", half=True), _Way("compile, AMP", half=True, compiled=True))


@dataclass(frozen=True, slots=True)
class Chip:
    """What was measured of the device: operations a second by type, bytes a second."""

    operations: dict[torch.dtype, float]
    bandwidth: float

    def least_ms(self, operations: float, nbytes: float, kind: torch.dtype) -> float:
        """Time that so much arithmetic, and so many bytes read, take at the least, in milliseconds."""
        return max(operations / self.operations[kind], nbytes / self.bandwidth) * 1000


def run_roofline(options: RooflineOptions) -> Table:
    """Time every network, way and batch in turn, batch by batch. Blocks for minutes; compiling takes most of them."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("torch has no GPU here", where="--device", found="cuda", fix="--device cpu")
    torch.set_num_threads(options.threads)
    place = torch.device("cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu")
    half = torch.bfloat16 if place.type == "cpu" or torch.cuda.is_bf16_supported() else torch.float16
    chip = measure_chip(place, (torch.float32, half))
    rows: list[tuple[Cell, ...]] = []
    measured: list[Measurement] = []
    left_out: list[str] = []
    for name in options.networks:
        architecture = architecture_of(name)
        operations = operations_of(architecture)
        for batch in options.batches:
            laps = {}
            for way in WAYS:
                try:
                    laps[way.name] = _lap(architecture, way, batch, place, half)
                except ConfigError as error:
                    left_out.append(f"left out: {name}, {way.name}, batch {batch}: {error.what}: {error.found}.")
            samples = options.laps.run(laps)
            for way in (way for way in WAYS if way.name in laps):
                kind = half if way.half else torch.float32
                found = Measurement.of(f"{name}, {way.name}, batch {batch}", samples[way.name], WARM_UP)
                least_ms = chip.least_ms(operations * batch, _bytes_read(architecture, batch, kind), kind)
                rows.append(_row(name, way, batch, found, operations, least_ms))
                measured.append(found)
    return Table("roofline", _COLUMNS, tuple(rows), (*_notes(chip, place, half), *left_out), tuple(measured))


_COLUMNS = (
    "network", "way", "batch", *LATENCY_COLUMNS, "images/s", "TFLOP/s", "roofline ms", "of roofline"
)  # fmt: skip


def _row(name: str, way: _Way, batch: int, found: Measurement, operations: float, least_ms: float) -> tuple[Cell, ...]:
    p50_ms = found.latency.p50_ms
    speed = operations * batch / p50_ms / 1e9
    return name, way.name, batch, *found.cells, batch * 1000 / p50_ms, speed, least_ms, least_ms / p50_ms


def _notes(chip: Chip, place: torch.device, half: torch.dtype) -> tuple[str, ...]:
    kinds = {"float32": torch.float32, str(half).removeprefix("torch."): half}
    speeds = ", ".join(f"{name} {chip.operations[kind] / 1e12:.4g} TFLOP/s" for name, kind in kinds.items())
    tf32 = ", float32 as its convolutions do it (TF32)" if place.type == "cuda" else ""
    return (
        f"{describe_device(place)}{tf32}; measured here, large matrix products: {speeds}; copying: "
        f"{chip.bandwidth / 1e9:.4g} GB/s.",
        "roofline: the longer of the network's arithmetic at that speed, and of reading weights and batch once; of "
        "roofline: that by the median, 1 is perfect.",
        "random weights, pictures on the device before; AMP and compile with channels last.",
    )


def operations_of(architecture: Architecture) -> int:
    """Floating-point operations of one picture, a multiplication and an addition counted as two."""
    network, picture = _network(architecture, torch.device("meta")), _pictures(architecture, 1, torch.device("meta"))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(picture)
    return int(counter.get_total_flops())


def measure_chip(place: torch.device, kinds: Sequence[torch.dtype]) -> Chip:
    """The best of several tries of each: a busy neighbour only ever slows them."""
    side = _MATRIX_SIDE[place.type]
    operations = {}
    with _matrix_products_like_convolutions():
        for kind in kinds:
            one, other = (torch.randn(side, side, device=place).to(kind) for _ in range(2))
            operations[kind] = 2 * side**3 / _best_s(partial(torch.matmul, one, other), place)
    source = torch.zeros(_COPIED_BYTES[place.type], dtype=torch.uint8, device=place)
    target = torch.zeros_like(source)
    return Chip(operations, 2 * source.nbytes / _best_s(partial(target.copy_, source), place))


@contextlib.contextmanager
def _matrix_products_like_convolutions() -> Iterator[None]:
    """On a GPU torch takes TF32 for float32 convolutions, but not for matrix products unless it is told."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _best_s(work: Callable[[], Tensor], place: torch.device) -> float:
    return min(_timed_ms(work, place) for _ in range(_TRIES)) / 1000


def _timed_ms(work: Callable[[], Tensor], place: torch.device) -> float:
    """Milliseconds until the device has done it."""
    _wait(place)
    begun_s = time.perf_counter()
    work()
    _wait(place)
    return (time.perf_counter() - begun_s) * 1000


def _wait(place: torch.device) -> None:
    if place.type == "cuda":
        torch.cuda.synchronize(place)


def _lap(
    architecture: Architecture, way: _Way, batch: int, place: torch.device, half: torch.dtype
) -> Callable[[], float]:
    """A lap of one batch; `ConfigError` if it cannot be compiled here. It is compiled before."""
    network, pictures = _network(architecture, place), _pictures(architecture, batch, place)
    if way.half:
        network = network.to(memory_format=torch.channels_last)
        pictures = pictures.contiguous(memory_format=torch.channels_last)
    runs: Callable[[Tensor], Tensor] = torch.compile(network, dynamic=False) if way.compiled else network

    def work() -> Tensor:
        with torch.inference_mode(), torch.autocast(place.type, half, enabled=way.half):
            return runs(pictures)

    if way.compiled:
        try:
            work()
        except Exception as error:  # the errors of compilers have no common base
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ConfigError("torch.compile fails here", found=first, fix="install a C++ compiler") from error
    return partial(_timed_ms, work, place)


def _network(architecture: Architecture, place: torch.device) -> nn.Module:
    with place:  # on the meta device nothing is drawn
        return architecture.build(_CLASSES, 0.0, 0.0).eval()


def _pictures(architecture: Architecture, batch: int, place: torch.device) -> Tensor:
    size = architecture.test_size
    return torch.zeros(batch, 3, size, size, device=place)


def _bytes_read(architecture: Architecture, batch: int, kind: torch.dtype) -> float:
    """Weights in the type that they are used in, and the batch as it comes, float32."""
    weights = sum(parameter.numel() for parameter in _network(architecture, torch.device("meta")).parameters())
    return weights * kind.itemsize + _pictures(architecture, batch, torch.device("meta")).nbytes

"""Everything that can run a bundle's file or a trained run's network: uint8 [N, S, S, 3] RGB to scores [N, C].

Called in a process of its own. What is not there is an error, which the scenario turns into a note.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.contender import Model
from smartbin.bundle import INPUT_NAME, PROBABILITIES_NAME, read_bundle
from smartbin.errors import ConfigError, InferenceError
from smartbin.runtime import RuntimeName, open_classifier

if TYPE_CHECKING:
    import torch
    from torch import nn

    from train.checkpoint import TrainedRun

SMARTBIN_RUNTIMES: tuple[RuntimeName, ...] = ("onnxruntime-cpu", "onnxruntime-cuda", "tensorrt", "openvino-cpu")
OPENCV_DNN: Final = "opencv-dnn"
BundleRuntime: TypeAlias = RuntimeName | Literal["opencv-dnn"]
BUNDLE_RUNTIMES: tuple[BundleRuntime, ...] = (*SMARTBIN_RUNTIMES, OPENCV_DNN)
TORCH_RUNTIMES = ("torch-eager", "torch-compile")
RUNTIMES = (*TORCH_RUNTIMES, *BUNDLE_RUNTIMES)
ON_GPU = ("onnxruntime-cuda", "tensorrt")
"""Those that a number of CPU threads means nothing to."""


def open_bundle(path: Path, runtime: BundleRuntime, threads: int) -> Model[NDArray[np.uint8]]:
    """A bundle's file, as it is, in a runtime; what `open_classifier` raises passes through."""
    bundle = read_bundle(path)
    if runtime == OPENCV_DNN:
        return Model(OPENCV_DNN, opencv_network(bundle.model_path))
    classifier = open_classifier(bundle, runtime, threads)
    return Model(classifier.runtime, lambda batch: classifier.classify(batch).probabilities)


def opencv_network(model: Path) -> Callable[[NDArray[np.uint8]], NDArray[np.floating]]:
    """A bundle's ONNX file in OpenCV's own network code; `InferenceError` if it cannot read or run the file."""

    def scores(batch: NDArray[np.uint8]) -> NDArray[np.floating]:
        try:
            network.setInput(batch, INPUT_NAME)
            return np.asarray(network.forward(PROBABILITIES_NAME), np.float32)
        except cv2.error as error:
            raise _opencv_fails("run", model, error) from error

    try:
        network = cv2.dnn.readNetFromONNX(str(model))
    except cv2.error as error:
        raise _opencv_fails("read", model, error) from error
    return scores


def _opencv_fails(what: str, model: Path, error: cv2.error) -> InferenceError:
    return InferenceError(
        f"OpenCV {cv2.__version__} cannot {what} this model",
        where=model,
        found=" ".join(str(error).split()),
        fix="leave opencv-dnn out",
    )


def open_run(path: Path, runtime: str, device: str, threads: int) -> Model[NDArray[np.uint8]]:
    """A run's network in torch, eager or compiled, float32, with the scaling that a bundle has inside.

    `device`: cpu, cuda, or auto for the GPU where there is one. `ConfigError` without torch or that device.
    """
    run, network, place = open_network(path, device, threads)
    import torch

    if runtime == "torch-compile":
        network = _compiled(network, run.preprocess.size, place)
    mean, std = (torch.tensor(values, device=place).view(1, 3, 1, 1) for values in (run.mean, run.std))

    def scores(batch: NDArray[np.uint8]) -> NDArray[np.floating]:
        with torch.inference_mode():
            planes = torch.from_numpy(batch).to(place).permute(0, 3, 1, 2).float().div_(255.0)
            logits: NDArray[np.floating] = network((planes - mean) / std).cpu().numpy()
            return logits

    return Model(f"{runtime}-{place.type}", scores)


def _compiled(network: nn.Module, size: int, place: torch.device) -> nn.Module:
    """Compiled for one image; the warm-up compiles it for other batches. `InferenceError` if that is impossible."""
    import torch

    compiled = torch.compile(network)
    try:
        with torch.inference_mode():
            compiled(torch.zeros(1, 3, size, size, device=place))
    except Exception as error:  # the errors of compilers have no common base
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InferenceError("torch.compile fails here", found=first, fix="install a C++ compiler") from error
    return compiled  # type: ignore[return-value]  # it can be called like the network


def open_network(path: Path, device: str, threads: int) -> tuple[TrainedRun, nn.Module, torch.device]:
    """A run, its network in eval mode, and where that is now. `ConfigError` without torch or the device."""
    try:
        import torch
    except ImportError as error:
        raise ConfigError("--run needs torch", found=str(error), fix="pip install 'smartbin[train]'") from error
    from train.checkpoint import load_run

    torch.set_num_threads(threads)
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("torch has no GPU here", where="--device", found="cuda", fix="--device cpu")
    place = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    run = load_run(path)
    return run, run.build_model().to(place), place

"""Whole pipelines from a camera frame to an answer: smartbin's, and those of its named peers. Each opens in a process.

All get a frame uint8 [H, W, 3] BGR in memory and give scores [1, C], in the order of the classes of their own model.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.contender import Model
from benchmarks.runtimes import open_network, opencv_network
from smartbin.bundle import read_bundle
from smartbin.errors import ConfigError
from smartbin.images import BgrImage
from smartbin.preprocess import to_input
from smartbin.runtime import RuntimeName, open_classifier


def open_smartbin(bundle_path: Path, runtime: RuntimeName, threads: int) -> Model[BgrImage]:
    """What the daemon does with a frame: `to_input`, then the classifier."""
    bundle = read_bundle(bundle_path)
    classifier = open_classifier(bundle, runtime, threads)
    spec = bundle.manifest.preprocess
    return Model(classifier.runtime, lambda frame: classifier.classify(to_input(frame, spec).image[None]).probabilities)


def open_notebook(run_path: Path, device: str, threads: int) -> Model[BgrImage]:
    """The original notebook's: PIL, torchvision's transforms, torch in eager mode. `ConfigError` without torch."""
    run, network, place = open_network(run_path, device, threads)
    import torch

    from benchmarks.usual_way import normalise, resize_and_crop, to_pil

    crop, planes = resize_and_crop(run.preprocess.size), normalise(run.mean, run.std)

    def scores(frame: BgrImage) -> NDArray[np.floating]:
        with torch.no_grad():
            found: NDArray[np.floating] = network(planes(crop(to_pil(frame)))[None].to(place)).cpu().numpy()
            return found

    return Model(f"torch-eager-{place.type}", scores)


def open_ultralytics(plain_onnx: Path, size: int, threads: int) -> Model[BgrImage]:
    """ultralytics' own classifier pipeline, `YOLO(file).predict(frame)`; `ConfigError` where it is not installed."""
    # it must neither install packages nor look for news, and keep its settings where the file is
    os.environ |= {"YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": str(plain_onnx.parent)}
    try:
        from ultralytics import YOLO
    except ImportError as error:
        raise ConfigError("not installed", found=error, fix="pip install ultralytics") from error
    _limit_onnxruntime(threads)
    model = YOLO(str(plain_onnx), task="classify")

    def scores(frame: BgrImage) -> NDArray[np.floating]:
        (result,) = model.predict(frame, imgsz=size, device="cpu", verbose=False)
        return np.asarray(result.probs.data, np.float32)[None]

    return Model("onnxruntime-cpu", scores)


def _limit_onnxruntime(threads: int) -> None:
    """Sessions of this process that state no options get so many threads: without a number they take every core of the
    machine, also those that the process may not use.
    """
    import onnxruntime

    unlimited = onnxruntime.InferenceSession

    def limited(
        model: str | bytes, sess_options: onnxruntime.SessionOptions | None = None, **rest: object
    ) -> onnxruntime.InferenceSession:
        options = sess_options or onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        return unlimited(model, options, **rest)

    onnxruntime.InferenceSession = limited


def open_opencv_loop(bundle_path: Path) -> Model[BgrImage]:
    """What a short OpenCV example does: `resize`, BGR to RGB, `net.forward` on the bundle's own file."""
    bundle = read_bundle(bundle_path)
    size = bundle.manifest.preprocess.size
    network = opencv_network(bundle.model_path)

    def scores(frame: BgrImage) -> NDArray[np.floating]:
        small = cv2.cvtColor(cv2.resize(frame, (size, size)), cv2.COLOR_BGR2RGB)
        return network(np.asarray(small, np.uint8)[None])

    return Model("opencv-dnn", scores)

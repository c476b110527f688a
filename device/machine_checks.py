"""What `smartbin doctor` asks of any machine, without a configuration: one function a line or two of its report."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from device.jetson import board_model, is_jetson, jetpack_version, l4t_release, power_mode
from device.machine import Machine
from smartbin.bundle import Bundle, builtin_bundle_path, read_bundle
from smartbin.classifier import Classifier
from smartbin.errors import SmartbinError
from smartbin.prediction import predictions
from smartbin.preprocess import stack_inputs, to_input
from smartbin.runtime import open_classifier


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report: `warn` works, but something is missing; `fail` does not work."""

    name: str
    level: Literal["ok", "warn", "fail"]
    found: str
    fix: str = ""


def examine(machine: Machine) -> list[Check]:
    """Every check, in the order in which one would ask."""
    found: list[Check] = []
    for check in CHECKS:
        found += check(machine)
    return found


def check_python(machine: Machine) -> list[Check]:
    """Python and numpy."""
    version, architecture, _ = machine.facts()
    new_enough = tuple(int(part) for part in version.split(".")[:2]) >= (3, 10)
    python = Check(
        "Python",
        "ok" if new_enough else "fail",
        f"{version} on {architecture}",
        "" if new_enough else "install Python 3.10 to 3.13",
    )
    numpy = machine.version_of("numpy")
    return [
        python,
        Check("numpy", "ok", numpy) if numpy else Check("numpy", "fail", "absent", "pip install 'numpy>=1.26'"),
    ]


def check_opencv(machine: Machine) -> list[Check]:
    """OpenCV's version and what it can open."""
    version = machine.version_of("cv2")
    if version is None:
        return [
            Check(
                "OpenCV",
                "fail",
                "absent or broken",
                "pip install opencv-python-headless (on a Jetson: keep JetPack's own)",
            )
        ]
    build = machine.opencv_build()
    checks = [Check("OpenCV", "ok", version)]
    jetson = is_jetson(machine)
    if built_with(build, "GStreamer"):
        checks.append(Check("OpenCV GStreamer", "ok", "yes: CSI cameras can be opened"))
    elif jetson:
        fix = (
            "pip's OpenCV hides JetPack's: pip uninstall opencv-python opencv-python-headless, "
            "then use a venv with --system-site-packages"
        )
        checks.append(Check("OpenCV GStreamer", "warn", "no: csi:0 cannot be opened", fix))
    else:
        checks.append(Check("OpenCV GStreamer", "ok", "no (only a Jetson's CSI camera needs it)"))
    for what, need in (("FFMPEG", "rtsp:// and most video files"), ("v4l/v4l2", "camera:0 and /dev/video0")):
        name = "OpenCV " + {"FFMPEG": "FFmpeg", "v4l/v4l2": "V4L2"}[what]
        if built_with(build, what):
            checks.append(Check(name, "ok", "yes"))
        else:
            checks.append(Check(name, "warn", f"no: {need} cannot be opened", "install another build of OpenCV"))
    return checks


def check_cameras(machine: Machine) -> list[Check]:
    """Camera devices, and whether this user may use them."""
    devices = machine.matching("/dev/video*")
    if not devices:
        fix = "plug in a USB camera, or use csi:0, rtsp://…, a file, the scene; a container needs --device /dev/video0"
        return [Check("cameras", "warn", "no /dev/video*", fix)]
    forbidden = [device for device in devices if not machine.may_use(device)]
    if forbidden:
        user = machine.facts()[2]
        return [
            Check(
                "cameras",
                "warn",
                f"no permission for {', '.join(forbidden)}",
                f"sudo usermod -aG video {user}, then log in again",
            )
        ]
    return [Check("cameras", "ok", ", ".join(devices))]


def check_runtimes(machine: Machine) -> list[Check]:
    """ONNX Runtime with its providers, TensorRT, and OpenVINO where it is installed."""
    version, providers = machine.version_of("onnxruntime"), machine.onnx_providers()
    if version is None or not providers:
        checks = [
            Check(
                "ONNX Runtime", "fail", "absent or broken", "pip install onnxruntime (with numpy 1.x: onnxruntime<1.24)"
            )
        ]
    else:
        names = ", ".join(name.removesuffix("ExecutionProvider") for name in providers)
        checks = [Check("ONNX Runtime", "ok", f"{version}: {names}")]
        if is_jetson(machine) and "CUDAExecutionProvider" not in providers:
            fix = "NVIDIA's index has onnxruntime-gpu for aarch64 (PyPI has none); uninstall onnxruntime first"
            checks.append(Check("ONNX Runtime CUDA", "warn", "no: the model runs on the CPU", fix))
    tensorrt = machine.version_of("tensorrt")
    if tensorrt is not None:
        checks.append(Check("TensorRT", "ok", tensorrt))
    elif is_jetson(machine):
        checks.append(
            Check(
                "TensorRT", "warn", "absent", "sudo apt install python3-libnvinfer; a venv needs --system-site-packages"
            )
        )
    else:
        checks.append(Check("TensorRT", "ok", "absent (only needed for the fastest path on NVIDIA GPUs)"))
    if (openvino := machine.version_of("openvino")) is not None:
        checks.append(
            Check("OpenVINO", "ok", f'{openvino}, used where the configuration says runtime = "openvino-cpu"')
        )
    return checks


def check_jetson(machine: Machine) -> list[Check]:
    """JetPack and power mode, on a Jetson."""
    if not is_jetson(machine):
        return [Check("Jetson", "ok", "this is none")]
    release = l4t_release(machine)
    l4t = f"L4T {release[0]}.{release[1]}" if release else "L4T of unknown version"
    jetpack = jetpack_version(machine)
    old = release is not None and release[0] < 36
    checks = [
        Check(
            "Jetson",
            "warn" if old else "ok",
            f"{board_model(machine) or 'Jetson'}, {l4t}" + (f", JetPack {jetpack}" if jetpack else ""),
            "smartbin is made for JetPack 6 (L4T 36) and later" if old else "",
        )
    ]
    mode = power_mode(machine)
    if mode is None:
        checks.append(Check("power mode", "warn", "unknown", "sudo nvpmodel -q says it"))
    elif mode.startswith("MAXN"):
        checks.append(Check("power mode", "ok", mode))
    else:
        checks.append(
            Check(
                "power mode",
                "warn",
                f"{mode}: slower than the board can be",
                "sudo nvpmodel -m 0 && sudo jetson_clocks",
            )
        )
    return checks


def check_bundle(machine: Machine) -> list[Check]:
    """The built-in bundle: that it is whole, and that it classifies a frame."""
    check, _ = check_whole("built-in bundle", lambda: read_bundle(builtin_bundle_path()), open_classifier)
    return [check]


def check_whole(
    name: str, read: Callable[[], Bundle], start: Callable[[Bundle], Classifier]
) -> tuple[Check, tuple[str, ...]]:
    """A bundle that classifies a grey frame; also why no faster runtime did."""
    try:
        bundle = read()
        classifier = start(bundle)
        try:
            grey = np.full((480, 640, 3), 128, np.uint8)
            batch = stack_inputs([to_input(grey, bundle.manifest.preprocess)])
            predictions(classifier.classify(batch), bundle.manifest.classes)
        finally:
            classifier.close()
    except SmartbinError as error:
        return Check(name, "fail", error.what, error.fix or "install smartbin again"), ()
    except ImportError as error:
        return Check(name, "fail", str(error), "install what is missing"), ()
    manifest = bundle.manifest
    found = f"{manifest.name} {manifest.version} ({manifest.precision}) runs on {classifier.runtime}"
    return Check(name, "ok", found), classifier.passed_over


def check_terminal(machine: Machine) -> list[Check]:
    """Whether the live view will show."""
    return [
        Check(
            "terminal",
            "ok",
            "yes: live view" if machine.terminal() else "no: one line a decision instead of the live view",
        )
    ]


CHECKS: tuple[Callable[[Machine], list[Check]], ...] = (
    check_python,
    check_opencv,
    check_cameras,
    check_runtimes,
    check_jetson,
    check_bundle,
    check_terminal,
)


def built_with(build: str, feature: str) -> bool:
    """Whether OpenCV's build information has `feature: YES`."""
    return re.search(rf"^\s*{re.escape(feature)}:\s+YES", build, re.MULTILINE) is not None

"""`smartbin doctor`: what this machine has, and what to do about what is missing. It changes nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from device.bundles import choose_bundle
from device.camera_check import try_camera
from device.camera_settings import refused
from device.clock import SystemClock
from device.config import DeviceConfig
from device.engine_check import try_engine
from device.engine_command import BuildProgress
from device.jetson import board_model, is_jetson, jetpack_version, l4t_release, power_mode
from device.machine import Machine, ThisMachine
from device.runtime_check import runtimes_here, try_runtimes
from device.sink_check import look_at_sensor, look_at_sinks
from smartbin.bundle import Bundle, builtin_bundle_path, read_bundle
from smartbin.classifier import Classifier
from smartbin.errors import SmartbinError
from smartbin.prediction import predictions
from smartbin.preprocess import stack_inputs, to_input
from smartbin.runtime import open_classifier

_WORTH_IT = 1.1  # times as fast as what runs: less is noise
_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report: `warn` works, but something is missing; `fail` does not work."""

    name: str
    level: Literal["ok", "warn", "fail"]
    found: str
    fix: str = ""


def doctor(
    *,
    as_json: bool,
    machine: Machine | None = None,
    config: DeviceConfig | None = None,
    engine: DeviceConfig | None = None,
    runtimes: DeviceConfig | None = None,
    camera: DeviceConfig | None = None,
) -> int:
    """Print the report; 0 unless something that is needed is broken, then 1.

    `config`: also what it runs, and in which runtime, and what its sinks need. `engine`: also build and try the
    TensorRT engine of its bundle. `runtimes`: also time its bundle in every runtime here. `camera`: also open and read
    this configuration's camera.
    """
    machine = machine if machine is not None else ThisMachine()
    checks = examine(machine)
    if config is not None:
        checks.append(check_configured(config))
        for name, well, found, fix in (*look_at_sensor(config.sensor, machine), *look_at_sinks(config.sinks, machine)):
            checks.append(Check(name, "ok" if well else "fail", found, fix))
    if engine is not None:
        checks.append(check_engine(engine))
    if runtimes is not None:
        checks.append(check_speed(runtimes))
    if camera is not None:
        checks.append(check_camera(camera))
    if as_json:
        for check in checks:
            print(json.dumps(asdict(check), ensure_ascii=False))
    else:
        _print_table(checks)
    return 1 if any(check.level == "fail" for check in checks) else 0


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
    check, _ = _check_bundle("built-in bundle", lambda: read_bundle(builtin_bundle_path()), open_classifier)
    return [check]


def check_configured(config: DeviceConfig) -> Check:
    """The bundle that this configuration runs, in the runtime that it gets, and why in no faster one."""
    wanted = config.runtime
    check, reasons = _check_bundle(
        "bundle that runs",
        lambda: choose_bundle(wanted.bundle, config.bundles),
        lambda bundle: open_classifier(bundle, wanted.runtime, wanted.threads, config.engine),
    )
    return replace(check, level="warn", fix="; ".join(reasons)) if reasons else check


def _check_bundle(
    name: str, read: Callable[[], Bundle], start: Callable[[Bundle], Classifier]
) -> tuple[Check, tuple[str, ...]]:
    """Classify a grey frame; also why no faster runtime did."""
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


def check_engine(config: DeviceConfig) -> Check:
    """The bundle's TensorRT engine: built if it is not there, run, and compared with ONNX Runtime on the CPU."""
    try:
        bundle = choose_bundle(config.runtime.bundle, config.bundles)
        with BuildProgress() as progress:
            trial = try_engine(bundle, config.engine, progress)
    except SmartbinError as error:
        return Check("TensorRT engine", "fail", f"{error.what}: {error.found}", error.fix or "")
    found = (
        f"opened in {trial.start_s:.2f} s",
        f"{trial.same_answers} of {trial.frames} frames answered as by ONNX Runtime",
        f"probabilities within {trial.largest_difference:.3g} (limit {trial.limit:g})",
        f"{trial.tensorrt_ms:.2f} ms a frame, {trial.cpu_ms:.2f} ms on the CPU",
    )
    return Check(
        "TensorRT engine",
        "ok" if trial.passed else "fail",
        f"{'built now' if trial.built else 'from the cache'}: {'; '.join(found)}",
        "" if trial.passed else 'until this is understood: runtime = "onnxruntime-cpu" in the configuration',
    )


def check_speed(config: DeviceConfig) -> Check:
    """The bundle in every runtime here; to look at where another one than that which runs is a tenth faster."""
    wanted = config.runtime
    try:
        bundle = choose_bundle(wanted.bundle, config.bundles)
        with closing(open_classifier(bundle, wanted.runtime, wanted.threads, config.engine)) as classifier:
            used = classifier.runtime
        trials, skipped = try_runtimes(bundle, runtimes_here(), wanted.threads, config.engine)
    except SmartbinError as error:
        return Check("runtimes", "fail", f"{error.what}: {error.found}", error.fix or "")
    told = [
        f"{trial.runtime} {trial.frame_ms:.2f} ms a frame{'' if trial.agrees else ', with other answers'}"
        for trial in trials
    ]
    found = "; ".join([*told, *skipped])
    fastest = next(trial for trial in trials if trial.agrees)
    taken = next((trial for trial in trials if trial.runtime == used), fastest)
    if taken.frame_ms > fastest.frame_ms * _WORTH_IT:
        fix = f'{used} runs; runtime = "{fastest.runtime}" in [runtime] is faster here'
        return Check("runtimes", "warn", found, fix)
    return Check("runtimes", "ok", f"{found}; {used} runs")


def check_camera(config: DeviceConfig) -> Check:
    """The configured camera, opened and read for two seconds: how it is, and what it did not take."""
    try:
        trial = try_camera(config.source, SystemClock())
    except SmartbinError as error:
        return Check("camera", "fail", f"{error.what}: {error.found or error.where}", error.fix or "")
    found = [
        f"{trial.name}: {trial.width} x {trial.height}, {trial.fps:.1f} frames a second measured",
        f"mean luma {trial.exposure.mean_luma:.2f}, clipped {trial.exposure.clipped_fraction:.0%}",
        *([f"{trial.unfit} unfit frames"] if trial.unfit else []),
        *(str(answer) for answer in trial.answers),
    ]
    if refused(trial.answers):
        return Check(
            "camera", "warn", "; ".join(found), "correct [source] and [source.camera]: v4l2-ctl --list-ctrls-menus"
        )
    return Check(
        "camera", "warn" if trial.unfit else "ok", "; ".join(found), "another cable or USB port?" * bool(trial.unfit)
    )


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


def _print_table(checks: list[Check]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(width=1)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for check in checks:
        mark, style = _MARKS[check.level]
        text = Text(check.found)
        if check.fix:
            text.append(f"\n→ {check.fix}", style=style)
        table.add_row(Text(mark, style=style), check.name, text)
    console = Console()
    console.print(table)
    failed, warned = (sum(check.level == level for check in checks) for level in ("fail", "warn"))
    verdict = f"{failed} broken, {warned} to look at" if failed or warned else "all is well"
    console.print(Text(verdict, style="red" if failed else "yellow" if warned else "green"))

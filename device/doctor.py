"""`smartbin doctor`: what this machine has, and what to do about what is missing. It changes nothing."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, replace

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
from device.machine import Machine, ThisMachine
from device.machine_checks import Check, check_whole, examine
from device.runtime_check import runtimes_here, try_runtimes
from device.sink_check import look_at_sensor, look_at_sinks, unmatched_flaps
from smartbin.errors import SmartbinError
from smartbin.runtime import open_classifier

_WORTH_IT = 1.1  # times as fast as what runs: less is noise
_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


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
        checks += [check_configured(config), *check_flaps(config)]
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


def check_configured(config: DeviceConfig) -> Check:
    """The bundle that this configuration runs, in the runtime that it gets, and why in no faster one."""
    wanted = config.runtime
    check, reasons = check_whole(
        "bundle that runs",
        lambda: choose_bundle(wanted.bundle, config.bundles),
        lambda bundle: open_classifier(bundle, wanted.runtime, wanted.threads, config.engine),
    )
    return replace(check, level="warn", fix="; ".join(reasons)) if reasons else check


def check_flaps(config: DeviceConfig) -> list[Check]:
    """Whether flaps and decisions have the same names; nothing where no flap is on this machine's pins."""
    try:
        classes = choose_bundle(config.runtime.bundle, config.bundles).manifest.classes
    except SmartbinError:
        return []  # another line says so
    without, never = unmatched_flaps(config, classes)
    told = [f"no flap for {', '.join(without)}"] * bool(without) + [f"nothing opens {', '.join(never)}"] * bool(never)
    if not told:
        return []
    fix = "give [decision.bins] and [sinks.gpio.bins] the same names, where a flap is meant to open"
    return [Check("flaps", "warn", "; ".join(told), fix)]


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

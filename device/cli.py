"""The `smartbin` command: `run` sorts, `classify` judges photos, `events` and `dataset` show what was kept, `bundle`
and `engine` keep models, `doctor` looks at the machine.

Only what the parser needs is imported here; each command imports its own when called, so that `--help` is instant.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from device.config_argument import add_config
from device.fleet_arguments import add_fleet
from device.model_arguments import add_bundle, add_engine
from device.signals import stop_on_signals
from device.store_arguments import add_dataset, add_events
from smartbin import __version__
from smartbin.errors import run_cli

_EXIT_CODES = """exit codes:
  0 stopped   2 configuration   3 model refused   4 camera gave up   5 inference failed   6 stalled   1 anything else
"""
_RUN_EXAMPLES = """examples:
  smartbin run                                    the built-in scene, once
  smartbin run --source camera:0                  a USB camera
  smartbin run --source csi:0                     a Jetson's own camera
  smartbin run --source rtsp://cam.local/stream   a network camera
  smartbin run --source 'test://scene?faults=all' a drill: a camera that fails on purpose
  smartbin run --source photos/ --json            a folder of photos, one JSON object a line
  smartbin run --config bin.toml                  as configured; every flag overrides the file

"""
_CLASSIFY_EXAMPLES = """examples:
  smartbin classify can.jpg bottle.jpg
  smartbin classify photos/ --json > answers.jsonl
  find / -name '*.jpg' | smartbin classify - --json

exit codes: 0 all photos were read   1 some could not be read (they are reported; the rest is done)   2, 3, 5 as for run
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="smartbin",
        description="A smart recycling bin: sees an item, says what it is made of or that it is unsure, opens a flap.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EXIT_CODES,
    )
    parser.add_argument("--version", action="version", version=f"smartbin {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_classify(commands)
    add_bundle(commands)
    add_engine(commands)
    add_events(commands)
    add_dataset(commands)
    add_fleet(commands)
    _add_flap(commands)
    doctor = commands.add_parser("doctor", help="say what this machine has and what to do about what is missing")
    doctor.add_argument("--json", action="store_true", help="one JSON object a check")
    doctor.add_argument("--engine", action="store_true", help="also build and try the TensorRT engine of the bundle")
    doctor.add_argument(
        "--runtimes", action="store_true", help="also time the bundle in every runtime here, and say which is fastest"
    )
    doctor.add_argument(
        "--camera",
        nargs="?",
        const="",
        metavar="URI",
        help="also open a camera (default: the configured one) and try it",
    )
    doctor.add_argument(
        "--bundle",
        type=Path,
        metavar="DIR",
        help="bundle for --engine (exported for TensorRT) and --runtimes (default: the installed one)",
    )
    doctor.add_argument(
        "--config", type=Path, metavar="FILE", help="the daemon's TOML file: also look for what its sinks need"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    options = build_parser().parse_args(arguments)

    def command() -> int:
        if options.command == "run":
            with stop_on_signals() as stop:
                from device.run_command import run

                return run(options, stop)
        if options.command != "doctor":  # device/NAME_command.py has a function NAME
            module = importlib.import_module(f"device.{options.command}_command")
            return int(getattr(module, options.command)(options))
        from device.config import load_config
        from device.doctor import doctor

        overrides = {"runtime.bundle": options.bundle, "source.uri": options.camera or None}
        config = load_config(options.config, overrides)
        return doctor(
            as_json=options.json,
            config=config,
            engine=config if options.engine else None,
            runtimes=config if options.runtimes else None,
            camera=config if options.camera is not None else None,
        )

    return run_cli(command)


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = commands.add_parser(
        "run",
        help="watch a camera, a video, photos or the built-in scene, and decide",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_RUN_EXAMPLES + _EXIT_CODES,
    )
    run.add_argument(
        "--source",
        metavar="URI",
        help="camera:0, /dev/video0, csi:0, rtsp://…, a file, a folder, scene (default), test://SOURCE?faults=…",
    )
    run.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML file; the package's smartbin.toml shows every key"
    )
    _add_model_flags(run)
    rounds = run.add_mutually_exclusive_group()
    rounds.add_argument(
        "--once", dest="loop", action="store_false", default=None, help="play a recording once (default)"
    )
    rounds.add_argument(
        "--loop", dest="loop", action="store_true", default=None, help="start a recording over at its end"
    )
    run.add_argument(
        "--pace",
        choices=("auto", "real", "fast"),
        help="play a recording in its own time, or fast (auto: only the scene in its own time)",
    )
    run.add_argument(
        "--mode",
        choices=("auto", "item", "continuous", "every_frame"),
        help="what gets a decision (auto: photos every_frame, else item)",
    )
    run.add_argument("--width", type=int, help="picture width asked of the camera")
    run.add_argument("--height", type=int, help="picture height asked of the camera")
    run.add_argument("--fps", type=float, help="frame rate asked of the camera")
    run.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="write events as JSON lines to FILE, or to stdout"
    )
    run.add_argument("--view", choices=("auto", "live", "plain", "off"), help="what the terminal shows")
    run.add_argument(
        "--page", action="store_true", default=None, help="serve the bin's page ([page] says where: 127.0.0.1:8080)"
    )
    run.add_argument("--max-seconds", type=float, metavar="S", help="stop after so long")
    run.add_argument("--stall-seconds", type=float, metavar="S", help="end with exit code 6 when the loop stands still")
    run.add_argument("--verbose", "-v", action="store_true", help="log more")


def _add_classify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    classify = commands.add_parser(
        "classify",
        help="judge photos: a table, or one JSON object a line",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_CLASSIFY_EXAMPLES,
    )
    classify.add_argument(
        "photos", nargs="+", metavar="PHOTO", help="photos, folders of photos, or - for paths on stdin"
    )
    classify.add_argument(
        "--json",
        action="store_true",
        help="one JSON object a line: path, label, confidence, decision, probabilities, exposure",
    )
    _add_model_flags(classify)


def _add_flap(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    flap = commands.add_parser("flap", help="move a flap without a camera, to try its wiring; or all to rest")
    actions = flap.add_subparsers(dest="action", metavar="ACTION", required=True)
    opens = actions.add_parser("open", help="open the flap of a bin, and close it again")
    opens.add_argument("bin", metavar="BIN", help="its name in the configuration")
    for action in (
        opens,
        actions.add_parser("unsure", help="what the bin does where it does not know"),
        actions.add_parser("rest", help="everything to rest, such as after a crash"),
    ):
        add_config(action, "sinks")


def _add_model_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="model bundle (default: the built-in one)")
    parser.add_argument(
        "--runtime",
        choices=("auto", "tensorrt", "onnxruntime-cuda", "onnxruntime-cpu", "openvino-cpu"),
        help="what runs the model (auto: the first of the next three that is there)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads of one inference")


if __name__ == "__main__":
    sys.exit(main())

"""Benchmarks: `python benchmarks/run.py SCENARIO… [--bundle DIR…] [--run RUN] [--photos FOLDER]`, or `smartbin-bench`.

Tables go to stdout, which ends in a line `RESULT …`; JSON with every sample, Markdown and plots go to files. Exit
code 1: answers agree less with their reference than --min-agreement. Figures are of the machine that it runs on and of
no other.
"""

from __future__ import annotations

import argparse
import datetime as dt
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2

if not __package__:  # started as a file: make the repository importable, as an install would be
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.classifier_scenario import ClassifierOptions, run_classifier
from benchmarks.compare_scenario import CompareOptions, run_compare
from benchmarks.conditions import read_conditions, read_state
from benchmarks.film_kinds import KINDS
from benchmarks.folder_scenario import run_folder
from benchmarks.laps import Laps, Yardstick
from benchmarks.photos import DEFAULT_PHOTOS
from benchmarks.preprocess_scenario import PreprocessOptions, run_preprocess
from benchmarks.report import Report, Table, read_report
from benchmarks.results import default_path, result_line, write_results
from benchmarks.runtimes import RUNTIMES, SMARTBIN_RUNTIMES
from benchmarks.verdict import check_comparable, compare
from device.machine import Machine, ThisMachine
from smartbin.arguments import above_zero, accuracy, count
from smartbin.bundle import builtin_bundle_path
from smartbin.errors import ConfigError, run_cli
from smartbin.runtime import RuntimeName

_MEMORY_PHOTOS = 256
_SEQUENCE_ITEMS = 20
_YARDSTICK_LAPS = 20
SCENARIOS = (
    "preprocess",
    "classifier",
    "end_to_end",
    "load",
    "soak",
    "sequences",
    "compare",
    "folder",
    "training",
    "memory",
    "roofline",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of `smartbin-bench`: 0, or the exit code of the error that is printed."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = build_parser().parse_args(given)
    return run_cli(lambda: _run(options, shlex.join(["smartbin-bench", *given])))


def build_parser() -> argparse.ArgumentParser:
    """The parser of all scenarios."""
    parser = argparse.ArgumentParser(prog="smartbin-bench", description=__doc__)
    add = parser.add_argument
    add("scenarios", nargs="+", choices=SCENARIOS, metavar="SCENARIO", help=", ".join(SCENARIOS))
    add("--bundle", type=Path, nargs="+", default=[], metavar="DIR", help="model bundles (default: the built-in one)")
    add("--run", type=Path, metavar="RUN", help="classifier, compare: a trained run, for torch and for peers")
    add("--photos", type=Path, metavar="FOLDER", help="real photos, in any folders below it")
    add("--names", type=Path, metavar="FILE", help="take only photos with these names, one a line")
    told = f"classifier (default: all), end_to_end, compare (default: as the daemon chooses): {', '.join(RUNTIMES)}"
    add("--runtime", nargs="+", choices=RUNTIMES, metavar="NAME", help=told)
    add("--threads", type=count, nargs="+", default=[1], metavar="N", help="CPU threads to try (default: 1)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where torch runs (default: auto)")
    add("--laps", type=count, default=100, metavar="N", help="laps at batch 1 (default: 100)")
    add("--size", type=count, metavar="S", help="preprocess: side of the network input (default: the bundle's)")
    add(
        "--limit", type=count, metavar="N", help="N photos at most; training: a class and part; sequences: items a kind"
    )
    add("--workers", type=int, default=2, metavar="N", help="training, memory: loader processes (default: 2)")
    add = parser.add_argument_group("end_to_end, load").add_argument
    add("--fps", type=above_zero, nargs="+", default=[15.0, 30.0, 60.0], metavar="F", help="camera (default: 15 30 60)")
    add("--seconds", type=above_zero, default=10.0, metavar="S", help="length of a row (default: 10)")
    add(
        "--minutes",
        type=above_zero,
        default=0.5,
        metavar="M",
        help="length of the sustained row, or soak (default: .5)",
    )
    add("--starts", type=count, default=5, metavar="N", help="starts of `smartbin run` (default: 5)")
    add = parser.add_argument_group("soak").add_argument
    add("--every", type=above_zero, default=3.5, metavar="S", help="good seconds between two faults (default: 3.5)")
    add("--hold", type=above_zero, default=2.0, metavar="S", help="seconds of a fault (default: 2)")
    add("--seed", type=int, default=0, metavar="N", help="which faults come when (default: 0)")
    add = parser.add_argument_group("sequences, which take --seed, too").add_argument
    add("--films", nargs="+", choices=tuple(KINDS), default=list(KINDS), metavar="KIND", help=f"of {', '.join(KINDS)}")
    add("--film-fps", type=above_zero, default=30.0, metavar="F", help="frames a second of the films (default: 30)")
    add("--sheets", type=Path, metavar="DIR", help="a picture of a film of each kind goes here")
    training = parser.add_argument_group("training")
    add = training.add_argument
    add("--model", default="resnet50", help="network of all candidates (default: resnet50)")
    add("--weights", default="imagenet_v1", help="starting weights of all candidates (default: imagenet_v1)")
    add("--freeze", type=int, default=7, metavar="N", help="children that are frozen from the front (default: 7)")
    add("--epochs", type=count, default=8, metavar="N", help="epochs of every candidate (default: 8)")
    add("--target", type=float, default=0.95, metavar="A", help="validation accuracy to be timed (default: .95)")
    add("--batch", type=count, default=32, metavar="N", help="photos in a batch (default: 32)")
    add("--ours", action="append", default=[], metavar="'NAME: FLAGS'", help="a candidate: flags of train/run.py")
    add = parser.add_argument_group("roofline: torch on a GPU or CPU, against what the chip could do").add_argument
    add("--networks", nargs="+", default=["resnet50", "inception_v3"], metavar="NAME", help="(default: %(default)s)")
    add("--batches", type=count, nargs="+", default=[1, 64], metavar="N", help="(default: 1 64)")
    add = parser.add_argument_group("all scenarios").add_argument
    add("--out", type=Path, metavar="FILE", help="where the JSON goes (default: benchmarks/results/CONDITIONS.json)")
    add(
        "--against", type=Path, metavar="JSON", help="an earlier result: say of each row whether it is faster or slower"
    )
    add("--min-agreement", type=accuracy, default=0.95, metavar="A", help="lowest agreement that passes (default: .95)")
    return parser


def _run(options: argparse.Namespace, command: str) -> int:
    baseline = read_report(options.against) if options.against else None
    empty = _begin(command, ThisMachine())
    if baseline is not None:
        check_comparable(baseline, empty, options.against)
    report = _measure(options, empty, ThisMachine())
    print(report.markdown())
    verdicts = compare(baseline, report, options.against.name) if baseline is not None else None
    if verdicts is not None:
        print(verdicts.markdown())
    path = options.out or default_path(report)
    write_results(path, report, verdicts)
    line, passed = result_line(report, path, verdicts, min_agreement=options.min_agreement)
    print(line)
    return 0 if passed else 1


def _begin(command: str, machine: Machine) -> Report:
    """A report without tables: what is known before anything is measured."""
    state = read_state(machine)
    return Report(
        created_utc=dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        command=command,
        conditions=read_conditions(machine),
        state_before=state,
        state_after=state,
        yardstick_ms={},
        tables=(),
    )


def _measure(options: argparse.Namespace, report: Report, machine: Machine) -> Report:
    cv2.setNumThreads(1)  # as the daemon does
    yardstick = Yardstick()
    laps = Laps(options.laps, yardstick)
    laps.run({}, _YARDSTICK_LAPS)
    tables = tuple(table for name in dict.fromkeys(options.scenarios) for table in _tables(name, options, laps))
    laps.run({}, _YARDSTICK_LAPS)
    samples = {name: tuple(values) for name, values in yardstick.samples_ms.items()}
    return report.model_copy(update={"tables": tables, "yardstick_ms": samples, "state_after": read_state(machine)})


def _tables(scenario: str, options: argparse.Namespace, laps: Laps) -> Sequence[Table]:
    """What a scenario imports is imported here: not every one needs torch."""
    bundles: list[Path] = options.bundle or [builtin_bundle_path()]
    if scenario == "preprocess":
        return [run_preprocess(_preprocess_options(options, bundles[0], laps))]
    if scenario == "end_to_end":
        return _end_to_end(options, bundles[0])
    if scenario == "load":
        return [_load(options, bundles[0])]
    if scenario == "roofline":
        from benchmarks.roofline_scenario import RooflineOptions, run_roofline

        threads = options.threads[0]
        return [run_roofline(RooflineOptions(options.networks, options.batches, options.device, threads, laps))]
    if scenario == "soak":
        return [_soak(options, bundles[0])]
    if scenario == "sequences":
        return [_sequences(options, bundles[0])]
    if options.photos is None:
        raise ConfigError(f"{scenario} needs real photos", where="--photos", fix="give a folder: --photos FOLDER")
    if scenario == "memory":
        from benchmarks.memory_scenario import run_memory

        return [run_memory(options.photos, limit=options.limit or _MEMORY_PHOTOS, workers=options.workers)]
    if scenario == "training":
        from benchmarks.training_scenario import run_training, training_options

        return [run_training(training_options(options))]
    if scenario == "classifier":
        return [run_classifier(_classifier_options(options, bundles, laps))]
    if scenario == "compare":
        return [run_compare(_compare_options(options, bundles, laps))]
    return [run_folder(bundles[0], options.photos, limit=options.limit, threads=options.threads[0])]


def _end_to_end(options: argparse.Namespace, bundle: Path) -> Sequence[Table]:
    from benchmarks.end_to_end_scenario import EndToEndOptions, run_end_to_end
    from benchmarks.start_up import run_start_up

    runtime, *_ = _smartbin_runtimes(options)
    threads = options.threads[0]
    wanted = EndToEndOptions(
        bundle=bundle,
        runtime=runtime,
        threads=threads,
        photos=options.photos,
        names=options.names,
        fps=options.fps,
        seconds=options.seconds,
        minutes=options.minutes,
    )
    return [run_end_to_end(wanted), run_start_up(bundle, runtime, threads, starts=options.starts)]


def _load(options: argparse.Namespace, bundle: Path) -> Table:
    from benchmarks.load_scenario import LoadOptions, run_load

    runtime, *_ = _smartbin_runtimes(options)
    threads = options.threads[0]
    return run_load(LoadOptions(bundle, runtime, threads, options.photos, options.names, options.seconds))


def _soak(options: argparse.Namespace, bundle: Path) -> Table:
    from benchmarks.soak_scenario import SoakOptions, run_soak

    runtime, *_ = _smartbin_runtimes(options)
    wanted = SoakOptions(
        bundle=bundle,
        runtime=runtime,
        threads=options.threads[0],
        minutes=options.minutes,
        every_s=options.every,
        hold_s=options.hold,
        seed=options.seed,
    )
    return run_soak(wanted)


def _sequences(options: argparse.Namespace, bundle: Path) -> Table:
    from benchmarks.sequences_scenario import SequencesOptions, run_sequences

    runtime, *_ = _smartbin_runtimes(options)
    wanted = SequencesOptions(
        bundle=bundle,
        runtime=runtime,
        threads=options.threads[0],
        photos=options.photos,
        names=options.names,
        items=options.limit or _SEQUENCE_ITEMS,
        seed=options.seed,
        kinds=options.films,
        fps=options.film_fps,
        sheets=options.sheets,
    )
    return run_sequences(wanted)


def _preprocess_options(options: argparse.Namespace, bundle: Path, laps: Laps) -> PreprocessOptions:
    return PreprocessOptions(
        bundle=bundle,
        photos=options.photos,
        names=options.names,
        limit=options.limit or DEFAULT_PHOTOS,
        size=options.size,
        threads=options.threads[0],
        laps=laps,
    )


def _classifier_options(options: argparse.Namespace, bundles: list[Path], laps: Laps) -> ClassifierOptions:
    return ClassifierOptions(
        bundles=bundles,
        run=options.run,
        photos=options.photos,
        names=options.names,
        limit=options.limit or DEFAULT_PHOTOS,
        runtimes=options.runtime or RUNTIMES,
        threads=options.threads,
        device=options.device,
        laps=laps,
    )


def _compare_options(options: argparse.Namespace, bundles: list[Path], laps: Laps) -> CompareOptions:
    return CompareOptions(
        bundles=bundles,
        run=options.run,
        photos=options.photos,
        names=options.names,
        limit=options.limit or DEFAULT_PHOTOS,
        runtimes=_smartbin_runtimes(options),
        threads=options.threads[0],
        device=options.device,
        laps=laps,
    )


def _smartbin_runtimes(options: argparse.Namespace) -> list[RuntimeName]:
    """Those of --runtime that the daemon knows; without any, the one that it takes by itself."""
    named: list[RuntimeName] = [name for name in SMARTBIN_RUNTIMES if name in (options.runtime or ())]
    return named or ["auto"]


if __name__ == "__main__":
    sys.exit(main())

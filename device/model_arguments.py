"""The arguments of `smartbin bundle` and `smartbin engine`."""

from __future__ import annotations

import argparse
from pathlib import Path

from device.config_argument import add_config


def add_bundle(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `smartbin bundle`."""
    bundle = commands.add_parser(
        "bundle", help="verify, show, compare, sign, install model bundles; go back to the last"
    )
    actions = bundle.add_subparsers(dest="action", metavar="ACTION", required=True)
    told = {
        "verify": "check a bundle's files, and its signature if a public key is configured",
        "show": "say what a bundle is (default: the one that runs)",
        "diff": "what differs between two bundles",
        "pack": "make one file of a bundle, for a web server that bins fetch it from",
        "install": "make a bundle the one that runs, if it passes its self-test; the last one is kept",
        "rollback": "go back to the bundle before",
        "key": "make a private key, and print the public one",
        "sign": "sign a bundle",
    }
    parsers = {name: actions.add_parser(name, help=text) for name, text in told.items()}
    for name in ("verify", "diff", "pack", "install", "sign"):
        parsers[name].add_argument("bundle", type=Path, metavar="DIR", help="folder of the bundle")
    parsers["show"].add_argument("bundle", type=Path, nargs="?", metavar="DIR", help="folder of the bundle")
    parsers["diff"].add_argument("other", type=Path, metavar="OTHER", help="folder of the other bundle")
    parsers["pack"].add_argument("--out", type=Path, required=True, metavar="FILE.tar", help="the file to write")
    parsers["key"].add_argument("file", type=Path, metavar="FILE", help="where the private key is to be written")
    parsers["sign"].add_argument("--key", type=Path, required=True, metavar="FILE", help="the private key")
    for name in ("verify", "show", "pack", "install", "rollback"):
        add_config(parsers[name], "bundles")


def add_engine(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `smartbin engine`."""
    engine = commands.add_parser("engine", help="build this device's TensorRT engine of a bundle; list, clear them")
    actions = engine.add_subparsers(dest="action", metavar="ACTION", required=True)
    build = actions.add_parser("build", help="build it, if it is not there (minutes, once for a bundle and device)")
    build.add_argument(
        "--bundle", type=Path, metavar="DIR", help="bundle that was exported for TensorRT (default: the installed one)"
    )
    build.add_argument("--max-batch", type=int, metavar="N", help="images at once, at most")
    build.add_argument("--workspace-mb", type=int, metavar="MB", help="most memory that a layer may use")
    build.add_argument("--dla-core", type=int, metavar="N", help="run on this deep learning accelerator where it can")
    build.add_argument("--effort", type=int, metavar="0..5", help="how long TensorRT looks for faster ways")
    build.add_argument("--force", action="store_true", help="build it again")
    for action in (
        build,
        actions.add_parser("list", help="what is in the cache"),
        actions.add_parser("clear", help="delete all engines and timings"),
    ):
        add_config(action, "engine")

"""The README's commands and links are real: each command is parsed by the program that it calls."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from benchmarks.run import build_parser as build_benchmark_parser
from device.cli import build_parser
from export.run import build_parser as build_export_parser
from tests.conftest import REPOSITORY
from train.cli import parse_evaluate, parse_train
from train.fetching.command import parse_fetch
from train.study.command import parse_study

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")), REPOSITORY / "device/scene/README.md"]


def commands(text: str) -> list[list[str]]:
    """Every command line of the text's shell blocks, split into words, comments left out."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def parse_make(arguments: Sequence[str]) -> None:
    targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(arguments) <= set(targets)


TRAIN_PARSERS: dict[tuple[str, ...], Callable[[Sequence[str]], object]] = {
    ("evaluate",): parse_evaluate,
    ("study",): parse_study,
    ("data", "fetch"): parse_fetch,
}


def parse_train_command(arguments: Sequence[str]) -> None:
    for words, parse in TRAIN_PARSERS.items():
        if tuple(arguments[: len(words)]) == words:
            parse(arguments[len(words) :])
            return
    parse_train(arguments)


def parse_pip(arguments: Sequence[str]) -> None:
    extras = re.findall(r"\[([a-z,]+)\]", " ".join(arguments))
    declared = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f"\n{extra} = [" in declared for names in extras for extra in names.split(","))


PARSERS: dict[str, Callable[[Sequence[str]], object]] = {
    "make": parse_make,
    "pip": parse_pip,
    "smartbin": lambda arguments: build_parser().parse_args(arguments),
    "train/run.py": parse_train_command,
    "export/run.py": lambda arguments: build_export_parser().parse_args(arguments),
    "benchmarks/run.py": lambda arguments: build_benchmark_parser().parse_args(arguments),
}


@pytest.mark.parametrize("words", commands(README), ids=" ".join)
def test_command_of_the_readme_is_understood(words: list[str]) -> None:
    if words[0] == "python":
        words = words[1:]
        assert (REPOSITORY / words[0]).is_file()
    PARSERS[words[0]](words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing

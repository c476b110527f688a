"""The commands of train/cloud/README.md are real, as far as this project decides it."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.test_readme import commands
from train.cli import parse_train
from train.fetching.command import parse_fetch

CLOUD = REPOSITORY / "train" / "cloud"
README = (CLOUD / "README.md").read_text(encoding="utf-8")
COMMANDS = commands(README)


@pytest.mark.parametrize("words", [w for w in COMMANDS if "train/cloud/skypilot.yaml" in w], ids=" ".join)
def test_sky_gets_variables_that_the_task_has(words: list[str]) -> None:
    envs = yaml.safe_load((CLOUD / "skypilot.yaml").read_text(encoding="utf-8"))["envs"]
    given = [words[number + 1].split("=")[0] for number, word in enumerate(words) if word == "--env"]
    assert "BUCKET" in given
    assert set(given) <= set(envs)


@pytest.mark.parametrize("words", [w for w in COMMANDS if "start" in w and w[0].endswith("aws.sh")], ids=" ".join)
def test_aws_gets_flags_that_training_has(words: list[str]) -> None:
    parse_train([*words[3:], "--data", "garbage"])


@pytest.mark.parametrize("words", [w for w in COMMANDS if w[:2] == ["docker", "run"]], ids=" ".join)
def test_docker_gets_flags_that_training_has(words: list[str]) -> None:
    given = words[words.index("smartbin:train") + 1 :]
    if given[:2] == ["data", "fetch"]:
        parse_fetch(given[2:])
        return
    parse_train(given[given.index("--data") :])
    if "--entrypoint" in words:
        entry = words[words.index("--entrypoint") + 1]
        assert entry == "torchrun" or (REPOSITORY / entry).is_file()


def test_folders_that_docker_mounts_are_made_before() -> None:
    """Docker makes a missing one as root."""
    made: set[str] = set()
    mounted: set[str] = set()
    for words in COMMANDS:
        if words[0] == "mkdir":
            made |= set(words[2:])
        places = [words[number + 1] for number, word in enumerate(words) if word == "-v"]
        folders = {place.split(":")[0].removeprefix("$PWD/") for place in places}
        assert folders <= made, words
        mounted |= folders
    assert mounted == {"photos", "runs"}


def test_commands_were_found() -> None:
    kinds = [words[0].rsplit("/")[-1] for words in COMMANDS]
    assert {"sky", "aws.sh", "docker"} <= set(kinds)
    called = {words[1] for words in COMMANDS if words[0].endswith("aws.sh")}
    script = (CLOUD / "aws.sh").read_text(encoding="utf-8")
    assert called == {"start", "follow", "fetch"}
    assert all(re.search(rf"^  {name}\)", script, re.MULTILINE) for name in called)


def test_links_lead_to_files_and_titles() -> None:
    titles = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^## (.+)$", README, re.M)
    }
    for link in re.findall(r"\]\(([^):]+)\)", README):
        assert link[1:] in titles if link.startswith("#") else (CLOUD / link).exists(), link

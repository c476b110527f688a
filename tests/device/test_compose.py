"""What can be checked of the compose file without Docker: it parses, starts what there is, and gives nothing away."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.cli import build_parser

yaml = pytest.importorskip("yaml", reason="pyyaml is not installed")

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "device" / "compose.yaml"
COMPOSE = yaml.safe_load(FILE.read_text(encoding="utf-8"))
BIN = COMPOSE["services"]["bin"]
DOCKERFILE = (ROOT / "Dockerfile.jetson").read_text(encoding="utf-8")


def test_it_builds_the_image_of_this_repository():
    context = (FILE.parent / BIN["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / BIN["build"]["dockerfile"]).is_file()


def test_the_command_is_one_that_the_parser_knows_with_the_configuration_that_is_mounted():
    program, *arguments = BIN["command"]
    assert program == "smartbin"
    options = build_parser().parse_args(arguments)
    assert options.page, "the image's health check asks it"
    config = str(options.config)
    mounted = dict(volume.rsplit(":", 2)[:2] for volume in BIN["volumes"] if volume.endswith(":ro"))
    (source,) = [source for source, target in mounted.items() if target == config]
    assert (FILE.parent / source.partition(":-")[2].rstrip("}")).is_file()


def test_what_it_writes_lies_in_volumes_that_its_user_owns():
    targets = [volume.split(":")[1] for volume in BIN["volumes"] if volume.split(":")[0] in COMPOSE["volumes"]]
    assert targets == [f"{BIN['environment'][name]}/smartbin" for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME")]
    (made,) = [line for line in DOCKERFILE.splitlines() if "install -d -o smartbin" in line]
    assert made.split()[-2:] == targets
    assert BIN["read_only"] is True


def test_it_has_no_rights_and_is_reached_from_this_machine_only():
    assert BIN["cap_drop"] == ["ALL"]
    assert "privileged" not in BIN
    for service in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))

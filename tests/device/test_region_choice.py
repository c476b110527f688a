"""The drawn region: kept over restarts, for its source, and until the configuration says something else."""

from __future__ import annotations

import json
import threading

import pytest

from device import run_command
from device.clock import SystemClock
from device.config import load_config
from device.region_choice import RegionChoice, regions_file
from device.reload import Reloader, prepare

LEFT, TOP = (0.0, 0.0, 0.5, 1.0), (0.0, 0.0, 1.0, 0.5)


@pytest.fixture
def choose(tmp_path):
    """A choice as at a start of the daemon, and what it has made the bin look at."""

    def make(configured=None, source="camera:0"):
        seen = []
        return RegionChoice(tmp_path / "state" / "regions.json", source, configured, seen.append), seen

    return make


def test_without_a_drawn_one_the_configuration_holds(choose):
    choice, seen = choose(LEFT)
    assert (choice.region, choice.drawn, seen) == (LEFT, False, [])
    assert choice.configured_text == "[0.000, 0.000, 0.500, 1.000]"


@pytest.mark.parametrize("configured", [None, LEFT])
@pytest.mark.parametrize("drawn", [TOP, None])
def test_what_was_drawn_is_looked_at_after_a_restart(choose, configured, drawn, caplog):
    choice, seen = choose(configured)
    assert choice.draw(drawn) == ""
    assert seen == [drawn]
    again, seen = choose(configured)
    assert (again.region, again.drawn, seen) == (drawn, True, [drawn])
    assert "looking at what was drawn on the page" in caplog.text


def test_a_configuration_that_was_changed_since_is_the_newer_word(choose, caplog):
    choose(LEFT)[0].draw(TOP)
    choice, seen = choose((0.5, 0.0, 0.5, 1.0))
    assert (choice.region, choice.drawn, seen) == ((0.5, 0.0, 0.5, 1.0), False, [])
    assert "the configuration holds" in caplog.text
    assert choose(None)[0].region is None
    assert choose(LEFT)[0].region == TOP, "and back"


def test_each_source_has_its_own(choose):
    choose()[0].draw(LEFT)
    other, _ = choose(source="scene")
    assert other.region is None
    other.draw(TOP)
    assert [choose(source=source)[0].region for source in ("camera:0", "scene")] == [LEFT, TOP]
    choose(source="scene")[0].reset()
    assert [choose(source=source)[0].drawn for source in ("camera:0", "scene")] == [True, False]


def test_reset_looks_at_what_is_configured_and_stays_so(choose):
    choice, seen = choose(LEFT)
    choice.draw(TOP)
    assert choice.reset() == ""
    assert (choice.region, choice.drawn, seen) == (LEFT, False, [TOP, LEFT])
    assert not choose(LEFT)[0].drawn


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"camera:0": {"region": [0, 0, 2, 2], "configured": null}}'])
def test_a_file_that_is_none_is_said_and_written_anew(choose, tmp_path, content, caplog):
    file = tmp_path / "state" / "regions.json"
    file.parent.mkdir()
    file.write_text(content)
    choice, seen = choose()
    assert (choice.region, seen) == (None, [])
    assert "cannot be read" in caplog.text
    assert choice.draw(LEFT) == ""
    assert list(json.loads(file.read_text())) == ["camera:0"]


def test_a_disk_that_cannot_be_written_is_said_and_it_holds_until_the_end(tmp_path, caplog):
    (tmp_path / "state").write_text("a file where the folder is to be")
    seen = []
    choice = RegionChoice(tmp_path / "state" / "regions.json", "camera:0", None, seen.append)
    assert choice.draw(LEFT) != ""
    assert (choice.region, seen) == (LEFT, [LEFT])
    assert "cannot be kept" in caplog.text


def test_a_service_without_a_home_keeps_nothing(monkeypatch):
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("device.region_choice.Path.home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert regions_file() is None
    choice = RegionChoice(None, "camera:0", None, lambda region: None)
    assert "XDG_DATA_HOME" in choice.draw(LEFT)
    assert choice.region == LEFT


def test_smartbin_run_looks_at_what_was_drawn(tmp_path, tiny_bundle, story, monkeypatch, capsys):
    """In the upper fifth of the picture there are no items."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    fields = {
        "source.uri": f"scene:{story}",
        "source.pace": "fast",
        "runtime.bundle": tiny_bundle,
        "sinks.terminal": "plain",
    }

    def decisions() -> int:
        setup = prepare(load_config(None, fields), {})
        with Reloader(lambda: (load_config(None, fields), {})) as reloader:
            run_command.run_setups(setup, SystemClock(), threading.Event(), reloader)
        return sum("item" in line and "->" in line for line in capsys.readouterr().out.splitlines())

    assert decisions() == 2
    RegionChoice(regions_file(), f"scene:{story}", None, lambda region: None).draw((0.0, 0.0, 1.0, 0.2))
    assert decisions() == 0

from __future__ import annotations

from pathlib import Path

import pytest

import device
from device.cli import build_parser
from device.config import DeviceConfig, load_config
from device.run_command import _overrides, resolve_mode
from device.sources import PhotoSource, SceneSource, VideoSource
from smartbin.errors import ConfigError

SHIPPED = sorted(Path(device.__file__).parent.glob("*.toml"))


def test_there_is_a_shipped_config():
    assert [path.name for path in SHIPPED] == ["smartbin.toml"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_config_loads_and_shows_the_defaults(path):
    assert load_config(path, {}) == DeviceConfig()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_config_shows_every_key(path):
    text = path.read_text()
    for section, field in DeviceConfig.model_fields.items():
        keys = getattr(field.annotation, "model_fields", {})
        missing = [
            key for key in keys if f"\n{key} = " not in text and f"\n# {key} = " not in text and f".{key}]" not in text
        ]
        assert not missing, f"[{section}] lacks {missing}"


@pytest.mark.parametrize(
    ("toml", "key"),
    [
        ("[source]\nurl = 'x'", "source.url"),
        ("[sauce]\nuri = 'x'", "sauce"),
        ("[source]\nmax_age_s = -1", "source.max_age_s"),
        ("[source.reconnect]\nfirst_s = 'soon'", "source.reconnect.first_s"),
        ("[runtime]\nruntime = 'tpu'", "runtime.runtime"),
        ("[decision]\nmode = 'often'", "decision.mode"),
        ("[presence]\ncolumns = 1", "presence.columns"),
        ("[brightness]\nlow_luma = 7", "brightness.low_luma"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path, toml, key):
    path = tmp_path / "bin.toml"
    path.write_text(toml)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert key in str(caught.value)
    assert "bin.toml" in str(caught.value)


def test_limits_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match="wrong configuration: min_frames must not be above max_frames"):
        load_config(None, {"decision.min_frames": 9, "decision.max_frames": 3})


def test_flags_override_environment_overrides_file(tmp_path, monkeypatch):
    path = tmp_path / "bin.toml"
    path.write_text("[source]\nuri = 'csi:0'\nfps = 10\nwidth = 320\n[decision.bins]\nplastic = 'recycling'\n")
    monkeypatch.setenv("SMARTBIN_SOURCE__FPS", "20")
    monkeypatch.setenv("SMARTBIN_SOURCE__WIDTH", "640")
    options = build_parser().parse_args(["run", "--config", str(path), "--width", "1280"])
    config = load_config(path, _overrides(options))
    assert (config.source.uri, config.source.fps, config.source.width) == ("csi:0", 20, 1280)
    assert config.decision.bins == {"plastic": "recycling"}


def test_every_flag_reaches_the_configuration():
    flags = [
        "--source",
        "x",
        "--loop",
        "--pace",
        "fast",
        "--mode",
        "item",
        "--width",
        "64",
        "--height",
        "48",
        "--fps",
        "5",
    ]
    flags += ["--json", "out", "--view", "off", "--max-seconds", "3", "--stall-seconds", "2", "--bundle", "b"]
    flags += ["--runtime", "onnxruntime-cpu", "--threads", "2"]
    config = load_config(None, _overrides(build_parser().parse_args(["run", *flags])))
    assert config.source.model_dump(exclude={"reconnect", "max_age_s"}) == {
        "uri": "x",
        "width": 64,
        "height": 48,
        "fps": 5.0,
        "loop": True,
        "pace": "fast",
    }
    assert (config.decision.mode, config.sinks.json_lines, config.sinks.terminal) == ("item", "out", "off")
    runtime = config.runtime
    assert (runtime.bundle, runtime.runtime, runtime.threads) == (Path("b"), "onnxruntime-cpu", 2)
    assert (runtime.max_seconds, runtime.stall_s) == (3.0, 2.0)


@pytest.mark.parametrize(
    ("mode", "source", "resolved"),
    [
        ("auto", PhotoSource(Path()), "every_frame"),
        ("auto", SceneSource(), "item"),
        ("auto", VideoSource(Path()), "item"),
        ("item", PhotoSource(Path()), "item"),
        ("continuous", SceneSource(), "continuous"),
    ],
)
def test_modes(mode, source, resolved):
    assert resolve_mode(load_config(None, {"decision.mode": mode}), source) == resolved

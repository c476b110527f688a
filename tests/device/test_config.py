from __future__ import annotations

import re
from pathlib import Path
from typing import get_args, get_origin

import pytest
from pydantic import BaseModel

import device
from device.assembly import resolve_mode
from device.cli import build_parser
from device.config import DeviceConfig, load_config
from device.identity import DeviceSettings, default_name
from device.run_command import _overrides
from device.sources import PhotoSource, SceneSource, VideoSource
from smartbin.errors import ConfigError

EXAMPLES = sorted((Path(device.__file__).parent / "examples").glob("*.toml"))
SHIPPED = sorted(Path(device.__file__).parent.glob("*.toml"))


def test_there_is_a_shipped_config():
    assert [path.name for path in SHIPPED] == ["smartbin.toml"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_config_loads_and_shows_the_defaults(path):
    assert load_config(path, {}) == DeviceConfig()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_config_shows_every_key(path):
    text = path.read_text()
    for section, keys in sections(DeviceConfig):
        part = re.search(rf"^(# )?\[{section}\](.*?)(^(# )?\[|\Z)", text, re.MULTILINE | re.DOTALL)
        assert part is not None, f"[{section}] is not there"
        missing = [key for key in keys if not re.search(rf"^(# )?{key} = ", part[2], re.MULTILINE)]
        assert not missing, f"[{section}] lacks {missing}"


def sections(model, prefix=""):
    """Every table of a configuration model with its own keys; a table of free names is shown as `recycling`."""
    keys = []
    for name, field in model.model_fields.items():
        inner = next((kind for kind in (field.annotation, *get_args(field.annotation)) if is_model(kind)), None)
        free = ".recycling" if get_origin(field.annotation) is dict else ""
        if inner is None and not free:
            keys.append(name)
        elif free or is_model(field.annotation):  # a whole table that may be left out shows what it likes
            yield from sections(inner, f"{prefix}{name}{free}.") if inner is not None else ()
    if keys:
        yield prefix.rstrip("."), keys


def is_model(kind) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_loads(path):
    config = load_config(path, {})
    assert config != DeviceConfig()
    switched_on = [name for name in ("mqtt", "gpio", "serial", "webhook") if getattr(config.sinks, name).enabled]
    assert switched_on
    assert (config.device.name == "kitchen") == ("mqtt" in switched_on)


def test_every_key_of_the_sinks_is_described():
    def check(model):
        for name, field in model.model_fields.items():
            inner = next((kind for kind in (field.annotation, *get_args(field.annotation)) if is_model(kind)), None)
            assert field.description or inner is not None, f"{model.__name__}.{name}"
            if inner is not None:
                check(inner)

    check(DeviceConfig.model_fields["sinks"].annotation)
    check(DeviceConfig.model_fields["device"].annotation)


def test_there_are_examples():
    assert len(EXAMPLES) == 4


@pytest.mark.parametrize(
    ("toml", "key"),
    [
        ("[source]\nurl = 'x'", "source.url"),
        ("[sauce]\nuri = 'x'", "sauce"),
        ("[source]\nmax_age_s = -1", "source.max_age_s"),
        ("[source.reconnect]\nfirst_s = 'soon'", "source.reconnect.first_s"),
        ("[source.camera]\nformat = 'mjpeg'", "source.camera.format"),
        ("[source.camera]\nexposure_ms = 0", "source.camera.exposure_ms"),
        ("[source.camera]\npower_line_hz = 55", "source.camera.power_line_hz"),
        ("[source.camera]\ngain = [8, 1]", "source.camera.gain"),
        ("[source.camera]\nexposure_ms = 'auto'", "source.camera.exposure_ms"),
        ("[source.camera]\nexposure_ms = [1, 2, 3]", "source.camera.exposure_ms"),
        ("[source.rtsp]\ntransport = 'http'", "source.rtsp.transport"),
        ("[runtime]\nruntime = 'tpu'", "runtime.runtime"),
        ("[decision]\nmode = 'often'", "decision.mode"),
        ("[presence]\ncolumns = 1", "presence.columns"),
        ("[presence]\nregion = [0.5, 0, 0.6, 1]", "presence.region"),
        ("[presence]\nregion = [-0.1, 0, 0.5, 1]", "presence.region"),
        ("[presence]\nregion = [0, 0, 0.01, 1]", "presence.region"),
        ("[presence]\nregion = [0, 0, 1]", "presence.region"),
        ("[presence]\nregion = 'left'", "presence.region"),
        ("[light]\nsmooth_s = -1", "light.smooth_s"),
        ("[sensor]\npin = 17\npull = 'sideways'", "sensor.pull"),
        ("[brightness]\nlow_luma = 7", "brightness.low_luma"),
        ("[device]\nname = 'a/b'", "device.name"),
        ("[sinks.mqtt]\nhots = 'x'", "sinks.mqtt.hots"),
        ("[sinks.mqtt]\ntopic_prefix = 'bins/#'", "sinks.mqtt.topic_prefix"),
        ("[sinks.mqtt]\nca_file = 'x'", "ca_file and client_cert need tls = true"),
        ("[sinks.mqtt]\ntls = true\nclient_cert = 'x'", "client_cert and client_key go together"),
        ("[sinks.webhook]\nurl = 'ftp://x'", "sinks.webhook.url"),
        ("[sinks.webhook]\nenabled = true", "url is missing"),
        ("[sinks.gpio]\nenabled = true", "nothing is connected"),
        ("[sinks.gpio.bins.a]\nled = 1", "one of servo, channel and solenoid"),
        ("[sinks.gpio.bins.a]\nservo = 1\nchannel = 1", "one of servo, channel and solenoid"),
        ("[sinks.gpio.bins.a]\nservo = 1\n[sinks.gpio.unsure]\nled = 1", "are the same pin: 1"),
        ("[sinks.gpio.bins.a]\nsolenoid = 1\nhold_s = 9", "hold_s must not be above max_on_s"),
        ("[sinks.gpio.bins.a]\nservo = 1\nmin_pulse_us = 2000", "min_pulse_us must be below"),
        ("[sinks.gpio]\nboard = 'jetson'\n[sinks.gpio.unsure]\nbuzzer = 1", "unsure.buzzer needs board gpiozero"),
        ("[sinks.gpio.unsure]\ntones = ['H9']", "sinks.gpio.unsure.tones"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path, toml, key):
    path = tmp_path / "bin.toml"
    path.write_text(toml)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert key in str(caught.value)
    assert "bin.toml" in str(caught.value)


@pytest.mark.parametrize("toml", ["[sinks.mqtt]\npassword = 4711", "[sinks.mqtt]\npasswort = 'abc4711'"])
def test_a_wrong_password_is_not_shown(tmp_path, toml):
    path = tmp_path / "bin.toml"
    path.write_text(toml)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert "4711" not in str(caught.value)


def test_a_password_from_the_environment_is_shown_nowhere(monkeypatch):
    monkeypatch.setenv("SMARTBIN_SINKS__MQTT__PASSWORD", "abc4711")
    config = load_config(None, {})
    assert config.sinks.mqtt.password.get_secret_value() == "abc4711"
    assert "4711" not in repr(config) + config.model_dump_json()


class TestName:
    def test_it_stays_and_hides_the_machine_id(self, tmp_path):
        (tmp_path / "id").write_text("0123456789abcdef0123456789abcdef\n")
        name = DeviceSettings().resolve_name(tmp_path / "id")
        assert name == default_name(tmp_path / "id")
        assert re.fullmatch("bin-[0-9a-f]{8}", name)
        assert name != "bin-01234567"

    @pytest.mark.parametrize("content", [None, "", "uninitialized"])
    def test_without_a_machine_id_it_is_the_host_s(self, tmp_path, monkeypatch, content):
        monkeypatch.setattr("socket.gethostname", lambda: "bin.in the hall")
        if content is not None:
            (tmp_path / "id").write_text(content)
        assert default_name(tmp_path / "id") == "bin-bin-in-the-hall"

    def test_the_configured_one_wins(self):
        assert DeviceSettings(name="kitchen").resolve_name() == "kitchen"


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
    assert config.source.model_dump(exclude={"reconnect", "max_age_s", "camera", "rtsp"}) == {
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

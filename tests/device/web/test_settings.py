"""Section [page], and the configuration as the page shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from device.config import load_config, load_config_with_origins
from device.web.config_view import HIDDEN, hide_in_url, settings_of
from device.web.settings import is_loopback
from smartbin.errors import ConfigError


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.9", "::", "bin.example.org", "fe80::1"])
def test_an_address_that_others_reach_wants_a_token(tmp_path, host):
    file = tmp_path / "bin.toml"
    file.write_text(f'[page]\nenabled = true\nhost = "{host}"\n')
    with pytest.raises(ConfigError, match="token_file must be set"):
        load_config(file, {})
    file.write_text(f'[page]\nenabled = true\nhost = "{host}"\ntoken_file = "token"\n')
    assert load_config(file, {}).page.host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_the_machines_own_address_wants_none(host):
    assert is_loopback(host)
    assert load_config(None, {"page.enabled": True, "page.host": host}).page.loopback


def test_every_key_is_shown_with_where_it_came_from(tmp_path, monkeypatch):
    file = tmp_path / "bin.toml"
    file.write_text('[source]\nfps = 10\nmax_age_s = 1.0\n[decision.bins]\nplastic = "recycling"\n')
    monkeypatch.setenv("SMARTBIN_SOURCE__FPS", "20")
    monkeypatch.setenv("SMARTBIN_RUNTIME__THREADS", "2")
    config, origins = load_config_with_origins(file, {"source.uri": "camera:0", "runtime.threads": 1})
    shown = {setting.key: setting for setting in settings_of(config, origins)}
    assert (shown["source.uri"].value, shown["source.uri"].origin) == ("camera:0", "command line")
    assert (shown["runtime.threads"].value, shown["runtime.threads"].origin) == ("1", "command line")
    assert (shown["source.fps"].value, shown["source.fps"].origin) == ("20.0", "environment")
    assert (shown["source.max_age_s"].origin, shown["source.max_age_s"].default) == ("file", "0.5")
    assert (shown["decision.bins"].value, shown["decision.bins"].origin) == ('{"plastic": "recycling"}', "file")
    assert (shown["source.loop"].value, shown["source.loop"].origin) == ("false", "default")
    assert shown["source.reconnect.cap_s"].value == "10.0"
    assert shown["brightness"].value == "–"
    assert all(setting.meaning for setting in shown.values() if setting.key.startswith("page."))


def test_secrets_are_hidden():
    class Section(BaseModel):
        password: SecretStr = SecretStr("")
        webhook_secret: str = ""
        password_file: Path = Path("/etc/secret")
        url: str = ""

    class Whole(BaseModel):
        mqtt: Section = Section()

    section = Section(password="hush", webhook_secret="hush", url="https://hooks.example/T1/hush?key=hush")
    shown = {setting.key: setting.value for setting in settings_of(Whole(mqtt=section), {})}
    assert shown == {
        "mqtt.password": HIDDEN,
        "mqtt.webhook_secret": HIDDEN,
        "mqtt.password_file": "/etc/secret",
        "mqtt.url": f"https://hooks.example/{HIDDEN}",
    }
    empty = {setting.key: setting.value for setting in settings_of(Whole(), {})}
    assert empty["mqtt.password"] == "–", "that none is set may be seen"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://user:hush@cam.local:554/stream?x=1", f"rtsp://{HIDDEN}@cam.local:554/stream?x=1"),
        ("rtsp://user:hush@cam.local/s?token=hush", f"rtsp://{HIDDEN}@cam.local/s?token=***"),
        ("rtsp://cam.local/s?x=1&password=hush", "rtsp://cam.local/s?x=1&password=***"),
        ("rtsp://cam.local/stream", "rtsp://cam.local/stream"),
        ("https://example.org", "https://example.org/"),
        ("http://user:hush@example.org/", "http://example.org/"),
        ("camera:0", "camera:0"),
        ("photos/a@b", "photos/a@b"),
        ("rtsp://[broken", HIDDEN),
    ],
)
def test_urls_are_shown_without_what_opens_them(text, shown):
    assert hide_in_url(text) == shown

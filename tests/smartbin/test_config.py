from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field

from smartbin.config import SmartbinSettings, load_settings
from smartbin.errors import ConfigError


class Camera(BaseModel):
    model_config = ConfigDict(extra="forbid")
    uri: str = "scene"
    fps: int = Field(default=30, ge=1)


class Settings(SmartbinSettings):
    camera: Camera = Camera()
    name: str = "bin"


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "bin.toml"
    file.write_text(text)
    return file


def test_command_line_beats_environment_beats_file_beats_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, 'name = "from file"\n[camera]\nuri = "from file"\nfps = 10\n')
    monkeypatch.setenv("SMARTBIN_CAMERA__URI", "from environment")
    monkeypatch.setenv("SMARTBIN_CAMERA__FPS", "20")
    found = load_settings(Settings, file, {"camera.fps": 25, "name": None})
    assert (found.camera.fps, found.camera.uri, found.name) == (25, "from environment", "from file")
    assert load_settings(Settings, None, {"name": "x"}).camera.uri == "from environment"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[camera]\nfsp = 10\n", ["unknown configuration key", "camera.fsp", "10", "fps, uri", "bin.toml"]),
        (
            "[camera]\nfps = 0\n",
            ["wrong configuration value", "camera.fps", "0", "greater than or equal to 1", "bin.toml"],
        ),
        ("[kamera]\nfps = 1\n", ["unknown configuration key", "kamera", "camera, name"]),
        ("camera = [\n", ["not valid TOML", "bin.toml"]),
    ],
    ids=["unknown key", "wrong value", "unknown section", "no TOML"],
)
def test_wrong_files_are_refused_with_file_key_and_value(tmp_path: Path, text: str, says: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(Settings, write(tmp_path, text))
    for part in says:
        assert part in str(caught.value)


def test_the_origin_of_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"the command line, key camera\.fps"):
        load_settings(Settings, None, {"camera.fps": "many"})
    monkeypatch.setenv("SMARTBIN_CAMERA__FPS", "several")
    with pytest.raises(ConfigError, match=r"the environment, key camera\.fps"):
        load_settings(Settings)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration file"):
        load_settings(Settings, tmp_path / "absent.toml")

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from smartbin.config import COMMAND_LINE, ENVIRONMENT, SmartbinSettings, dotted, load_settings, load_with_origins
from smartbin.errors import ConfigError


class Camera(BaseModel):
    model_config = ConfigDict(extra="forbid")
    uri: str = "scene"
    fps: int = Field(default=30, ge=1)

    @model_validator(mode="after")
    def _check_fps(self) -> Camera:
        if self.uri == "slow" and self.fps > 100:
            raise ValueError(f"slow cameras must have at most 100 fps, but has {self.fps}")
        return self


class Settings(SmartbinSettings):
    camera: Camera = Camera()
    name: str = "bin"

    @model_validator(mode="after")
    def _check_name(self) -> Settings:
        if self.name == "camera":
            raise ValueError("the bin must not be called as its camera")
        return self


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


@pytest.mark.parametrize("name", ["SMARTBIN_KAMERA__URI", "SMARTBIN_CAMERA_URI", "smartbin_camera__url"])
def test_misspelt_variables_are_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "scene")
    with pytest.raises(ConfigError, match="unknown configuration key") as caught:
        load_settings(Settings)
    assert "the environment, key " in str(caught.value)
    assert "'scene'" in str(caught.value)


def test_variables_that_are_no_configuration_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SMARTBIN_DATA", "SMARTBIN_COMMIT", "SMARTBIN_TRAIN_RECIPE__EMA_DECAY", "SMARTBIN_TRAIN_EPOCHS"):
        monkeypatch.setenv(name, "1")
    assert load_settings(Settings) == Settings()


def test_keys_that_do_not_go_together_are_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTBIN_CAMERA__FPS", "200")
    with pytest.raises(ConfigError) as caught:
        load_settings(Settings, write(tmp_path, '[camera]\nuri = "slow"\n'))
    assert str(caught.value).splitlines() == [
        "wrong configuration: slow cameras must have at most 100 fps, but has 200",
        f"  where: the environment, {tmp_path / 'bin.toml'}, key camera",
    ]
    with pytest.raises(ConfigError) as caught:
        load_settings(Settings, None, {"name": "camera"})
    assert str(caught.value).splitlines() == [
        "wrong configuration: the bin must not be called as its camera",
        "  where: the command line, the environment",
    ]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration file"):
        load_settings(Settings, tmp_path / "absent.toml")


def test_nested_tables_by_dotted_keys() -> None:
    assert dotted({"a": 1, "b": {"c": [2], "d": {"e": {}, "f": None}}}) == {"a": 1, "b.c": [2], "b.d.f": None}


def test_where_each_value_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, 'name = "from file"\n[camera]\nuri = "from file"\nfps = 10\n')
    monkeypatch.setenv("SMARTBIN_CAMERA__FPS", "20")
    found, origins = load_with_origins(Settings, file, {"name": "x"})
    assert (found.name, found.camera.fps) == ("x", 20)
    assert origins == {"name": COMMAND_LINE, "camera.fps": ENVIRONMENT, "camera.uri": str(file)}
    assert load_with_origins(Settings, None, {})[1] == {"camera.fps": ENVIRONMENT}

"""The built-in scene: a rendered story that plays like a camera. Every frame of it is ours; no real photo is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from device.frame import Frame
from smartbin.bundle import describe_validation
from smartbin.errors import CameraError, ConfigError, ImageError
from smartbin.images import read_image

STORY_FILE = "story.json"
_BUILTIN = Path(__file__).with_name("scene")
_EMPTY_HOLD = (
    4  # each picture of the empty bin is shown for so many frames: nobody throws things in a third of a second
)


class StoryFrame(BaseModel):
    """One picture of the story and what is true of it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    file: str = Field(pattern=r"^[\w.-]+$", description="a file name beside the story")
    view: str = Field(description="which camera angle")
    light: str = Field(description="what the light is called")
    light_scale: float = Field(ge=0, description="the light, 1 is good light")
    phase: Literal["empty", "arriving", "staying", "leaving"]
    item: str | None = None
    label: str | None = Field(default=None, description="the class of the item, None while the bin is empty")


class Story(BaseModel):
    """A rendered story: what happens, frame by frame."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: Literal[1] = Field(alias="schema")
    fps: float = Field(gt=0, le=120)
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    frames: tuple[StoryFrame, ...] = Field(min_length=1)


def builtin_scene_path() -> Path:
    """The folder of the scene that ships with smartbin."""
    return _BUILTIN


def read_story(folder: Path) -> Story:
    """Read and check a story; `ConfigError` if there is none, or it does not fit."""
    path = folder / STORY_FILE
    try:
        return Story.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(
            "no scene here", where=path, found=error.strerror, expected="a folder with a story"
        ) from error
    except ValidationError as error:
        raise ConfigError("the scene's story does not fit", where=path, found=describe_validation(error)) from error
    except ValueError as error:
        raise ConfigError("the scene's story is not JSON", where=path, found=error) from error


class SceneCamera:
    """Plays a story from its first frame to its last; `captured_s` runs with the story's frame rate.

    Pictures of the empty bin are held for four frames each, all others are shown once.
    """

    live = False

    def __init__(self, folder: Path | None = None, start_s: float = 0.0) -> None:
        """Read the story; the pictures are read as they are needed."""
        self._folder = folder if folder is not None else _BUILTIN
        self.story = read_story(self._folder)
        self.fps = self.story.fps
        self._start_s, self._seq = start_s, 0
        self._script = [told for told in self.story.frames for _ in range(_EMPTY_HOLD if told.phase == "empty" else 1)]

    def read(self) -> Frame | None:
        """The next picture, None at the end; `CameraError` if it is missing or damaged."""
        if self._seq >= len(self._script):
            return None
        told = self._script[self._seq]
        path = self._folder / told.file
        try:
            image = read_image(path)
        except ImageError as error:
            raise CameraError(
                "the scene is incomplete", where=path, found=error.what, fix="install smartbin again"
            ) from error
        captured_s = self._start_s + self._seq / self.story.fps
        self._seq += 1
        return Frame(image, self._seq, captured_s, f"scene, view {told.view}", origin=str(path), truth=told.label)

    def close(self) -> None:
        """Nothing is held open."""

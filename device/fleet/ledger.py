"""Which commands a bin has taken, on disk: one that comes twice is carried out once, also over a restart."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from device.fleet.messages import Answer
from smartbin.atomic import write_text_atomic

_log = logging.getLogger(__name__)
_MOST = 100


class _Book(BaseModel):
    model_config = ConfigDict(extra="forbid")

    answers: dict[str, Answer]


class Ledger:
    """The newest answer to each of the last hundred commands, in the order in which they came."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._answers: dict[str, Answer] = _read(path)

    def get(self, command_id: str) -> Answer | None:
        """The newest answer to a command, None if it never came."""
        return self._answers.get(command_id)

    def put(self, answer: Answer) -> None:
        """Remember an answer; on the disk when this returns, or said aloud why not."""
        self._answers[answer.id] = answer
        while len(self._answers) > _MOST:
            del self._answers[next(iter(self._answers))]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_text_atomic(self._path, _Book(answers=self._answers).model_dump_json())
        except OSError as error:
            _log.error("commands of the fleet are remembered until the next start only: %s", error)

    def interrupted(self) -> list[Answer]:
        """Those that were begun and have no final answer: the bin was ended in the middle."""
        return [answer for answer in self._answers.values() if not answer.final]


def _read(path: Path) -> dict[str, Answer]:
    try:
        return _Book.model_validate_json(path.read_bytes()).answers
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        _log.error("the commands taken so far cannot be read, %s: %s", path, str(error).splitlines()[0])
        return {}

"""The process that builds an engine: `python -m smartbin.engine.child`, started by `builder.py`.

A request as JSON on stdin; on stdout a JSON line for each step, and at the end one with `done` or `error`. The plan and
the timings go to the files that the request names. Building takes gigabytes: where the system kills something for
memory, it is this process and not the daemon.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from smartbin.engine.build import build_plan
from smartbin.engine.options import EngineOptions
from smartbin.engine.trt import load_tensorrt
from smartbin.errors import SmartbinError


class BuildRequest(BaseModel):
    """What to build, and where to leave it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    onnx: Path
    size: int
    options: EngineOptions
    timings: Path
    """Read if it is there, and written."""
    plan: Path
    module: str = "tensorrt"


def main() -> int:
    """Exit code: 0, or that of the error that was told."""
    request = BuildRequest.model_validate_json(sys.stdin.read())
    try:
        _build(request)
    except SmartbinError as error:
        details = {name: _text(getattr(error, name)) for name in ("where", "found", "expected", "fix")}
        _tell(error=error.what, **details)
        return error.exit_code
    _tell(done=True)
    return 0


def _build(request: BuildRequest) -> None:
    trt = load_tensorrt(request.module)
    timings = request.timings.read_bytes() if request.timings.is_file() else b""
    built = build_plan(
        trt,
        request.onnx,
        request.size,
        request.options,
        timings,
        lambda phase, done, steps: _tell(phase=phase, step=done, steps=steps),
    )
    request.plan.write_bytes(built.plan)
    request.timings.write_bytes(built.timings)


def _tell(**content: object) -> None:
    print(json.dumps(content), flush=True)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())

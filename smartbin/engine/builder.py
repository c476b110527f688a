"""Builds a bundle's engine in a child process and puts it into the cache. Called by `smartbin engine build`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from smartbin.bundle import Bundle
from smartbin.engine.cache import CachedEngine, EngineCache
from smartbin.engine.callbacks import Progress
from smartbin.engine.child import BuildRequest
from smartbin.engine.key import EngineKey
from smartbin.errors import InferenceError

_MODULE = "smartbin.engine.child"


def build_engine(
    bundle: Bundle, key: EngineKey, cache: EngineCache, progress: Progress, *, module: str = "tensorrt"
) -> CachedEngine:
    """Build the engine of `key`, which is the bundle's key here, and store it. Takes minutes.

    Nothing is stored, and what was there stays, unless the child process ends well. `InferenceError` with what TensorRT
    said, or with the signal that ended the child.
    """
    cache.root.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=".building-", dir=cache.root) as folder:
        plan, timings = Path(folder) / "plan", Path(folder) / "timings"
        timings.write_bytes(cache.timings(key))
        _run_child(
            BuildRequest(
                onnx=bundle.model_path.resolve(),
                size=key.size,
                options=key.options,
                timings=timings,
                plan=plan,
                module=module,
            ),
            progress,
        )
        if (measured := timings.read_bytes()) != b"":
            cache.keep_timings(key, measured)
        return cache.store(key, plan, time.monotonic() - started)


def _run_child(request: BuildRequest, progress: Progress) -> None:
    """Feed the child its request, pass on its progress, and raise what it ended with."""
    said: dict[str, object] = {}
    with subprocess.Popen(
        [sys.executable, "-m", _MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as child:
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(request.model_dump_json())
            child.stdin.close()
            for line in child.stdout:
                said = json.loads(line)
                if "phase" in said:
                    progress(str(said["phase"]), int(str(said["step"])), int(str(said["steps"])))
        except BaseException:
            child.kill()  # the reader is gone, by Ctrl-C perhaps: nobody waits for this engine
            raise
        code = child.wait()
    if "error" in said:
        raise InferenceError(
            str(said["error"]),
            where=said.get("where"),
            found=said.get("found"),
            expected=said.get("expected"),
            fix=None if said.get("fix") is None else str(said["fix"]),
        )
    if code != 0 or "done" not in said:
        raise _died(code, request.options.workspace_mb)


def _died(code: int, workspace_mb: int) -> InferenceError:
    killed = code == -signal.SIGKILL
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return InferenceError(
        "the process that builds the engine died; nothing was stored",
        found=how + (", most likely for want of memory" if killed else ""),
        fix=f"stop what else uses memory, add swap, or build with less: --workspace-mb {max(16, workspace_mb // 4)} "
        "--max-batch 1"
        if killed
        else "its messages stand above; `smartbin doctor` looks at this machine",
    )

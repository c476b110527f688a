"""The seam between `smartbin doctor` and the machine that it looks at, so that tests can stage a Jetson."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Protocol

_COMMAND_S = 10.0


class Machine(Protocol):
    """What can be asked of a machine. Nothing here changes it, and nothing raises."""

    def read(self, path: str) -> str | None:
        """A text file's content, None if it cannot be read."""
        ...

    def matching(self, pattern: str) -> list[str]:
        """Absolute paths that match a pattern such as `/dev/video*`, sorted."""
        ...

    def may_use(self, path: str) -> bool:
        """Whether this user may read and write the path."""
        ...

    def run(self, *command: str) -> str | None:
        """A command's output, None if it is not there or fails."""
        ...

    def version_of(self, module: str) -> str | None:
        """The version of a Python module, None if it cannot be imported."""
        ...

    def opencv_build(self) -> str:
        """OpenCV's build information."""
        ...

    def onnx_providers(self) -> list[str]:
        """ONNX Runtime's execution providers, none if it cannot be imported."""
        ...

    def facts(self) -> tuple[str, str, str]:
        """Python's version, the architecture (`aarch64`), and the user's name."""
        ...

    def terminal(self) -> bool:
        """Whether stdout is a terminal."""
        ...


class ThisMachine:
    """The machine that this runs on."""

    def read(self, path: str) -> str | None:
        """Read a file."""
        try:
            return Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

    def matching(self, pattern: str) -> list[str]:
        """Look into the file system."""
        return sorted(str(path) for path in Path("/").glob(pattern.lstrip("/")))

    def may_use(self, path: str) -> bool:
        """Ask the kernel."""
        return os.access(path, os.R_OK | os.W_OK)

    def run(self, *command: str) -> str | None:
        """Run it, for ten seconds at most."""
        if shutil.which(command[0]) is None:
            return None
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_S, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout

    def version_of(self, module: str) -> str | None:
        """Import it."""
        try:
            return str(getattr(importlib.import_module(module), "__version__", "unknown"))
        except Exception:  # noqa: BLE001 - a broken native library raises anything
            return None

    def opencv_build(self) -> str:
        """Ask OpenCV."""
        import cv2

        return str(cv2.getBuildInformation())

    def onnx_providers(self) -> list[str]:
        """Ask ONNX Runtime."""
        try:
            import onnxruntime as ort
        except Exception:  # noqa: BLE001 - a broken native library raises anything
            return []
        return [str(provider) for provider in ort.get_available_providers()]

    def facts(self) -> tuple[str, str, str]:
        """Ask Python."""
        return platform.python_version(), platform.machine(), os.environ.get("USER", str(os.getuid()))

    def terminal(self) -> bool:
        """Ask stdout."""
        return sys.stdout.isatty()

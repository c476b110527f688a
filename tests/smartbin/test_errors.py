from __future__ import annotations

import subprocess
import sys

import pytest

from smartbin import errors
from smartbin.errors import SmartbinError, run_cli

EXIT_CODES = {"ConfigError": 2, "BundleError": 3, "CameraError": 4, "InferenceError": 5, "StalledError": 6}


def test_exit_codes_are_those_of_the_design() -> None:
    found = {
        name: kind.exit_code
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and kind.__module__ == errors.__name__
    }
    assert {name: code for name, code in found.items() if code != 1} == EXIT_CODES


def test_message_says_everything_that_is_known_and_nothing_else() -> None:
    error = SmartbinError("cannot open it", where="/dev/video0", found="busy", fix="close the other program")
    assert str(error) == "cannot open it\n  where: /dev/video0\n  found: busy\n  what to do: close the other program"


def test_run_cli_prints_the_error_and_returns_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise errors.BundleError("refused", found="nothing")

    assert run_cli(fail) == 3
    assert capsys.readouterr().err == "error: refused\n  found: nothing\n"
    assert run_cli(lambda: 7) == 7


def test_run_cli_lets_bugs_through() -> None:
    def bug() -> int:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        run_cli(bug)


def test_run_cli_ends_cleanly_on_ctrl_c() -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert run_cli(interrupted) == 130


def test_run_cli_ends_quietly_when_nobody_reads_any_more() -> None:
    script = (
        "from smartbin.errors import run_cli\n"
        "def talk():\n"
        "    print('one', flush=True)\n"
        "    input()\n"
        "    print('two', flush=True)\n"
        "    return 0\n"
        "raise SystemExit(run_cli(talk))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == "one\n"
        process.stdout.close()
        process.stdin.write("\n")
        process.stdin.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_run_cli_lets_other_broken_pipes_through() -> None:
    def worker_is_gone() -> int:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run_cli(worker_is_gone)

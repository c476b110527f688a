"""Numbers of a command line."""

from __future__ import annotations

import argparse

import pytest

from smartbin.arguments import accuracy, count


def test_numbers_that_fit() -> None:
    assert count("3") == 3
    assert accuracy("1") == 1.0


@pytest.mark.parametrize("text", ["0", "-2", "2.5", "many", ""])
def test_message_says_what_was_expected(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--laps", type=count)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args([f"--laps={text}"])
    assert f"argument --laps: must be a whole number of 1 or more, but got '{text}'" in capsys.readouterr().err

"""Numbers of a command line: `type=` of argparse, with messages that say what was expected.

argparse itself names the function that could not read a value, which tells its reader nothing. Every stage's command
line calls this.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import TypeVar

Number = TypeVar("Number", int, float)


def number(kind: Callable[[str], Number], expected: str, fits: Callable[[Number], bool]) -> Callable[[str], Number]:
    """A reader of numbers that fit; its error says what was `expected`, such as "a number above 0", and what came."""

    def read(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not fits(value):
            raise argparse.ArgumentTypeError(f"must be {expected}, but got {text!r}")
        return value

    return read


count = number(int, "a whole number of 1 or more", lambda value: value >= 1)
accuracy = number(float, "a number above 0, at most 1", lambda value: 0 < value <= 1)
above_zero = number(float, "a number above 0", lambda value: 0 < value < math.inf)

"""Memory that a step frees is kept: the next one finds its pages there."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys
import torch
from train.machine import open_fabric
from train.machine_config import Machine
open_fabric(Machine(device="cpu", keep_memory=sys.argv[1] == "keep"))
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(32 << 20)  # 128 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(sum(faults() for _ in range(10)))
"""


def _faults_of_ten_tensors(setting: str) -> int:
    """Pages that the system hands out for ten tensors, each freed before the next is made."""
    child = subprocess.run([sys.executable, "-c", _FAULTS, setting], check=True, capture_output=True, text=True)
    return int(child.stdout.split()[-1])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")
def test_freed_memory_is_kept_and_only_if_wanted() -> None:
    kept, returned = _faults_of_ten_tensors("keep"), _faults_of_ten_tensors("return")
    assert kept < returned / 2, "the first needs new pages, and small objects between may take the place of another"

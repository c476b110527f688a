"""Which int8 kernels ONNX Runtime is asked for, by processor; answers are tested in test_bundle.py and tests/golden."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort
import pytest

from smartbin.ort_classifier import ask_for_exact_int8

_SETTING = "session.x64quantprecision"


@pytest.mark.parametrize(
    ("cpuinfo", "exact"),
    [
        ("model name\t: AMD EPYC 9B14\nflags\t\t: fpu avx2 avx512_vnni avx512_bf16\n", False),
        ("flags\t\t: fpu avx2 avx_vnni\n", False),
        ("flags\t\t: fpu avx2 fma\n", True),
        ("processor\t: 0\nFeatures\t: fp asimd\n", True),  # ARM, where ONNX Runtime does not look at the setting
        (None, True),
    ],
    ids=["AVX-512 VNNI", "AVX VNNI", "AVX2", "ARM", "no Linux"],
)
def test_exact_kernels_are_asked_for_where_the_fast_ones_overflow(
    tmp_path: Path, cpuinfo: str | None, exact: bool
) -> None:
    file = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        file.write_text(cpuinfo, encoding="ascii")
    options = ort.SessionOptions()
    ask_for_exact_int8(options, file)
    if exact:
        assert options.get_session_config_entry(_SETTING) == "1"
    else:
        with pytest.raises(RuntimeError, match=_SETTING):
            options.get_session_config_entry(_SETTING)

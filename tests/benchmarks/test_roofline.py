"""Networks against the chip's roofline, at toy size on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import roofline_scenario
from benchmarks.report import read_report
from benchmarks.roofline_scenario import Chip, measure_chip, operations_of
from benchmarks.run import main
from train.networks.architectures import architecture_of

SMALL = "timm:test_resnet"


@pytest.fixture(autouse=True)
def _small_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(roofline_scenario, "_MATRIX_SIDE", {"cuda": 256, "cpu": 64})
    monkeypatch.setattr(roofline_scenario, "_COPIED_BYTES", {"cuda": 1 << 20, "cpu": 1 << 20})
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("name", "published_gmacs"), [("resnet50", 4.09), ("inception_v3", 5.71)], ids=["ResNet50", "InceptionV3"]
)
def test_operations_are_those_that_are_published(name: str, published_gmacs: float) -> None:
    """torchvision's table has multiplications with additions as one, and a thousand classes."""
    assert operations_of(architecture_of(name)) / 2e9 == pytest.approx(published_gmacs, rel=0.01)


def test_roofline_is_the_longer_of_arithmetic_and_reading() -> None:
    chip = Chip({torch.float32: 2e12}, bandwidth=1e9)
    assert chip.least_ms(4e9, 1e6, torch.float32) == pytest.approx(2)
    assert chip.least_ms(4e9, 5e6, torch.float32) == pytest.approx(5)


def test_chip_is_measured() -> None:
    before = torch.backends.cuda.matmul.allow_tf32
    chip = measure_chip(torch.device("cpu"), (torch.float32, torch.bfloat16))
    assert set(chip.operations) == {torch.float32, torch.bfloat16}
    assert min(*chip.operations.values(), chip.bandwidth) > 1e6
    assert torch.backends.cuda.matmul.allow_tf32 is before


def test_every_way_is_a_row_and_one_that_cannot_be_compiled_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_compiler(network: torch.nn.Module, **options: object) -> torch.nn.Module:
        def run(pictures: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no C++ compiler\nfor want of one")

        return run  # type: ignore[return-value]

    monkeypatch.setattr(torch, "compile", no_compiler)
    flags = ["--networks", SMALL, "--batches", "1", "2", "--laps", "2", "--device", "cpu", "--out", "roofline.json"]
    assert main(["roofline", *flags]) == 0
    told = capsys.readouterr().out
    assert f"left out: {SMALL}, compile, AMP, batch 2: torch.compile fails here: no C++ compiler." in told
    (table,) = read_report(Path("roofline.json")).tables
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [(row["way"], row["batch"]) for row in rows] == [
        (way, batch) for batch in (1, 2) for way in ("eager float32", "AMP")
    ]
    for row in rows:
        assert row["images/s"] == pytest.approx(row["batch"] * 1000 / row["p50 ms"])
        assert row["of roofline"] == pytest.approx(row["roofline ms"] / row["p50 ms"])
    one, two = (row for row in rows if row["way"] == "eager float32")
    assert one["roofline ms"] < two["roofline ms"] <= 2 * one["roofline ms"] * 1.001


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["roofline", "--device", "cuda", "--networks", SMALL]) == 2
    assert "torch has no GPU here" in capsys.readouterr().err


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_every_way_runs() -> None:
    flags = ["--networks", SMALL, "--batches", "8", "--laps", "3", "--device", "cuda", "--out", "roofline.json"]
    assert main(["roofline", *flags]) == 0
    (table,) = read_report(Path("roofline.json")).tables
    assert {row[1] for row in table.rows} >= {"eager float32", "AMP"}

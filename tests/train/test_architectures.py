"""ResNet9 and the networks of timm: their stages, their refusals, and a run of each through to a bundle."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from export.run import main as export
from smartbin.bundle import read_bundle
from smartbin.errors import ConfigError
from train.checkpoint import load_run
from train.networks.architectures import architecture_of, split_outputs
from train.networks.freezing import freeze
from train.recipe import Recipe
from train.run import main


@pytest.mark.parametrize(
    ("name", "front", "back"),
    [
        ("timm:test_resnet", ("stem", "layer1"), ("layer4", "head")),
        ("timm:test_efficientnet", ("stem", "blocks.0"), ("blocks.4", "head")),
        ("timm:test_convnext", ("stem", "stages.0"), ("head.norm", "head")),
        ("timm:test_vit", ("stem", "blocks.0"), ("blocks.5", "head")),
        ("resnet9", ("conv1", "conv2"), ("residual2", "head")),
    ],
)
def test_every_entry_has_a_stage_in_the_order_of_the_network(
    name: str, front: tuple[str, ...], back: tuple[str, ...]
) -> None:
    architecture = architecture_of(name)
    assert architecture.stage_names[: len(front)] == front
    assert architecture.stage_names[-len(back) :] == back
    model = architecture.build(5, 0.1, 0.1).eval()
    assert {architecture.stage_of(entry) for entry in model.state_dict()} == set(range(len(architecture.stages)))
    side = architecture.min_test_size
    with torch.inference_mode():
        logits, auxiliary = split_outputs(model(torch.zeros(2, 3, side, side)))
    assert logits.shape == (2, 5)
    assert auxiliary is None


def test_what_stands_outside_of_modules_is_frozen_too() -> None:
    """A vision transformer's class token and place embedding are parameters of the network itself."""
    architecture = architecture_of("timm:test_vit")
    model = architecture.build(5, 0.0, 0.0)
    freeze(model, architecture, Recipe(freeze_until="blocks.1"), frozenset())
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert {"cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.norm1.weight"} <= frozen
    assert not any(name.startswith(("blocks.1.", "norm.", "head.")) for name in frozen)


def test_sizes_and_normalisation_are_those_that_timm_gives() -> None:
    plain, mobile = architecture_of("timm:resnet18"), architecture_of("timm:mobilevit_xxs")
    assert (plain.train_size, plain.test_size, plain.fixed_size) == (224, 288, False)
    assert plain.mean == (0.485, 0.456, 0.406)
    assert (mobile.mean, mobile.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert architecture_of("timm:inception_v3").min_train_size == 96  # 64 px cannot be halved as often as it does


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("timm:resnt50", "timm:resnet50"),
        ("timm:lite0", "timm:tf_efficientnet_lite0"),
        ("timm:resnet18.mine", "timm:resnet18.a1_in1k"),
        ("timm:zzzz", "names that timm.list_models() gives"),
        ("resnet51", " or timm:NAME"),
    ],
)
def test_unknown_name_is_refused_with_near_ones(name: str, expected: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        architecture_of(name)
    assert expected in str(refusal.value.expected)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--model", "timm:resnt50"), "timm:resnet50"),
        (("--model", "timm:test_vit", "--train-size", "128"), "train_size must be 160 for timm:test_vit"),
        (("--model", "resnet9"), "there are no ImageNet weights of resnet9"),
    ],
)
def test_run_is_refused(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], expected: str
) -> None:
    assert main(["--data", str(photos), "--out", str(tmp_path / "out"), *flags]) != 0
    assert expected in capsys.readouterr().err


def test_run_is_evaluated_and_exported(
    photo_folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "timm:test_efficientnet"
    data = photo_folder({"bottle": 12, "can": 12}, name="my photos")
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    flags = ["--model", name, "--weights", "none", "--workers", "0", "--smoke"]
    assert main(["--data", str(data), "--out", str(run), *flags]) == 0
    found = load_run(run)
    assert (found.architecture, found.preprocess.size) == (name, 64)
    assert main(["evaluate", str(run), "--workers", "0"]) == 0
    assert export([str(run), "--precision", "fp32", "--out", str(bundle)]) == 0, capsys.readouterr().err
    manifest = read_bundle(bundle).manifest
    assert manifest.architecture == name
    assert manifest.name == "timm-test_efficientnet-my-photos"


def test_resnet9_learns_from_scratch(train_tiny: Callable[..., Path]) -> None:
    sizes = ("--train-size", "32", "--test-size", "32", "--epochs", "1", "--limit", "6")
    run = load_run(train_tiny("--model", "resnet9", *sizes))
    assert run.build_model()(torch.zeros(2, 3, 40, 40)).shape == (2, 3)
    assert sum(value.numel() for value in run.build_model().parameters()) == pytest.approx(6.57e6, rel=0.01)


def test_run_of_an_architecture_that_is_gone_is_refused(
    train_tiny: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = train_tiny()
    monkeypatch.setattr("train.networks.architectures.ARCHITECTURES", {})
    assert main(["report", str(path)]) == 1
    assert "a run of an unknown architecture" in capsys.readouterr().err


def test_default_run_directory_has_no_colon(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda _: "20260101-000000")
    flags = ["--model", "timm:test_resnet", "--weights", "none", "--workers", "0", "--smoke"]
    assert main(["--data", str(photos), *flags]) == 0
    assert (tmp_path / "runs" / "timm-test_resnet-20260101-000000" / "model.safetensors").is_file()


def test_a_run_from_a_run_says_what_it_descends_from(train_tiny: Callable[..., Path]) -> None:
    first = train_tiny("--epochs", "1", name="first")
    second = train_tiny("--epochs", "1", "--weights", str(first / "model.safetensors"), name="second")
    assert load_run(second).weights == f"model.safetensors, from {load_run(first).weights}"

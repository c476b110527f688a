"""Learning from finished runs: what the teachers are shown, what the student is held to, what is refused."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.train.conftest import FLAGS, Steps
from tests.train.tiny import NAME
from train.checkpoint import load_run
from train.inference import normalise
from train.machine import open_fabric
from train.machine_config import Machine
from train.networks.architectures import IMAGENET_MEAN, IMAGENET_STD, architecture_of
from train.networks.distillation import Teachers
from train.objective import objectives
from train.recipe import Recipe
from train.run import main

pytestmark = pytest.mark.usefixtures("no_report")
FABRIC_FLAGS = Machine(device="cpu", precision="fp32", workers=0)


@pytest.fixture
def teacher(train_tiny: Callable[..., Path]) -> Path:
    """A finished run of the tiny network."""
    return train_tiny("--seed", "9", name="teacher")


def same_weights(first: Path, second: Path) -> bool:
    ours, theirs = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_teacher_sees_the_same_pictures_its_own_way(teacher: Path) -> None:
    """Other normalisation than the student's: the answers are those to the bytes normalised for the teacher."""
    run, student = load_run(teacher), architecture_of(NAME)
    images = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
    expected = (run.build_model()(normalise(images, student)) / 3).softmax(dim=1)
    other = replace(student, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    for architecture in (student, other):
        teachers = Teachers([run], architecture, open_fabric(FABRIC_FLAGS), temperature=3)
        torch.testing.assert_close(teachers.soft_targets(normalise(images, architecture)), expected)


def test_teacher_sees_them_at_its_own_size(teacher: Path) -> None:
    run, student = load_run(teacher), architecture_of(NAME)
    teachers = Teachers([run], student, open_fabric(FABRIC_FLAGS), temperature=1)
    seen: list[torch.Size] = []
    teachers._teachers[0].model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    even = torch.full((2, 3, 48, 48), 0.25)
    found = teachers.soft_targets(even)
    assert seen == [(2, 3, 32, 32)]
    torch.testing.assert_close(found, teachers.soft_targets(even[..., :32, :32]))  # an even picture stays what it is


def test_several_teachers_are_averaged(teacher: Path, train_tiny: Callable[..., Path]) -> None:
    runs = [load_run(teacher), load_run(train_tiny("--seed", "4", name="second"))]
    fabric, student = open_fabric(FABRIC_FLAGS), architecture_of(NAME)
    inputs = torch.randn(3, 3, 32, 32)
    one, two, both = (
        Teachers(chosen, student, fabric, temperature=2).soft_targets(inputs) for chosen in (runs[:1], runs[1:], runs)
    )
    torch.testing.assert_close(both, (one + two) / 2)
    assert not torch.allclose(one, two)


def test_objective_is_the_weighted_divergence_from_the_teacher() -> None:
    logits, targets = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    soft = torch.softmax(torch.randn(5, 3), dim=1)
    recipe = Recipe(distill_weight=0.25, distill_temperature=4, label_smoothing=0)
    hard = torch.nn.functional.cross_entropy(logits, targets)
    divergence = (soft * (soft.log() - torch.log_softmax(logits / 4, dim=1))).sum(dim=1).mean()
    minimised, plain = objectives(logits, targets, recipe, soft)
    torch.testing.assert_close(minimised, 0.75 * hard + 0.25 * 16 * divergence)
    torch.testing.assert_close(plain, hard)
    torch.testing.assert_close(objectives(logits, targets, recipe)[0], hard)


def test_student_comes_nearer_to_its_teacher_without_labels(teacher: Path) -> None:
    run, student = load_run(teacher), architecture_of(NAME)
    teachers = Teachers([run], student, open_fabric(FABRIC_FLAGS), temperature=1)
    torch.manual_seed(0)
    model, inputs = student.build(3, 0.0, 0.0), torch.randn(32, 3, 32, 32)
    soft = teachers.soft_targets(inputs)
    optimizer, wrong = torch.optim.Adam(model.parameters(), 0.02), (soft.argmax(dim=1) + 1) % 3
    losses = []
    for _ in range(40):
        minimised, _ = objectives(model(inputs), wrong, Recipe(distill_weight=1, distill_temperature=1), soft)
        optimizer.zero_grad()
        minimised.backward()
        optimizer.step()
        losses.append(minimised.item())
    assert losses[-1] < 0.1 * losses[0]


def test_teacher_changes_the_student_and_is_named(
    teacher: Path, train_tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    alone, unheard = train_tiny(name="alone"), train_tiny("--teacher", str(teacher), "--distill-weight", "0", name="0")
    assert same_weights(alone, unheard)
    capsys.readouterr()
    taught = train_tiny("--teacher", str(teacher), "--distill-weight", "0.7", name="taught")
    assert "taught by teacher (tiny, none): 0.7 of the objective is to answer as they do\n" in capsys.readouterr().out
    assert not same_weights(alone, taught)
    assert "distilled from teacher (tiny, none)" in load_run(taught).metrics.starting_weights


def test_refusals(
    teacher: Path,
    train_tiny: Callable[..., Path],
    photo_folder: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--data", str(tmp_path / "photos"), "--out", str(tmp_path / "out"), *FLAGS]
    other = train_tiny(name="other", data=photo_folder({"bottle": 11, "can": 11}, name="two"))
    assert main([*arguments, "--teacher", str(other)]) == 2
    error = capsys.readouterr().err
    assert "a teacher knows other classes" in error
    assert "expected: bottle, can, carton" in error
    (teacher / "model.safetensors").unlink()
    assert main([*arguments, "--teacher", str(teacher)]) == 1
    assert "this run has not finished" in capsys.readouterr().err


def test_resumed_student_equals_an_uninterrupted_one(
    teacher: Path,
    train_tiny: Callable[..., Path],
    tmp_path: Path,
    steps: Steps,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = ("--teacher", str(teacher), "--mixup", "0.3", "--dropout", "0.4")
    whole = train_tiny(*flags, name="whole")
    steps.stop_after(4)
    out = tmp_path / "parts"
    arguments = ["--data", str(tmp_path / "photos"), "--out", str(out), "--epochs", "2", *FLAGS, *flags]
    assert main(arguments) == 128 + signal.SIGTERM

    moved = tmp_path / "elsewhere"
    shutil.move(teacher, moved)
    shutil.copytree(whole, teacher)  # another run stands where the teacher was
    assert main(["--resume", str(out)]) == 1
    assert "a teacher has changed since this run began" in capsys.readouterr().err
    assert main(["--resume", str(out), "--teacher", str(moved)]) == 0
    assert same_weights(whole, out)

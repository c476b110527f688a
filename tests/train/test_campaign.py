"""A campaign: what is finished is left, what was stopped goes on, what is something else is not touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from smartbin.config import load_settings
from smartbin.errors import ConfigError
from tests.train.conftest import Steps
from tests.train.tiny import NAME
from train.checkpoint import MODEL_FILE, load_run
from train.config import TrainConfig, resolve
from train.stopping import Stopped
from train.study.campaign import Variant, changed_settings, run_all


@pytest.fixture
def variant(photos: Path) -> Callable[..., Variant]:
    def make(name: str, **settings: object) -> Variant:
        flags: dict[str, object] = {
            "data": str(photos), "model": NAME, "weights": "none", "epochs": 1, "recipe.batch": 8,
            "machine.workers": 0, "machine.precision": "fp32", "machine.device": "cpu",
        }  # fmt: skip
        return Variant(name, resolve(load_settings(TrainConfig, None, {**flags, **settings})))

    return make


def test_finished_runs_are_left_and_stopped_ones_go_on(
    variant: Callable[..., Variant], tmp_path: Path, steps: Steps
) -> None:
    variants = [variant("plain"), variant("seeded", seed=1)]
    per_run = 3  # 25 photos in batches of 8
    steps.stop_after(per_run + 1)  # in the second run
    out = tmp_path / "campaign"
    with pytest.raises(Stopped):
        run_all(variants, out)
    first = (out / "plain" / MODEL_FILE).stat().st_mtime_ns
    assert not (out / "seeded" / MODEL_FILE).exists()

    begun = steps.done
    assert run_all(variants, out) == [out / "plain", out / "seeded"]
    assert steps.done - begun == per_run - 1  # one step of the second run was done before
    assert (out / "plain" / MODEL_FILE).stat().st_mtime_ns == first
    assert [load_run(out / name).seed for name in ("plain", "seeded")] == [0, 1]


def test_run_killed_before_its_first_state_is_started_again(
    variant: Callable[..., Variant], tmp_path: Path, steps: Steps
) -> None:
    (tmp_path / "campaign").mkdir()
    run_all([variant("plain")], tmp_path / "campaign")
    for name in (MODEL_FILE, "checkpoint.pt"):
        (tmp_path / "campaign" / "plain" / name).unlink()
    begun = steps.done
    run_all([variant("plain")], tmp_path / "campaign")
    assert steps.done - begun == 3
    assert load_run(tmp_path / "campaign" / "plain").epochs == 1


def test_other_settings_and_other_folders_are_refused(variant: Callable[..., Variant], tmp_path: Path) -> None:
    run_all([variant("plain")], tmp_path)
    with pytest.raises(ConfigError, match=r"recipe\.balance"):
        run_all([variant("plain", **{"recipe.balance": 0.1})], tmp_path)
    (tmp_path / "photos_of_mine").mkdir()
    with pytest.raises(ConfigError, match="holds something else"):
        run_all([variant("photos_of_mine")], tmp_path)
    with pytest.raises(ConfigError, match="one name"):
        run_all([variant("twice"), variant("twice")], tmp_path)


def test_machine_settings_may_change(variant: Callable[..., Variant]) -> None:
    one, other = variant("a"), variant("a", **{"machine.workers": 1, "seed": 3, "augment.flip": 0.1})
    assert changed_settings(one.config, other.config) == ["seed", "augment.flip"]

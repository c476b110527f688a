"""Every input that is wrong is refused before the first epoch, with what was found and what to do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.train.conftest import FLAGS
from tests.train.tiny import NAME
from train import loop
from train.networks.architectures import architecture_of
from train.run import main


@pytest.fixture
def refused(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Run with these flags; returns what was printed as error. No epoch may begin; exit code `code` is asserted."""

    def run(*flags: str, code: int = 1, data: Path = photos) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(loop, "train_epoch", lambda *_: pytest.fail("an epoch began"))
            assert main(["--data", str(data), "--out", str(tmp_path / "out"), *FLAGS, *flags]) == code
        return capsys.readouterr().err

    return run


def test_truncated_photo(refused: Callable[..., str], photos: Path) -> None:
    victim = photos / "can" / "can3.jpg"
    victim.write_bytes(victim.read_bytes()[:-200])
    (photos / "bottle" / "bottle1.jpg").write_bytes(b"not a photo")
    error = refused()
    assert "2 of 37 photos cannot be read" in error
    assert "can3.jpg: the photo is truncated" in error
    assert "bottle1.jpg: not an image" in error


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="/proc/self/mem, a file that cannot be read, is absent")
def test_truncated_photo_beside_one_that_cannot_be_read(refused: Callable[..., str], photos: Path) -> None:
    victim = photos / "can" / "can3.jpg"
    victim.write_bytes(victim.read_bytes()[:-200])
    (photos / "can" / "can99.jpg").symlink_to("/proc/self/mem")
    error = refused()
    assert "2 of 38 photos cannot be read" in error
    assert "can3.jpg: the photo is truncated" in error
    assert "can99.jpg: Input/output error" in error


def test_many_broken_photos_are_counted(refused: Callable[..., str], photos: Path) -> None:
    for path in (photos / "can").iterdir():
        path.write_bytes(b"")
    error = refused()
    assert "12 of 37 photos" in error
    assert "and 7 more" in error


def test_empty_class(refused: Callable[..., str], photos: Path) -> None:
    (photos / "paper_cup").mkdir()
    assert "classes without a photo" in (error := refused())
    assert "paper_cup" in error


def test_too_few_photos(refused: Callable[..., str], photos: Path) -> None:
    assert "can 12, carton 11" in refused("--min-photos", "13")


def test_unknown_class_folder(refused: Callable[..., str], photo_folder: Callable[..., Path]) -> None:
    names = ("cardboard", "glass", "metal", "paper", "plastic", "trash", "banana")
    error = refused(data=photo_folder(dict.fromkeys(names, 10), name="six and one"))
    assert "unknown class folders" in error
    assert "banana" in error
    assert "--classes any" in error


def test_missing_class_folder(refused: Callable[..., str], photo_folder: Callable[..., Path]) -> None:
    error = refused(data=photo_folder({"glass": 10, "metal": 10}, name="two of six"))
    assert "class folders are missing" in error


def test_folder_without_classes(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "no data set here" in refused(data=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    error = refused(data=tmp_path / "empty")
    assert "no class folders here" in error
    assert "found: no photos\n" in error
    assert "what to do: check the path" in error


def test_photos_without_class_folders(refused: Callable[..., str], photos: Path) -> None:
    error = refused(data=photos / "can")
    assert "found: 12 photos without a class" in error
    assert f"what to do: put the photos of each class into a folder of its name: {photos / 'can' / 'CLASS'}" in error


def test_published_split_of_other_photos(refused: Callable[..., str]) -> None:
    assert "the published split does not list these photos" in refused("--split", "published")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--model", "resnet51"), "model must be one of"),
        (("--freeze-until", "layer9"), "freeze_until must be one of front, back, head"),
        (("--epochs", "many"), "key epochs"),
        (("--balance", "2"), "key recipe.balance"),
        (("--set", "brightness.gamma=2"), "unknown configuration key"),
        (("--train-size", "16"), "train_size must be at least 32"),
        (("--min-ratio", "3"), "min_ratio must not be above max_ratio"),
    ],
)
def test_wrong_setting(refused: Callable[..., str], flags: tuple[str, ...], expected: str) -> None:
    assert expected in refused(*flags, code=2)


def test_no_cuda(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "no CUDA device" in refused("--device", "cuda", code=2)


def test_run_directory_in_use(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    error = refused(code=2)
    assert "the run directory is in use" in error
    assert "what to do: another --out\n" in error  # there is nothing to resume


def test_refused_run_leaves_no_directory_in_the_way(refused: Callable[..., str]) -> None:
    assert "too few photos" in refused("--min-photos", "99")
    assert "too few photos" in refused("--min-photos", "99")  # and not: in use


def test_weights_that_do_not_fit(refused: Callable[..., str], train_tiny: Callable[..., Path], tmp_path: Path) -> None:
    good = load_file(train_tiny() / "model.safetensors")
    file = tmp_path / "weights.safetensors"

    save_file({**good, "back.0.weight": torch.zeros(17, 8, 3, 3)}, file)
    assert "back.0.weight [17, 8, 3, 3] instead of [16, 8, 3, 3]" in refused("--weights", str(file))

    save_file({f"other.{name}": value for name, value in good.items()}, file)
    assert "these are not weights of tiny" in refused("--weights", str(file))

    file.write_bytes(b"damaged")
    assert "cannot be read" in refused("--weights", str(file))
    assert "no such file" in refused("--weights", str(tmp_path / "none.pt"))
    assert "cannot be downloaded" in refused("--weights", "imagenet")


def test_tries_of_a_download_are_one_line(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hugging Face's library logs two lines for each of a dozen tries."""
    shown: list[str] = []

    class Shown(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            shown.append(record.getMessage())

    library = logging.getLogger("huggingface_hub")
    handler = Shown()
    library.addHandler(handler)

    def fetch() -> dict[str, torch.Tensor]:
        log = logging.getLogger("huggingface_hub.utils._http")
        for number in range(1, 6):
            log.warning("'Name or service not known' thrown while requesting HEAD https://huggingface.co/timm/a")
            log.warning("Retrying in %ds [Retry %d/5].", number, number)
        log.warning("You are sending unauthenticated requests")
        said.append(capsys.readouterr().out)
        raise OSError("no network")

    said: list[str] = []
    tiny = architecture_of(NAME)
    monkeypatch.setattr("train.set_up.architecture_of", lambda name: replace(tiny, download=fetch))
    try:
        assert "found: OSError: no network" in refused("--weights", "imagenet")
    finally:
        library.removeHandler(handler)
    assert shown == ["You are sending unauthenticated requests"]
    assert said[0].count("does not answer") == 1
    assert handler.filters == []


def test_pickled_weights_are_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("ran",)

    torch.save({"fc.weight": Payload()}, tmp_path / "weights.pt")
    assert "more than plain tensors" in refused("--weights", str(tmp_path / "weights.pt"))


def test_resume_refuses_other_settings_and_photos(
    train_tiny: Callable[..., Path],
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = train_tiny()
    assert main(["--resume", str(path), "--epochs", "9"]) == 2
    assert "a resumed run keeps its settings" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setenv("SMARTBIN_TRAIN_RECIPE__EMA_DECAY", ".5")
        assert main(["--resume", str(path), "--workers", "0"]) == 2
    assert "found: recipe.ema_decay\n" in capsys.readouterr().err
    (tmp_path / "more.toml").write_text("epochs = 9\n")
    assert main(["--resume", str(path), "--config", str(tmp_path / "more.toml")]) == 2
    assert f"found: --config {tmp_path / 'more.toml'}" in capsys.readouterr().err
    (photos / "can" / "can1.jpg").write_bytes((photos / "can" / "can2.jpg").read_bytes())
    assert main(["--resume", str(path)]) == 1
    assert "the photos have changed" in capsys.readouterr().err
    assert main(["--resume", str(tmp_path)]) == 1
    assert "nothing to resume here" in capsys.readouterr().err


def test_finished_run_whose_state_is_gone_is_not_trained_anew(
    train_tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = train_tiny()
    (run / "checkpoint.pt").unlink()
    assert main(["--resume", str(run)]) == 1
    error = capsys.readouterr().err
    assert "the run has finished, and its state is gone" in error
    assert "found: model.safetensors without checkpoint.pt" in error
    assert "what to do: use the run as it is" in error


def test_damaged_run_is_refused(train_tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = train_tiny()
    (path / "checkpoint.pt").write_bytes(b"damaged")
    assert main(["--resume", str(path)]) == 1
    assert "the checkpoint cannot be read" in capsys.readouterr().err
    (path / "metrics.json").write_text("{}")
    assert main(["report", str(path)]) == 1
    assert "a damaged file of a run" in capsys.readouterr().err
    (path / "model.safetensors").unlink()
    assert main(["report", str(path)]) == 1
    assert "this run has not finished" in capsys.readouterr().err

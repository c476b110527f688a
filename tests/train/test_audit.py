"""`data audit` finds what was planted in a data set, and nothing in a clean one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from smartbin.images import BgrImage, read_image
from smartbin.preprocess import to_input
from tests.train.scenes import item
from tests.train.tiny import NAME, TinyNetwork, register_tiny
from train.audit import command, measure
from train.audit.network import network_of_run
from train.audit.records import Audit
from train.audit.survey import survey
from train.config import TrainConfig
from train.datasets.photos import open_data
from train.inference import normalise
from train.run import main

COLOURS = {"bottle": (60, 170, 40), "can": (200, 60, 40), "carton": (40, 70, 190)}
EACH = 14
FLAGS = ("--model", NAME, "--weights", "none", "--alike", "1", "--device", "cpu", "--seed", "3")
FILES = {
    "audit.md",
    "audit.html",
    "audit.json",
    "photos.csv",
    "counts.png",
    "looks.png",
    "borders.png",
    "shortcuts.png",
}


def save(path: Path, image: BgrImage, quality: int = 95) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, quality])


def write_clean(root: Path) -> Path:
    """Three classes of one colour each, every photo another scene."""
    for index, (label, colour) in enumerate(COLOURS.items()):
        for number in range(EACH):
            save(root / label / f"{label}{number}.jpg", item(100 * index + number, colour))
    return root


def audit(root: Path, out: Path, *flags: str, code: int = 0) -> Audit:
    assert main(["data", "audit", str(root), "--out", str(out), *FLAGS, *flags]) == code
    return Audit.model_validate_json((out / "audit.json").read_bytes())


def parts_of(found: Path) -> dict[str, str]:
    """Part of each photo, by its file name, as `photos.csv` has it."""
    rows = [line.split(",") for line in (found / "photos.csv").read_text(encoding="utf-8").splitlines()[1:]]
    return {row[0].rsplit("/", 1)[-1]: row[2] for row in rows}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean data set and, beside it, its strict audit, in which every photo is decoded once."""
    register_tiny()
    root = write_clean(tmp_path_factory.mktemp("clean") / "photos")
    decoded: list[object] = []
    real = measure.decode_image

    def counted(data: bytes, *, where: object = None) -> BgrImage:
        decoded.append(where)
        return real(data, where=where)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "decode_image", counted)
        audit(root, root.parent / "audit", "--strict")
    assert len(decoded) == len(set(decoded)) == 3 * EACH
    return root


@pytest.fixture(scope="module")
def planted(clean: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same set with one fault of each kind and, beside it, its strict audit, which fails."""
    root = write_clean(tmp_path_factory.mktemp("planted") / "photos")
    parts = parts_of(clean.parent / "audit")
    training = sorted(name for name, part in parts.items() if part == "train" and name.startswith("can"))
    validation = next(name for name, part in parts.items() if part == "val" and name.startswith("can"))

    broken = root / "can" / training[0]
    broken.write_bytes(broken.read_bytes()[:-300])
    (root / "bottle" / "note.jpg").write_bytes(b"not a photo")
    # a name that differs from a training photo's changes no other photo's part: an order by hash has no neighbours
    (root / "carton" / "same.jpg").write_bytes((root / "carton" / "carton1.jpg").read_bytes())
    near = cv2.imread(str(root / "bottle" / "bottle1.jpg"))
    save(root / "bottle" / "near.jpg", (near * 0.9).astype(np.uint8), quality=60)
    save(root / "can" / training[1], item(100 + int(re.findall(r"\d+", validation)[0]), COLOURS["can"]), quality=70)
    save(root / "carton" / "wrong.jpg", item(999, COLOURS["can"]))
    save(root / "bottle" / "dark.jpg", (item(998, COLOURS["bottle"]) * 0.1).astype(np.uint8))
    save(
        root / "bottle" / "blurred.jpg",
        np.asarray(cv2.GaussianBlur(item(997, COLOURS["bottle"]), (0, 0), 12), np.uint8),
    )
    save(root / "bottle" / "blank.jpg", np.full((192, 256, 3), 180, np.uint8))
    (root / "can" / "twin.jpg").write_bytes((root / "bottle" / "bottle3.jpg").read_bytes())
    audit(root, root.parent / "audit", "--strict", code=1)
    return root


@pytest.fixture
def found(planted: Path) -> Audit:
    return Audit.model_validate_json((planted.parent / "audit" / "audit.json").read_bytes())


def groups_with(audit: Audit, name: str) -> list[set[str]]:
    groups = [{member.name.rsplit("/", 1)[-1] for member in group.members} for group in audit.copies.groups]
    return [group for group in groups if name in group]


def test_clean_set_yields_nothing(clean: Path) -> None:
    audit = Audit.model_validate_json((clean.parent / "audit" / "audit.json").read_bytes())
    assert audit.broken == ()
    assert audit.copies.groups == ()
    assert audit.outliers == ()
    assert audit.labels is not None
    assert audit.labels.suspects == ()
    assert audit.labels.accuracy > 0.9
    assert audit.photos == 3 * EACH == sum(count.photos for count in audit.counts)


def test_broken_files_are_listed_and_the_rest_goes_on(found: Audit) -> None:
    assert sorted(entry.error.split(" (")[0] for entry in found.broken) == [
        "not an image that can be read",
        "the photo is truncated",
    ]
    assert found.photos == 3 * EACH + 8


def test_exact_duplicate(found: Audit) -> None:
    assert groups_with(found, "same.jpg") == [{"same.jpg", "carton1.jpg"}]
    group = next(group for group in found.copies.groups if "carton/same.jpg" in group.members[-1].name)
    assert group.exact
    assert group.distance == 0


def test_near_duplicate(found: Audit) -> None:
    assert groups_with(found, "near.jpg") == [{"near.jpg", "bottle1.jpg"}]
    group = next(group for group in found.copies.groups if any("near.jpg" in entry.name for entry in group.members))
    assert not group.exact


def test_duplicate_with_another_label_comes_first(found: Audit) -> None:
    assert {member.name.rsplit("/", 1)[-1] for member in found.copies.groups[0].members} == {"bottle3.jpg", "twin.jpg"}
    assert [group.labels_differ for group in found.copies.groups].count(True) == 1
    assert found.copies.exact_photos == 4


def test_copy_across_parts(found: Audit, planted: Path) -> None:
    parts = parts_of(planted.parent / "audit")
    crossing = [{member.name.rsplit("/", 1)[-1] for member in group.members} for group in found.copies.leaks]
    for names in crossing:
        assert len({parts[name] for name in names}) > 1
    assert any(all(name.startswith("can") for name in names) for names in crossing)


def test_wrong_label(found: Audit) -> None:
    assert found.labels is not None
    suspect = next(entry for entry in found.labels.suspects if entry.name.endswith("wrong.jpg"))
    assert (suspect.label, suspect.suggested) == ("carton", "can")
    assert suspect.confidence > 0.5 > suspect.own
    names = {entry.name.rsplit("/", 1)[-1] for entry in found.labels.suspects}
    assert names <= {"wrong.jpg", "twin.jpg", "bottle3.jpg", "dark.jpg", "blank.jpg", "blurred.jpg"}


@pytest.mark.parametrize(
    ("name", "kind"), [("dark.jpg", "very dark"), ("blurred.jpg", "blurred"), ("blank.jpg", "almost uniform")]
)
def test_odd_photo(found: Audit, name: str, kind: str) -> None:
    assert [entry.kind for entry in found.outliers if entry.name.endswith(name)] == [kind]


def test_no_other_photo_is_odd(found: Audit) -> None:
    assert len(found.outliers) == 3


def test_report_is_whole_and_needs_nothing_else(planted: Path) -> None:
    out = planted.parent / "audit"
    assert {file.name for file in out.iterdir()} == FILES | {"copies.png", "labels.png", "outliers.png"}
    for file in out.glob("*.png"):
        assert cv2.imread(str(file)) is not None
    text = (out / "audit.md").read_text(encoding="utf-8")
    for name in re.findall(r"\]\((\S+?)\)", text):
        assert (out / name).is_file()
    assert "wrong.jpg" in text
    page = (out / "audit.html").read_text(encoding="utf-8")
    assert re.findall(r"(?:src|href|srcset)=\"(?!data:|#)", page) == []
    assert page.count("data:image/jpeg") >= 10


def test_network_of_a_run_is_the_eye(train_tiny: Callable[..., Path], clean: Path) -> None:
    run = train_tiny("--epochs", "1", data=clean)
    network = network_of_run(run, torch.device("cpu"))
    found = survey(open_data(TrainConfig(data=(str(clean),))), network, alike=1)
    assert found.audit.labels is not None
    assert found.audit.labels.features == f"tiny of the run {run.name}, trained on photos"
    features = found.measured.features
    assert features is not None
    assert features.shape == (3 * EACH, 16)
    first = torch.from_numpy(to_input(read_image(found.facts[40].photo.path), network.spec).image)[None]
    logits = network.model(normalise(first, network.architecture))[0]
    by_hand = network.model.get_submodule("fc")(torch.from_numpy(features[40]))
    assert torch.allclose(logits, by_hand, atol=1e-5)  # the features are those of this photo, in front of the head


def test_source_that_light_gives_away(clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index, (label, colour) in enumerate(COLOURS.items()):
        for number in range(10):
            dim = (item(5000 + 100 * index + number, colour) * 0.5).astype(np.uint8)
            save(tmp_path / "web" / label / f"web{number}.jpg", dim)
    out = tmp_path / "audit"
    assert main(["data", "audit", str(clean), str(tmp_path / "web"), "--no-labels", "--out", str(out)]) == 0
    found = Audit.model_validate_json((out / "audit.json").read_bytes())
    assert found.sources == ("photos", "web")
    light = next(entry for entry in found.shortcuts if (entry.target, entry.kind) == ("source", "light"))
    assert light.alarming
    assert light.skill > 0.8
    rows = {entry.group: entry.middle for entry in found.spreads if (entry.by, entry.statistic) == ("source", "luma")}
    assert rows["web"] < 0.65 * rows["photos"]
    assert (out / "looks-sources.png").is_file()
    assert "labels were not checked" in capsys.readouterr().out


def test_audit_replaces_an_earlier_one_and_nothing_else(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "audit"
    out.mkdir()
    (out / "audit.json").write_text("{}")
    (out / "stale.png").write_bytes(b"old")
    found = audit(clean, out, "--no-labels")
    assert {file.name for file in out.iterdir()} == FILES
    assert found.labels is None
    assert found.alike is None
    assert "labels were not checked" in capsys.readouterr().out
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert main(["data", "audit", str(clean), "--out", str(tmp_path / "mine"), "--no-labels"]) == 2
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--alike", "0"], "--alike"),
        (["--alike", "1.5"], "--alike"),
        (["--shown", "-1"], "--shown"),
        (["--split", "sideways"], "key split"),
        (["--model", "nonsense"], "nonsense"),
    ],
)
def test_wrong_flags(clean: Path, capsys: pytest.CaptureFixture[str], flags: list[str], expected: str) -> None:
    assert main(["data", "audit", str(clean), *flags]) == 2
    assert expected in capsys.readouterr().err


def test_missing_library_names_the_command(
    clean: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "cleanlab" else object())
    assert main(["data", "audit", str(clean)]) == 2
    error = capsys.readouterr().err
    assert "no cleanlab" in error
    assert "pip install 'smartbin[audit]'" in error
    assert "no scikit-learn" not in error


def test_only_broken_photos_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in ("a", "b"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(4):
            (tmp_path / "set" / label / f"{number}.jpg").write_bytes(b"no")
    assert main(["data", "audit", str(tmp_path / "set"), "--no-labels", "--out", str(tmp_path / "audit")]) == 1
    assert "0 readable, 8 broken" in capsys.readouterr().err
    assert not (tmp_path / "audit").exists()


def test_weights_that_lack_entries_are_told_of(clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As training tells; the head is not asked for here."""
    state = TinyNetwork(5, 0.0).state_dict()
    save_file(state, tmp_path / "whole.safetensors")
    save_file({name: value for name, value in state.items() if "back" not in name}, tmp_path / "part.safetensors")
    assert audit(clean, tmp_path / "whole", "--weights", str(tmp_path / "whole.safetensors")).notes == ()
    assert "note:" not in capsys.readouterr().out
    audit(clean, tmp_path / "part", "--weights", str(tmp_path / "part.safetensors"))
    told = "5 of the 10 entries of tiny are not in its weights (part.safetensors) and are random"
    assert f"note: {told}" in capsys.readouterr().out
    for report in ("audit.md", "audit.html"):
        assert told in (tmp_path / "part" / report).read_text(encoding="utf-8")

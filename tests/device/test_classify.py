from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from device.classify_command import classify_photos, find_photos
from device.cli import main
from smartbin.bundle import read_bundle
from smartbin.classifier import FunctionClassifier


def answers(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_json_has_everything(colour_folder, tiny_bundle, capsys):
    photo = colour_folder / "green" / "green1.jpg"
    assert main(["classify", str(photo), "--bundle", str(tiny_bundle), "--json"]) == 0
    (answer,) = answers(capsys)
    assert set(answer) == {"path", "label", "confidence", "decision", "probabilities", "energy", "exposure"}
    assert answer["path"] == str(photo)
    assert (answer["label"], answer["decision"]) == ("green", "accepted")
    assert abs(sum(answer["probabilities"].values()) - 1) < 0.001
    assert set(answer["exposure"]) == {"mean_luma", "clipped_fraction", "gamma"}


def test_a_folder_in_natural_order(colour_folder, tiny_bundle, capsys):
    assert main(["classify", str(colour_folder), "--bundle", str(tiny_bundle), "--json"]) == 0
    names = [Path(answer["path"]).name for answer in answers(capsys)]
    assert names[:3] == ["blue1.jpg", "blue2.jpg", "blue10.jpg"]
    assert len(names) == 9


def test_unreadable_photos_are_reported_and_the_rest_is_done(colour_folder, tiny_bundle, capsys):
    (colour_folder / "red" / "red3.jpg").write_bytes(b"no photo")
    assert main(["classify", str(colour_folder), "nowhere.jpg", "--bundle", str(tiny_bundle), "--json"]) == 1
    captured = capsys.readouterr()
    found = [json.loads(line) for line in captured.out.splitlines()]
    assert len(found) == 11
    broken = [answer for answer in found if "error" in answer]
    assert [Path(answer["path"]).name for answer in broken] == ["red3.jpg", "nowhere.jpg"]
    assert set(broken[0]) == {"path", "error"}
    assert "red3.jpg" in captured.err


def test_the_table(colour_folder, tiny_bundle, capsys):
    (colour_folder / "red" / "red3.jpg").write_bytes(b"no photo")
    assert main(["classify", str(colour_folder), "--bundle", str(tiny_bundle)]) == 1
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert len(lines) == 1 + 9 + 1
    assert "label" in lines[0]
    assert "accepted" in lines[1]
    assert lines[-1] == "10 photos: 9 accepted, 1 unreadable"
    assert "red3.jpg" in captured.err


def test_paths_from_stdin(colour_folder, tiny_bundle, capsys, monkeypatch):
    paths = "\n".join(str(colour_folder / "red" / f"red{number}.jpg") for number in (1, 2)) + "\n\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(paths))
    assert main(["classify", "-", "--bundle", str(tiny_bundle), "--json"]) == 0
    assert [answer["label"] for answer in answers(capsys)] == ["red", "red"]


def test_nothing_to_do_is_an_error(tmp_path, tiny_bundle, capsys):
    assert main(["classify", str(tmp_path), "--bundle", str(tiny_bundle)]) == 1
    assert "no photos" in capsys.readouterr().err


def test_a_dark_photo_gets_no_verdict(tmp_path, tiny_bundle, capsys):
    import cv2

    cv2.imwrite(str(tmp_path / "night.png"), np.full((48, 64, 3), 1, np.uint8))
    assert main(["classify", str(tmp_path), "--bundle", str(tiny_bundle), "--json"]) == 0
    assert answers(capsys)[0]["decision"] == "too_dark"


def test_thousands_of_paths_stay_in_small_batches(colour_folder, tiny_bundle):
    """Five thousand paths, lazily: never more than a batch waits, and the first answer comes before the last path."""
    sizes, asked = [], 0
    photo = colour_folder / "red" / "red1.jpg"

    def paths():
        nonlocal asked
        for _ in range(5000):
            asked += 1
            yield photo

    def logits(batch):
        sizes.append(len(batch))
        return np.zeros((len(batch), 3))

    bundle = read_bundle(tiny_bundle)
    found = classify_photos(paths(), bundle, FunctionClassifier(bundle.manifest.classes, 32, logits), batch=16)
    next(found)
    assert asked == 16
    assert sum(1 for _ in found) == 4999
    assert max(sizes) == 16


def test_names_are_expanded_in_order(colour_folder):
    listed = list(find_photos(["a.jpg", str(colour_folder / "red"), "-"], io.StringIO("b.jpg\r\n")))
    assert [path.name for path in listed] == ["a.jpg", "red1.jpg", "red2.jpg", "red10.jpg", "b.jpg"]


def test_real_photos(trashnet, tiny_bundle, capsys):
    photos = sorted((trashnet / "glass").glob("*.jpg"))[:5]
    assert main(["classify", *map(str, photos), "--bundle", str(tiny_bundle), "--json"]) == 0
    assert len(answers(capsys)) == 5

"""From a label to a folder that training takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from device.cli import main
from device.samples.dataset import export_dataset
from device.samples.labels import SampleBook
from smartbin.classes import GARBAGE_CLASSES
from smartbin.errors import DataError
from smartbin.images import read_image
from tests.device.samples.staged import bench


@pytest.fixture
def stage(tmp_path):
    with bench(tmp_path / "store") as made:
        for _ in range(6):
            made.offer(classes=GARBAGE_CLASSES)
        yield made


@pytest.fixture
def book(stage):
    return SampleBook(stage.paths)


@pytest.fixture
def config(stage, tmp_path):
    path = tmp_path / "bin.toml"
    path.write_text(f"[store]\nfolder = '{stage.paths.folder}'\n")
    return str(path)


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def label_all(book):
    for number, label in enumerate(GARBAGE_CLASSES, start=1):
        book.give(number, "class", label)


def test_class_folders_with_names_that_stay(book, tmp_path):
    book.give(1, "class", "glass")
    book.give(2, "class", "metal")
    book.give(3, "none")
    book.give(4, "skip")
    done = export_dataset(book, tmp_path / "one")
    assert (done.counts, done.photos, done.none, done.skipped) == ({"glass": 1, "metal": 1}, 2, 1, 1)
    names = {sample.id: sample.file for sample in book.labelled()}
    assert tree(tmp_path / "one") == [f"glass/{names[1]}", f"metal/{names[2]}"]
    book.give(5, "class", "glass")
    done = export_dataset(book, tmp_path / "two", none_as="trash")
    assert set(tree(tmp_path / "one")) < set(tree(tmp_path / "two"))
    assert f"trash/{names[3]}" in tree(tmp_path / "two")
    assert done.none == 0
    assert {sample.id for sample in book.labelled() if sample.exported} == {1, 2, 3, 5}


def test_nothing_is_overwritten(book, tmp_path):
    book.give(1, "class", "glass")
    out = tmp_path / "out"
    out.mkdir()
    export_dataset(book, out)
    before = tree(out)
    with pytest.raises(DataError, match="does not overwrite"):
        export_dataset(book, out)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="does not overwrite"):
        export_dataset(book, tmp_path / "file")
    assert tree(out) == before
    assert (tmp_path / "file").read_text() == "mine"


def test_all_of_it_or_nothing(book, tmp_path, monkeypatch):
    label_all(book)
    copied = []

    def full(source, target):
        copied.append(source)
        if len(copied) == 3:
            raise OSError(28, "No space left on device")
        Path(target).write_bytes(Path(source).read_bytes())

    monkeypatch.setattr("device.samples.dataset.shutil.copyfile", full)
    with pytest.raises(DataError, match="No space"):
        export_dataset(book, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]
    assert not any(sample.exported for sample in book.labelled())


def test_a_picture_that_goes_meanwhile_is_left_out(book, tmp_path):
    book.give(1, "class", "glass")
    book.give(2, "class", "metal")
    book.path(book.sample(2)).unlink()
    done = export_dataset(book, tmp_path / "out")
    assert (done.counts, done.removed) == ({"glass": 1}, 1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["glass"]


def test_nothing_to_export(book, tmp_path):
    book.give(1, "none")
    with pytest.raises(DataError, match="nothing to export"):
        export_dataset(book, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "__cache"])
def test_a_class_that_cannot_be_a_folder(book, tmp_path, name):
    book.give(1, "none")
    with pytest.raises(DataError, match="cannot be a folder"):
        export_dataset(book, tmp_path / "out", none_as=name)
    assert not (tmp_path / "out").exists()


class TestTraining:
    """Through training's own reader."""

    def read(self, data, classes="auto"):
        pytest.importorskip("requests")  # of the extra `train`; its reader of data sets asks for it
        from train.datasets.sources import open_sources

        return open_sources(data, Path("/nowhere"), classes)

    def test_takes_the_folder_as_it_is(self, book, tmp_path):
        label_all(book)
        export_dataset(book, tmp_path / "mine")
        (found,), classes = self.read([str(tmp_path / "mine")])
        assert classes == GARBAGE_CLASSES
        assert [photo.label for photo in found.photos] == list(GARBAGE_CLASSES)
        assert found.kind == "folder"
        assert all(read_image(photo.path).shape == (120, 160, 3) for photo in found.photos)

    def test_takes_it_beside_others_when_classes_are_missing(self, book, tmp_path, photo_folder):
        book.give(1, "class", "glass")
        export_dataset(book, tmp_path / "mine")
        whole = photo_folder(dict.fromkeys(GARBAGE_CLASSES, 2), name="whole")
        found, classes = self.read([str(whole), str(tmp_path / "mine")])
        assert classes == GARBAGE_CLASSES
        assert [len(one.photos) for one in found] == [12, 1]


class TestCommand:
    def test_from_the_list_to_the_folder(self, stage, config, tmp_path, capsys):
        stage.offer(reason="random", share=0.1, classes=GARBAGE_CLASSES)
        assert main(["dataset", "list", "--config", config]) == 0
        out = capsys.readouterr().out
        assert "7 pictures wait for a label" in out
        assert "glass 90%" in out
        for number, label in ((1, "glass"), (2, "none"), (3, "skip"), (7, "metal")):
            assert main(["dataset", "label", str(number), label, "--config", config]) == 0
        capsys.readouterr()
        assert main(["dataset", "list", "--json", "--config", config]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["waiting"], told["waiting_by_reason"]) == (3, {"uncertain": 3})
        assert told["labels"] == {"glass": 1, "metal": 1, "none of the classes": 1, "skipped": 1}
        assert (told["accuracy"]["accepted"]["share"], told["accuracy"]["uncertain"]["share"]) == (0.0, 0.5)
        assert main(["dataset", "list", "--config", config]) == 0
        assert "accepted answers that are right: 0.0%" in capsys.readouterr().out
        assert main(["dataset", "export", "--out", str(tmp_path / "mine"), "--config", config]) == 0
        out = capsys.readouterr().out
        assert "2 pictures" in out
        assert "left out: 1 labelled none, 1 skipped" in out
        assert "no picture of cardboard, paper, plastic, trash" in out
        assert len(tree(tmp_path / "mine")) == 2

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["label", "1", "gold"], "no such class"),
            (["label", "99", "glass"], "no such picture"),
            (["export", "--out", "{tmp}"], "does not overwrite"),
        ],
    )
    def test_what_cannot_be_done_is_said(self, config, tmp_path, capsys, arguments, told):
        words = [word.format(tmp=tmp_path) for word in arguments]
        assert main(["dataset", *words, "--config", config]) == 1
        assert told in capsys.readouterr().err

    def test_no_store_yet(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setenv("SMARTBIN_STORE__FOLDER", str(tmp_path / "none"))
        for words in (["dataset", "list"], ["events"]):
            assert main(words) == 1
            assert "no events here" in capsys.readouterr().err
        assert not (tmp_path / "none").exists()

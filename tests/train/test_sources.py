"""Named data sets and folders, alone and together: where they are found, what their folders mean, what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from smartbin.classes import GARBAGE_CLASSES, RECYCLE_TO_GARBAGE
from smartbin.config import load_settings
from smartbin.errors import CheckpointError, ConfigError, DataError
from tests.train.conftest import FLAGS
from tests.train.sets import write_garbage, write_recycle
from train.checkpoint import load_run
from train.config import TrainConfig, resolve
from train.datasets import sources
from train.datasets.photos import DataSet, open_data
from train.datasets.sources import PARTS, open_known, published_names
from train.datasets.split_record import SPLIT_FILE
from train.fetching.registry import DataSetSpec, data_sets
from train.run import main


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root as `data fetch` leaves it."""
    write_garbage(tmp_path / "sets" / "garbage")
    write_recycle(tmp_path / "sets" / "recycle")
    return tmp_path / "sets"


def opened(root: Path, *data: str, **settings: object) -> DataSet:
    return open_data(TrainConfig.model_validate({"data": data, "data_root": root, **settings}))


def counts(data: DataSet) -> list[int]:
    return [len(data.part(part)) for part in PARTS]


def test_recycle_alone_keeps_its_classes_and_its_own_test_photos(root: Path) -> None:
    data = opened(root, "recycle")
    assert (data.name, data.classes) == ("recycle", tuple(sorted(RECYCLE_TO_GARBAGE)))
    assert counts(data) == [40, 10, 15]
    assert {photo.path.name.split("-")[0] for photo in data.test} == {"test"}
    assert {photo.path.name.split("-")[0] for photo in data.train + data.val} == {"train"}
    assert set(data.counts("val").values()) == {2}


def test_combined_is_both_with_the_classes_of_garbage(root: Path) -> None:
    data = opened(root, "combined")
    assert (data.name, data.classes) == ("combined", GARBAGE_CLASSES)
    assert counts(data) == [36 + 40, 24 + 10, 3 + 15]
    assert data.counts("test") == {"cardboard": 3 + 3, "glass": 3, "metal": 6, "paper": 0, "plastic": 3, "trash": 0}
    of_recycle = [photo for photo in data.photos() if data.source_of(photo) == "recycle"]
    assert {(photo.path.parent.name, photo.label) for photo in of_recycle} == set(RECYCLE_TO_GARBAGE.items())
    assert all(photo.path.name in published_names("val") for photo in data.val if photo not in of_recycle)
    assert data.split == "garbage published, recycle its own test photos, validation seeded (0)"
    assert opened(root, "recycle", "garbage").classes == GARBAGE_CLASSES


def test_every_photo_knows_its_source_and_its_name(root: Path) -> None:
    data = opened(root, "combined")
    names = [data.name_of(photo) for photo in data.photos()]
    assert len(set(names)) == len(names)
    assert {name.split("/")[0] for name in names} == {"garbage", "recycle"}
    assert "recycle/boxes/test-00001.png" in names


def test_recycle_small_is_a_random_subset_with_its_parts_in_proportion(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = opened(root, "recycle-small", min_photos=3)
    assert any("all 65 photos" in note for note in everything.notes)
    monkeypatch.setattr(sources, "GARBAGE_PHOTOS", 39)
    data = opened(root, "recycle-small", min_photos=3)
    assert (len(data.photos()), len(data.test), data.name) == (39, 9, "recycle-small")
    assert "recycle-small: 39 of 65 photos of recycle, drawn at random" in data.notes
    assert set(data.photos()) < set(everything.photos())
    assert set(opened(root, "recycle-small", min_photos=3, seed=3).photos()) == set(
        data.photos()
    )  # seeds train on the same photos
    assert set(data.test) == set(opened(root, "recycle-small", min_photos=3, seed=3).test)
    train_counts = opened(root, "recycle-small", min_photos=3).counts("train")
    assert len(set(train_counts.values())) > 1  # drawn from all, not class by class


def test_own_folder_beside_a_named_set(root: Path, photo_folder: Callable[..., Path]) -> None:
    own = photo_folder({"glass": 10, "soda_cans": 10}, name="my_photos")
    data = opened(root, "garbage", str(own))
    assert (data.name, data.classes) == ("garbage+my_photos", GARBAGE_CLASSES)
    assert data.split == "garbage published, my_photos seeded (0)"
    assert {photo.label for photo in data.photos() if data.source_of(photo) == "my_photos"} == {"glass", "metal"}


def test_any_puts_the_classes_of_garbage_first(root: Path, photo_folder: Callable[..., Path]) -> None:
    own = photo_folder({"apple": 10, "glass": 10}, name="fruit")
    with pytest.raises(DataError, match="unknown class folders") as refused:
        opened(root, "garbage", str(own))
    assert refused.value.found == "apple"
    assert opened(root, "garbage", str(own), classes="any").classes == (*GARBAGE_CLASSES, "apple")
    assert opened(root, str(own), "recycle", classes="any").classes == (
        "cardboard",
        "glass",
        "metal",
        "plastic",
        "apple",
    )


def test_two_folders_of_one_name(tmp_path: Path, photo_folder: Callable[..., Path]) -> None:
    first = photo_folder({"a": 10, "b": 10}, name="one/photos")
    second = photo_folder({"a": 10, "b": 10}, name="two/photos")
    data = opened(tmp_path, str(first), str(second))
    assert [source.name for source in data.sources] == ["photos", "photos-2"]
    assert len({data.name_of(photo) for photo in data.photos()}) == 40


def test_limit_is_per_class_part_and_source(root: Path) -> None:
    data = opened(root, "combined", limit=2)
    for part in ("train", "val"):
        names = [data.source_of(photo) for photo in data.part(part)]
        assert (names.count("garbage"), names.count("recycle")) == (6 * 2, 4 * 2)
    assert "limited to 2 photos per class, part and source" in data.notes


@pytest.mark.parametrize("place", ["root", "garbage", "trashnet"])
def test_places_of_the_garbage_set(root: Path, place: str) -> None:
    """Below the data root, also under its old name; or the data root is the set itself, with recycle beside it."""
    if place == "trashnet":
        (root / "garbage").rename(root / "trashnet")
    chosen = root / "garbage" if place == "garbage" else root
    data = opened(chosen, "combined")
    assert [source.name for source in data.sources] == ["garbage", "recycle"]
    assert data.sources[1].root == root / "recycle"


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (("recycle",), "recycle is absent"),
        (("recycle-small",), "recycle is absent"),
        (("combined",), "recycle is absent"),
        (("garbage", "garbage"), "the same photos would be there twice"),
        (("nowhere",), "no data set here"),
    ],
)
def test_refusals(tmp_path: Path, names: tuple[str, ...], error: str) -> None:
    write_garbage(tmp_path / "sets" / "garbage")
    with pytest.raises(DataError, match=error) as refused:
        opened(tmp_path / "sets", *names)
    if "absent" in error:
        assert "smartbin-train data fetch recycle" in str(refused.value)


def test_folder_inside_another_set(root: Path) -> None:
    with pytest.raises(DataError, match="there twice"):
        opened(root, "recycle", str(root))
    with pytest.raises(DataError, match="there twice"):
        opened(root, "recycle", "recycle-small")


def test_a_folder_of_data_sets_is_no_data_set(root: Path) -> None:
    with pytest.raises(DataError, match="these folders hold folders of photos, not photos") as refused:
        opened(root, str(root))
    assert refused.value.fix == f"instead of this folder write garbage or recycle or combined, and --data-root {root}"
    assert str(refused.value.found).startswith("garbage: cardboard, glass, metal")
    (root / "recycle").rename(root / "trashnet")
    (root / "garbage").rename(root / "photos")
    with pytest.raises(DataError, match=f"write garbage, and --data-root {root}"):
        open_known([str(root)], root, GARBAGE_CLASSES)


def test_folders_inside_class_folders(tmp_path: Path, photo_folder: Callable[..., Path]) -> None:
    """Sessions below a class are read where the folder above is known to be a class; parts above classes are not."""
    photo_folder({"monday": 10, "tuesday": 10}, name="days/glass")
    data = photo_folder({"monday": 10}, name="days/metal").parent
    assert opened(tmp_path, str(data), classes="any").counts("train") == {"glass": 14, "metal": 6}
    photo_folder({"can": 10, "cup": 10}, name="parts/train")
    parts = photo_folder({"can": 10, "cup": 10}, name="parts/val").parent
    with pytest.raises(DataError, match="folders of photos") as refused:
        opened(tmp_path, str(parts))
    assert refused.value.found == "train: can, cup; val: can, cup"
    (parts / "train" / "._can1.jpg").touch()  # no photo
    assert opened(tmp_path, str(parts / "train")).classes == ("can", "cup")
    assert f"such as {parts / 'train'}; or train on these: --classes train,val" in str(refused.value)
    assert opened(tmp_path, str(parts), classes="train,val").classes == ("train", "val")


def test_recycle_with_other_names_is_not_split_as_published(root: Path, tmp_path: Path) -> None:
    (root / "recycle" / "boxes" / "mine.png").write_bytes((root / "recycle" / "boxes" / "test-00001.png").read_bytes())
    with pytest.raises(DataError, match="the published split does not list these photos") as refused:
        opened(root, "recycle")
    assert "train-00001.png" in str(refused.value)
    assert opened(root, "recycle", split="seeded").split == "seeded (0)"
    shutil.rmtree(root / "recycle" / "boxes")
    with pytest.raises(DataError, match="the published split does not list"):
        opened(root, "recycle")


def test_absent_test_part_of_recycle_is_reported(root: Path) -> None:
    for photo in (root / "recycle").rglob("test-*"):
        photo.unlink()
    data = opened(root, "recycle")
    assert counts(data) == [40, 10, 0]
    assert "recycle: its own test photos are not here; nothing replaces them" in data.notes


def test_a_set_that_is_not_whole_says_how_much_of_it_is_here(root: Path, photo_folder: Callable[..., Path]) -> None:
    partial = "recycle: 65 of 11,500 photos are here; nothing replaces the others"
    for name in ("recycle", "recycle-small", "combined", str(root / "recycle")):
        assert partial in opened(root, name, min_photos=3).notes, name
    assert partial in opened(root, "recycle", split="seeded").notes
    assert partial in opened(root, "garbage", extra=["recycle"]).notes
    assert "garbage: 63 of 2,527 photos are here; nothing replaces the others" in opened(root, "garbage").notes
    own = photo_folder({"glass": 10, "paper": 10}, name="mine")
    assert opened(root, str(own), classes="any").notes == ()


def test_a_set_that_is_whole_says_nothing_and_a_larger_one_does(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = data_sets()

    def published(photos: int) -> dict[str, DataSetSpec]:
        return {**sets, "recycle": sets["recycle"].model_copy(update={"counts": {"boxes": photos}})}

    monkeypatch.setattr(sources, "data_sets", lambda: published(65))
    assert opened(root, "recycle").notes == ()
    monkeypatch.setattr(sources, "data_sets", lambda: published(64))
    assert opened(root, "recycle").notes == ("recycle: 65 photos are here, 64 are published",)


def test_data_in_file_environment_and_command_line(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "run.toml"
    file.write_text('data = "garbage"\n')
    assert load_settings(TrainConfig, file).data == ("garbage",)
    file.write_text('data = ["garbage", "mine"]\n')
    config = resolve(load_settings(TrainConfig, file))
    assert config.data == ("garbage", str(Path("mine").resolve()))
    monkeypatch.setenv("SMARTBIN_TRAIN_DATA", "recycle")
    assert load_settings(TrainConfig).data == ("recycle",)
    monkeypatch.setenv("SMARTBIN_TRAIN_DATA", '["recycle", "garbage"]')
    assert load_settings(TrainConfig).data == ("recycle", "garbage")
    file.write_text("data = []\n")
    monkeypatch.delenv("SMARTBIN_TRAIN_DATA")
    with pytest.raises(ConfigError, match="wrong configuration value"):
        load_settings(TrainConfig, file)


@pytest.fixture
def combined_run(root: Path, tmp_path: Path) -> Path:
    out = tmp_path / "combined"
    flags = ["--data", "combined", "--data-root", str(root), "--out", str(out), "--epochs", "1", *FLAGS]
    assert main(flags) == 0
    return out


def test_run_on_several_sources(combined_run: Path, root: Path, tmp_path: Path) -> None:
    run = load_run(combined_run)
    assert run.data == "combined"
    assert [(entry.source, entry.score.photos) for entry in run.metrics.val_sources] == [
        ("garbage", 24),
        ("recycle", 10),
    ]
    assert [entry.score.photos for entry in run.metrics.test_sources] == [3, 15]
    assert sum(entry.score.correct for entry in run.metrics.val_sources) == run.validation.correct
    assert {photo.label for photo in run.photos("train")} <= set(GARBAGE_CLASSES)
    report = (combined_run / "report.md").read_text(encoding="utf-8")
    assert "| val, recycle alone | 10 |" in report
    lines = (combined_run / "predictions.csv").read_text(encoding="utf-8").splitlines()
    assert sorted(line.split(",")[0] for line in lines[1:]) == sorted(run.split.parts["val"])

    shutil.move(root / "recycle", tmp_path / "moved")
    with pytest.raises(CheckpointError, match="photos of the run's val part are gone"):
        run.photos("val")
    with pytest.raises(CheckpointError, match="several sources") as refused:
        run.photos("val", [str(tmp_path / "moved")])
    assert "garbage=FOLDER, recycle=FOLDER" in str(refused.value)
    found = run.photos("val", [f"recycle={tmp_path / 'moved'}"])
    assert sum(photo.path.is_relative_to(tmp_path / "moved") for photo in found) == 10
    assert main(["report", str(combined_run), "--data", f"recycle={tmp_path / 'moved'}"]) == 0


def test_run_resumes_where_its_photos_have_gone(combined_run: Path, root: Path, tmp_path: Path) -> None:
    """The fingerprint is of content and names, not of places."""
    shutil.move(root, tmp_path / "elsewhere")
    assert main(["--resume", str(combined_run), "--data-root", str(tmp_path / "elsewhere")]) == 0
    shutil.move(tmp_path / "elsewhere" / "recycle" / "boxes" / "train-00001.png", tmp_path)
    assert main(["--resume", str(combined_run), "--data-root", str(tmp_path / "elsewhere")]) == 1


def test_evaluation_by_source(combined_run: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--data-root", str(root), "--workers", "0"]
    assert main(["evaluate", str(combined_run), *flags]) == 0
    assert main(["evaluate", str(combined_run), "--data", "combined", *flags]) == 0
    assert main(["evaluate", str(combined_run), "--data", "recycle", *flags]) == 0
    printed = capsys.readouterr().out
    assert "the run was trained on 76 of these 128 photos" in printed
    own, both, one = json.loads((combined_run / "evaluation.json").read_text())["evaluations"]
    assert [entry["score"]["photos"] for entry in own["levels"][0]["sources"]] == [24, 10]
    assert [entry["score"]["photos"] for entry in both["levels"][0]["sources"]] == [63, 65]
    assert (one["data"], one["levels"][0]["sources"], one["trained_on"]) == ("recycle", [], 40)
    metrics = json.loads((combined_run / "metrics.json").read_text())
    assert own["levels"][0]["sources"] == metrics["val_sources"]


def test_record_of_the_first_form_is_read(train_tiny: Callable[..., Path]) -> None:
    path = train_tiny()
    before = load_run(path)
    record = json.loads((path / SPLIT_FILE).read_text())
    first = {key: value for key, value in record.items() if key != "sources"}
    first["root"] = record["sources"][0]["root"]
    first["parts"] = {part: [name.split("/", 1)[1] for name in names] for part, names in record["parts"].items()}
    (path / SPLIT_FILE).write_text(json.dumps(first))
    assert load_run(path).split == before.split
    assert load_run(path).photos("val") == before.photos("val")


def test_extra_pictures_are_trained_on_alone(root: Path, photo_folder: Callable[..., Path]) -> None:
    extra = photo_folder({"glass": 3, "metal": 2}, name="rendered")
    plain, more = opened(root, "garbage"), opened(root, "garbage", extra=str(extra))
    assert (more.val, more.test, more.name) == (plain.val, plain.test, plain.name)
    assert more.train[: len(plain.train)] == plain.train
    assert [(more.source_of(photo), photo.label) for photo in more.train[len(plain.train) :]] == [
        *[("rendered", "glass")] * 3,
        *[("rendered", "metal")] * 2,
    ]
    assert "5 pictures that are trained on alone: rendered" in more.notes
    folds = [opened(root, "garbage", extra=str(extra), split="seeded", folds=2, fold=fold) for fold in (0, 1)]
    assert [sum(one.source_of(photo) == "rendered" for photo in one.train) for one in folds] == [5, 5]
    assert not [photo for one in folds for photo in one.val if one.source_of(photo) == "rendered"]


def test_a_named_set_may_be_extra(root: Path) -> None:
    plain = opened(root, "garbage")
    asked = TrainConfig.model_validate({"data": "garbage", "data_root": root, "extra": "recycle"})
    more = open_data(resolve(asked))
    assert (more.val, more.test) == (plain.val, plain.test)
    added = more.train[len(plain.train) :]
    assert (len(added), {photo.label for photo in added}) == (65, set(RECYCLE_TO_GARBAGE.values()))


def test_extra_pictures_must_be_apart_and_of_the_classes(root: Path, photo_folder: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="the same photos would be there twice"):
        opened(root, "garbage", extra=str(root / "garbage"))
    with pytest.raises(DataError, match="class folders that the run does not know"):
        opened(root, "garbage", extra=str(photo_folder({"toys": 3}, name="others")))


def test_a_run_with_extra_pictures_goes_on_as_it_began(
    photos: Path, photo_folder: Callable[..., Path], tmp_path: Path
) -> None:
    extra = photo_folder({"can": 3}, name="rendered")
    out = tmp_path / "run"
    assert main(["--data", str(photos), "--extra", str(extra), "--out", str(out), "--epochs", "1", *FLAGS]) == 0
    run = load_run(out)
    assert sum(name.startswith("rendered/") for name in run.split.parts["train"]) == 3
    assert len(run.photos("train")) == len(run.split.parts["train"])

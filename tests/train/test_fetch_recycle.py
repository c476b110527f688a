"""The recycle data set's npz: bit by bit what the arrays hold, and a refusal for everything that they must not be."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from smartbin.images import read_image
from tests.train.fetching import (
    RECYCLE_CLASSES,
    Arrays,
    Site,
    files_below,
    npz_bytes,
    recycle_arrays,
    recycle_tar,
    tar_gz,
)
from train.fetching.archive import Limits
from train.fetching.recycle_npz import lay_out_recycle

Fetch = Callable[..., str]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def assert_same_images(folder: Path, arrays: Arrays) -> None:
    for part in ("train", "test"):
        for index, (image, label) in enumerate(zip(arrays[f"x_{part}"], arrays[f"y_{part}"].ravel(), strict=True)):
            file = folder / RECYCLE_CLASSES[label] / f"{part}-{index + 1:05d}.png"
            assert np.array_equal(read_image(file), image[..., ::-1]), file
    written = [path for path in folder.rglob("*") if path.suffix == ".png"]
    assert len(written) == len(arrays["x_train"]) + len(arrays["x_test"])


@pytest.mark.parametrize("compressed", [False, True], ids=["savez", "savez_compressed"])
def test_every_image_comes_through_bit_by_bit(fetch: Fetch, site: Site, data: Path, compressed: bool) -> None:
    arrays = recycle_arrays(train=150, test=70)  # more than two slices
    printed = fetch("recycle", "--url", site.put("recycle.tar.gz", recycle_tar(arrays, compressed=compressed)))
    assert_same_images(data / "recycle", arrays)
    assert "220 of 11,500 photos" in printed
    assert "x_train holds 150 images; 9,200 are known to be published" in printed
    assert "boxes 44 (2300)" in printed
    assert [path.name for path in data.iterdir()] == ["recycle"]


@pytest.mark.parametrize("kind", ["npz", "folder"])
def test_npz_and_folder_by_hand(fetch: Fetch, tmp_path: Path, data: Path, kind: str) -> None:
    arrays = recycle_arrays()
    origin = tmp_path / "by hand" / "recycle_data_shuffled.npz"
    origin.parent.mkdir()
    origin.write_bytes(npz_bytes(arrays))
    fetch("recycle", "--file", str(origin if kind == "npz" else origin.parent))
    assert_same_images(data / "recycle", arrays)


@pytest.mark.parametrize(
    "labels",
    [
        lambda y: y.ravel(),
        lambda y: y.astype(np.uint8),
        lambda y: y.astype(">i4"),
        np.asfortranarray,
    ],
    ids=["flat", "uint8", "big-endian", "by columns"],
)
def test_labels_may_be_any_whole_numbers(
    fetch: Fetch, site: Site, data: Path, labels: Callable[[np.ndarray], np.ndarray]
) -> None:
    arrays = recycle_arrays()
    fetch("recycle", "--url", site.put("a.tar.gz", recycle_tar({**arrays, "y_train": labels(arrays["y_train"])})))
    assert_same_images(data / "recycle", arrays)


def replaced(**new: np.ndarray) -> Arrays:
    return {**recycle_arrays(), **new}


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"x_train": recycle_arrays()["x_train"]}, "y_train, x_test, y_test"),
        ({}, "x_train, y_train, x_test, y_test"),
        (replaced(x_train=np.zeros((12, 64, 64, 3), np.uint8)), "uint8 [12, 64, 64, 3]"),
        (replaced(x_train=np.zeros((12, 128, 128), np.uint8)), "uint8 [12, 128, 128]"),
        (replaced(x_train=np.zeros((12, 3, 128, 128), np.uint8)), "uint8 [12, 3, 128, 128]"),
        (replaced(x_test=np.zeros((5, 128, 128, 3), np.float32)), "float32 [5, 128, 128, 3]"),
        (replaced(x_test=np.asfortranarray(recycle_arrays()["x_test"])), "column by column"),
        (replaced(x_test=np.zeros((6, 128, 128, 3), np.uint8)), "6 images"),
        (replaced(y_test=np.full((5, 1), 5)), "labels from 5 to 5"),
        (replaced(y_train=np.full((12, 1), -1)), "labels from -1 to -1"),
        (replaced(y_train=np.zeros((12, 1))), "float64 [12, 1]"),
        (replaced(y_train=np.zeros((12, 2), np.int64)), "int64 [12, 2]"),
        (replaced(y_train=np.zeros((), np.int64)), "int64 []"),
        (replaced(y_test=np.zeros((0, 1), np.int64)), "int64 [0, 1]"),
        (replaced(y_train=np.zeros((12, 1), np.int64)), "no label of glass_bottles, soda_cans"),
        (replaced(y_train=np.zeros((12,), [("label", "i4")])), "[('label', '<i4')] [12]"),
    ],
)
def test_wrong_arrays_are_refused(fetch: Fetch, site: Site, tmp_path: Path, arrays: Arrays, expected: str) -> None:
    assert expected in fetch("recycle", "--url", site.put("a.tar.gz", recycle_tar(arrays)), code=1)
    assert list(files_below(tmp_path)) == []


@pytest.mark.parametrize("form", ["npz", "tar", "folder"])
@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        (replaced(y_test=np.full((5, 1), 5)), "the array y_test is not what it must be"),
        ({"x_train": np.zeros(3)}, "arrays are missing"),
    ],
)
def test_refusals_name_the_file_that_was_given(
    fetch: Fetch, tmp_path: Path, form: str, arrays: Arrays, expected: str
) -> None:
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / ("a.tar.gz" if form == "tar" else "a.npz")
    file.write_bytes(recycle_tar(arrays) if form == "tar" else npz_bytes(arrays))
    error = fetch("recycle", "--file", str(file.parent if form == "folder" else file), code=1)
    assert expected in error
    assert f"where: {file}\n" in error
    assert "what to do: is this the right archive?" in error


@pytest.mark.parametrize("form", ["zip", "tar", "folder"])
def test_another_archive_is_not_listed_whole(fetch: Fetch, tmp_path: Path, form: str) -> None:
    """As somebody has it who gives garbage's archive; or a tar and a folder with several npz files."""
    (tmp_path / "in").mkdir()
    names = [f"dataset-resized/glass/{number}.{'jpg' if form == 'zip' else 'npz'}" for number in range(300)]
    file = tmp_path / "in" / f"g.{form}"
    if form == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            for name in names:
                archive.writestr(name, b"")
    elif form == "tar":
        file.write_bytes(tar_gz(dict.fromkeys(names, b"")))
    else:
        file = tmp_path / "in"
        for name in names:
            (file / name).parent.mkdir(parents=True, exist_ok=True)
            (file / name).touch()
    error = fetch("recycle", "--file", str(file), code=1)
    assert " and 295 more\n" in error
    assert error.count("dataset-resized/glass/") == 5
    assert "what to do: is this the right archive? It is recycle_data_shuffled.tar.gz" in error


class _Payload:
    """Unpickled, it makes a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return Path.touch, (self._file,)  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["x_train", "y_train", "y_test"])
def test_nothing_is_unpickled(fetch: Fetch, site: Site, tmp_path: Path, name: str) -> None:
    objects = np.array([_Payload(tmp_path / "ran")] * 12, dtype=object)
    error = fetch("recycle", "--url", site.put("a.tar.gz", recycle_tar(replaced(**{name: objects}))), code=1)
    assert "which only unpickling could read" in error
    assert list(files_below(tmp_path)) == []


def test_missing_test_class_is_a_note(fetch: Fetch, site: Site) -> None:
    arrays = replaced(y_test=np.array([[0], [1], [2], [2], [4]]))
    printed = fetch("recycle", "--url", site.put("a.tar.gz", recycle_tar(arrays)))
    assert "the test part has no crushed_soda_cans" in printed


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"readme.txt": b"no arrays"}, "no npz file here"),
        ({"a.npz": npz_bytes(recycle_arrays()), "b.npz": npz_bytes(recycle_arrays())}, "several npz files here"),
        ({"a.npz": b"no npz"}, "the npz is damaged"),
        ({"a.npz": npz_bytes(recycle_arrays())[:-300_000]}, "the npz is damaged"),
    ],
)
def test_tar_without_the_npz(
    fetch: Fetch, site: Site, tmp_path: Path, members: dict[str, bytes], expected: str
) -> None:
    assert expected in fetch("recycle", "--url", site.put("a.tar.gz", tar_gz(members)), code=1)
    assert list(files_below(tmp_path)) == []


def test_junk_of_macos_beside_the_npz(fetch: Fetch, site: Site, data: Path) -> None:
    arrays = recycle_arrays()
    members = {"./._recycle.npz": b"junk", "./recycle/recycle.npz": npz_bytes(arrays)}
    fetch("recycle", "--url", site.put("a.tar.gz", tar_gz(members)))
    assert_same_images(data / "recycle", arrays)


def npz_with(name: str, change: Callable[[bytes], bytes]) -> bytes:
    """An npz of which one array's bytes are changed, with fitting check sums."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(npz_bytes(recycle_arrays()))) as old, zipfile.ZipFile(buffer, "w") as new:
        for member in old.namelist():
            data = old.read(member)
            new.writestr(member, change(data) if member == f"{name}.npy" else data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("x_train", lambda data: data[:-1], "fewer values than its shape says"),
        ("x_test", lambda data: data + b"\0", "more values than its shape says"),
        ("y_train", lambda data: data[:-8], "fewer values than its shape says"),
        ("x_train", lambda data: b"\x93NUMPX" + data[6:], "the npz is damaged"),
        ("x_train", lambda data: data[:6] + b"\x09\x00" + data[8:], "the npz is damaged"),
        ("y_test", lambda data: data[:20], "the npz is damaged"),
        ("y_test", lambda data: data.replace(b"(5, 1)", b"f(1)  "), "the npz is damaged"),
    ],
)
def test_damaged_array(
    fetch: Fetch, tmp_path: Path, name: str, change: Callable[[bytes], bytes], expected: str
) -> None:
    file = tmp_path / "a.npz"
    file.write_bytes(npz_with(name, change))
    assert expected in fetch("recycle", "--file", str(file), code=1)
    assert list(files_below(tmp_path)) == ["a.npz"]


def test_bit_that_flipped_is_seen(fetch: Fetch, tmp_path: Path) -> None:
    npz = bytearray(npz_bytes(recycle_arrays()))
    npz[len(npz) // 2] ^= 1
    (tmp_path / "a.npz").write_bytes(npz)
    assert "Bad CRC-32" in fetch("recycle", "--file", str(tmp_path / "a.npz"), code=1)


def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    def peak(images: int) -> int:
        folder = tmp_path / str(images)
        folder.mkdir()
        (tmp_path / "a.npz").write_bytes(npz_bytes(recycle_arrays(train=images)))
        tracemalloc.start()
        lay_out_recycle(tmp_path / "a.npz", folder, tmp_path, RECYCLE_CLASSES, Limits(10**6, 10**9))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    few, many = peak(130), peak(390)
    assert many < 390 * 128 * 128 * 3 / 1.5  # less than the array
    assert many - few < 1_000_000

"""Decoded photos in a memory-mapped file: built once, shared, checked, and never trusted blindly."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from smartbin.errors import DataError
from smartbin.images import BgrImage, LabelledPhoto, list_images, read_image
from tests.conftest import REPOSITORY, draw_photo
from train.cache import photo_index, reading
from train.cache.photo_cache import CacheUnusableError, PhotoCache
from train.cache.photo_map import DamagedMap, MapWriter, PhotoMap
from train.cache.reading import CacheMode, PhotoStore, open_photos, read_photos
from train.machine_config import Machine
from train.run import main

Read = Callable[..., PhotoStore]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.fixture
def listed(photos: Path) -> list[LabelledPhoto]:
    return [LabelledPhoto(path, path.parent.name) for path in list_images(photos)]


@pytest.fixture
def read(listed: list[LabelledPhoto], cache: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Read the photos with the cache of the test, as if they had been there for a while."""
    monkeypatch.setattr(photo_index, "_SETTLED_NS", -(10**12))

    def run(mode: CacheMode = "map", **settings: object) -> PhotoStore:
        return read_photos(listed, mode, folder=cache, **settings)  # type: ignore[arg-type]

    return run


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, opening a photo fails the test."""

    def forbid() -> None:
        monkeypatch.setattr(reading, "_read", lambda path: pytest.fail(f"{path} was read"))
        monkeypatch.setattr(reading, "read_image", lambda path: pytest.fail(f"{path} was read"))

    return forbid


def maps_in(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "maps").iterdir() if path.is_dir())


def assert_right(store: PhotoStore, listed: list[LabelledPhoto]) -> None:
    assert len(store.digests) == len(listed) == 37
    for photo in listed:
        assert np.array_equal(store.image(photo.path), read_image(photo.path))


def test_second_start_reads_nothing_but_the_map(
    read: Read, listed: list[LabelledPhoto], no_reading: Callable[[], None]
) -> None:
    first = read()
    assert_right(first, listed)
    expected = [first.image(photo.path).copy() for photo in listed]
    no_reading()
    second = read()
    assert second.digests == first.digests
    assert all(np.array_equal(second.image(photo.path), image) for photo, image in zip(listed, expected, strict=True))


def test_without_a_map_unchanged_files_are_not_read_again_either(
    read: Read, no_reading: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read("none")
    assert first.cached is None
    with monkeypatch.context() as patch:
        patch.setattr(reading, "_read", lambda path: pytest.fail(f"{path} was read"))
        assert read("none").digests == first.digests


def test_mapped_photos_cannot_be_written_to(read: Read, listed: list[LabelledPhoto]) -> None:
    image = read().image(listed[0].path)
    with pytest.raises(ValueError, match="read-only"):
        image[0, 0] = 0


def test_changed_photo_is_noticed_even_with_its_old_size_and_time(read: Read, listed: list[LabelledPhoto]) -> None:
    path = listed[3].path
    before = read().digests[path]
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    store = read()
    assert store.digests[path] != before
    assert_right(store, listed)


def test_file_that_has_only_just_been_written_is_read_again(
    read: Read, listed: list[LabelledPhoto], monkeypatch: pytest.MonkeyPatch, no_reading: Callable[[], None]
) -> None:
    monkeypatch.setattr(photo_index, "_SETTLED_NS", 10**15)
    read()
    no_reading()
    with pytest.raises(pytest.fail.Exception, match="was read"):
        read()


def test_map_of_more_photos_serves_fewer(read: Read, listed: list[LabelledPhoto], cache: Path) -> None:
    read()
    few = read_photos(listed[5:9], "map", folder=cache)
    assert len(maps_in(cache)) == 1
    assert few.cached is not None
    assert few.cached.folder == maps_in(cache)[0]
    more = read_photos([*listed, LabelledPhoto(_drawn(cache.parent / "new.png"), "can")], "map", folder=cache)
    assert len(maps_in(cache)) == 2
    assert more.image(cache.parent / "new.png").shape == (48, 64, 3)


def _drawn(path: Path, height: int = 48, width: int = 64) -> Path:
    cv2.imwrite(str(path), draw_photo(7, height, width))
    return path


def test_copies_of_a_photo_take_no_room(read: Read, listed: list[LabelledPhoto]) -> None:
    listed[1].path.write_bytes(listed[0].path.read_bytes())
    store = read()
    assert_right(store, listed)
    assert store.cached is not None
    assert len(store.cached) == 36


def _flip_a_byte(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 0xFF
    file.write_bytes(data)


def test_damaged_pixels_are_noticed_on_use_and_the_map_is_built_again(
    read: Read, listed: list[LabelledPhoto], cache: Path
) -> None:
    read()
    (folder,) = maps_in(cache)
    for place in range(0, 37 * 48 * 64 * 3, 48 * 64 * 3 * 5):
        _flip_a_byte(folder / "pixels.u8", place + 11)
    assert_right(read(), listed)  # from the files, where the map is wrong
    assert (folder / "damaged").exists()
    assert_right(read(), listed)
    assert not (folder / "damaged").exists()
    assert all(PhotoMap(folder).image(digest) is not None for digest in set(read().digests.values()))


def test_verify_finds_damaged_pixels_at_the_start(
    read: Read, listed: list[LabelledPhoto], cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read()
    _flip_a_byte(maps_in(cache)[0] / "pixels.u8", 1234)
    store = read(verify=True)
    assert "damaged and is built again" in capsys.readouterr().out
    assert store.cached is not None
    assert store.cached.check()
    assert_right(store, listed)


def test_verify_reads_every_file(read: Read, no_reading: Callable[[], None]) -> None:
    read()
    no_reading()
    with pytest.raises(pytest.fail.Exception, match="was read"):
        read(verify=True)


@pytest.mark.parametrize("name", ["map.json", "photos.npy", "pixels.u8"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_damaged_map_is_refused_and_built_again(
    read: Read, listed: list[LabelledPhoto], cache: Path, name: str, damage: str
) -> None:
    read()
    file = maps_in(cache)[0] / name
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-10])
    elif damage == "gone":
        file.unlink()
    else:
        _flip_a_byte(file, 40)
    if not (name == "pixels.u8" and damage == "flipped"):  # which only shows on use, see above
        with pytest.raises(DamagedMap):
            PhotoMap(file.parent)
    assert_right(read(), listed)
    assert_right(read(), listed)
    assert PhotoMap(file.parent).check()


def test_damaged_index_is_left_aside(read: Read, listed: list[LabelledPhoto], cache: Path) -> None:
    digests = read().digests
    for file in (cache / "index").iterdir():
        text = file.read_text(encoding="utf-8")
        place = text.index(digests[listed[0].path]) if digests[listed[0].path] in text else 100
        file.write_text(text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :], encoding="utf-8")
    assert read().digests == digests


def test_broken_photo_leaves_no_map(read: Read, listed: list[LabelledPhoto], cache: Path) -> None:
    listed[2].path.write_bytes(listed[2].path.read_bytes()[:-100])
    with pytest.raises(DataError, match="1 of 37 photos cannot be read"):
        read()
    assert maps_in(cache) == []
    assert list((cache / "maps").glob(".*")) == []


_KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from train.cache.photo_cache import PhotoCache
def decoded():
    for number in range(20):
        yield f"{number:064x}", np.full((48, 64, 3), number, np.uint8)
    os.kill(os.getpid(), signal.SIGKILL)
PhotoCache(Path(sys.argv[1]), 10**9).build(frozenset(f"{number:064x}" for number in range(30)), 0, lambda: 1, decoded)
"""


def test_kill_half_way_leaves_no_map_and_no_lock(cache: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", _KILLED, cache], cwd=REPOSITORY, check=False)
    assert killed.returncode == -9
    assert len(left := maps_in(cache)) == 1
    assert left[0].name.startswith(".")  # half a map under a name that nobody looks at
    images = {f"{number:064x}": draw_photo(number) for number in range(30)}
    keeper = PhotoCache(cache, 10**9)
    assert keeper.find(frozenset(images), 0) is None
    built = keeper.build(frozenset(images), 0, lambda: 1, lambda: iter(images.items()))
    assert all(np.array_equal(built.image(digest), image) for digest, image in images.items())
    assert maps_in(cache) == [built.folder]


def test_two_builders_at_once_build_once(cache: Path) -> None:
    """The second one waits for the first and then takes its map."""
    images = {f"{number:064x}": draw_photo(number) for number in range(4)}
    begun, go_on = threading.Event(), threading.Event()
    built: list[str] = []

    def decoded(name: str) -> Callable[[], Iterator[tuple[str, BgrImage]]]:
        def photos() -> Iterator[tuple[str, BgrImage]]:
            built.append(name)
            begun.set()
            assert go_on.wait(60)
            yield from images.items()

        return photos

    found: list[PhotoMap] = []

    def build(name: str) -> None:
        found.append(PhotoCache(cache, 10**9).build(frozenset(images), 0, lambda: 1, decoded(name)))

    first, second = threading.Thread(target=build, args=["first"]), threading.Thread(target=build, args=["second"])
    first.start()
    assert begun.wait(60)
    second.start()
    go_on.set()
    first.join(60)
    second.join(60)
    assert built == ["first"]
    assert [one.folder for one in found] == [found[0].folder] * 2
    assert all(np.array_equal(found[1].image(digest), image) for digest, image in images.items())


def test_too_little_room(
    read: Read, listed: list[LabelledPhoto], cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match="cannot be cached"):
        read("map", limit_gb=1e-4)
    store = read("auto", limit_gb=1e-4)
    assert store.cached is None
    assert "more than --cache-gb 0.0001" in capsys.readouterr().out
    assert_right(store, listed)


def test_large_sets_are_cached_for_training_not_for_measuring(
    listed: list[LabelledPhoto], cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reading, "_WORTH_GB", 1e-4)
    machine = Machine(cache_dir=cache)
    assert open_photos(listed, machine).cached is None
    assert "--cache map keeps them nevertheless" in capsys.readouterr().out
    assert open_photos(listed, machine, 640).cached is not None
    assert open_photos(listed, machine).cached is not None  # since it is there
    kept = open_photos(listed, Machine(cache_dir=cache / "other", cache="map"))
    assert kept.cached is not None


def test_photos_larger_than_estimated_stop_at_the_limit(cache: Path) -> None:
    images = [(f"{number:064x}", draw_photo(number)) for number in range(9)]
    with pytest.raises(CacheUnusableError, match="more than"):
        PhotoCache(cache, 20_000).build(frozenset(d for d, _ in images), 0, lambda: 1, lambda: iter(images))
    assert maps_in(cache) == []


def test_folder_that_cannot_be_written(
    listed: list[LabelledPhoto], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_index, "_SETTLED_NS", -(10**12))
    (tmp_path / "file").write_text("in the way")
    store = read_photos(listed, "auto", folder=tmp_path / "file" / "cache")
    assert_right(store, listed)
    assert "decoded every time" in (printed := capsys.readouterr().out)
    assert "hashed at every start" in printed
    with pytest.raises(DataError, match="cannot be cached"):
        read_photos(listed, "map", folder=tmp_path / "file" / "cache")


def test_what_was_not_used_for_longest_makes_room(cache: Path) -> None:
    image = draw_photo(0)
    keeper = PhotoCache(cache, round(2.5 * image.nbytes))
    for number in range(3):
        digest = f"{number:064x}"
        keeper.build(frozenset([digest]), 0, lambda: image.nbytes, lambda d=digest: iter([(d, image)]))  # type: ignore[misc]
        for age, stored in enumerate(keeper.stored()):
            os.utime(stored.path / "map.json", (1e9 - age, 1e9 - age))
    assert [keeper.find(frozenset([f"{number:064x}"]), 0) is None for number in range(3)] == [True, False, False]


def test_large_photos_are_shrunk_for_training_only(tmp_path: Path, cache: Path) -> None:
    photo = LabelledPhoto(_drawn(tmp_path / "large.png", 300, 400), "can")
    mapped, direct = (read_photos([photo], mode, side=100, folder=cache) for mode in ("map", "none"))  # type: ignore[arg-type]
    assert mapped.training_image(photo.path).shape == (75, 100, 3)
    assert np.array_equal(mapped.training_image(photo.path), direct.training_image(photo.path))
    assert np.array_equal(mapped.image(photo.path), read_image(photo.path))
    other = read_photos([photo], "map", side=200, folder=cache)
    assert other.training_image(photo.path).shape == (150, 200, 3)
    assert read_photos([photo], "map", folder=cache).training_image(photo.path).shape == (300, 400, 3)


def test_photos_within_the_side_are_shared_by_all_settings(read: Read, cache: Path) -> None:
    read(side=640)
    read(side=704)
    read()
    assert len(maps_in(cache)) == 1


def test_map_in_another_process_by_pickle(read: Read, listed: list[LabelledPhoto]) -> None:
    assert_right(pickle.loads(pickle.dumps(read())), listed)  # noqa: S301  # our own


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs /proc/self/smaps")
def test_resident_memory_stays_small_however_large_the_map(cache: Path) -> None:
    image = np.arange(1000 * 1000 * 3, dtype=np.uint8).reshape(1000, 1000, 3)
    digests = [f"{number:064x}" for number in range(40)]
    opened = PhotoCache(cache, 10**9).build(
        frozenset(digests), 0, lambda: 1, lambda: ((digest, image) for digest in digests)
    )
    for digest in digests:
        assert np.array_equal(opened.image(digest), image)
    resident_kb = 0
    lines = iter(Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines())
    for line in lines:
        if "pixels.u8" in line:
            resident_kb += int(next(text for text in lines if text.startswith("Rss:")).split()[1])
    assert 0 < resident_kb < 40_000  # of 120,000


def test_unfinished_map_is_none(tmp_path: Path) -> None:
    writer = MapWriter(tmp_path, 0)
    writer.add("0" * 64, draw_photo(0))
    writer.close()
    with pytest.raises(DamagedMap):
        PhotoMap(tmp_path)


def test_cache_is_listed_and_cleared(
    train_tiny: Callable[..., Path], cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_tiny("--cache-dir", str(cache), "--cache", "map")
    assert "mapped from" in capsys.readouterr().out
    assert main(["cache", "--cache-dir", str(cache)]) == 0
    assert "1 maps" in capsys.readouterr().out
    assert main(["cache", "clear", "--cache-dir", str(cache)]) == 0
    assert main(["cache", "--cache-dir", str(cache)]) == 0
    assert "0 maps" in capsys.readouterr().out


def test_shrunk_training_photos_give_the_same_run_with_and_without_the_cache(
    train_tiny: Callable[..., Path], cache: Path
) -> None:
    def weights(*flags: str, name: str) -> dict[str, torch.Tensor]:
        return load_file(train_tiny("--epochs", "1", "--limit", "4", *flags, name=name) / "model.safetensors")

    direct = weights("--photo-side", "40", "--cache", "none", name="direct")
    mapped = weights("--photo-side", "40", "--cache", "map", "--cache-dir", str(cache), name="mapped")
    whole = weights(name="whole")
    assert [name for name in direct if not torch.equal(direct[name], mapped[name])] == []
    assert not torch.equal(direct["fc.weight"], whole["fc.weight"])

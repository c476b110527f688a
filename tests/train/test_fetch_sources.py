"""Several sources: Kaggle first where kagglehub is there, the next one when one fails, each with its own hash."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from smartbin.classes import GARBAGE_CLASSES
from smartbin.errors import DataError
from tests.train.fetching import Fault, Site, files_below, garbage_photos, trashnet_zip
from train.fetching import registry as data_registry
from train.fetching.kaggle_hub import KaggleHub

Fetch = Callable[..., str]
HANDLE = "asdasdasasdas/garbage-classification/versions/2"


@dataclass
class FakeKaggle:
    """Kaggle's library as it behaves: it returns a folder of its own cache, or raises."""

    folder: Path
    installed: bool = True
    error: DataError | None = None
    asked: list[str] = field(default_factory=list)

    def available(self) -> bool:
        return self.installed

    def download(self, handle: str) -> Path:
        self.asked.append(handle)
        if self.error:
            raise self.error
        return self.folder

    def put(self, photos: dict[str, bytes]) -> None:
        """Laid out as Kaggle's version 2."""
        for name, content in photos.items():
            file = self.folder / "Garbage classification" / "Garbage classification" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        (self.folder / "one-indexed-files.txt").write_text("glass1.jpg 1")


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKaggle:
    fake = FakeKaggle(tmp_path / "cache")
    fake.put(garbage_photos())
    monkeypatch.setattr("train.fetching.fetch.KaggleHub", lambda: fake)
    return fake


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


ARCHIVE = trashnet_zip()
HASH = hashlib.sha256(ARCHIVE).hexdigest()
MIRROR = trashnet_zip(more={"README.txt": b"the same photos in another archive"})
MIRROR_HASH = hashlib.sha256(MIRROR).hexdigest()


@pytest.fixture
def registry(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The shipped registry, with the test server's files in the place of the real ones."""
    counts = ", ".join(f"{name} = 2" for name in GARBAGE_CLASSES)
    text = f"""
[garbage]
about = "photos"
counts = {{ {counts} }}
most_files = 100
most_bytes = 1_000_000
room_bytes = 1_000_000
[[garbage.sources]]
name = "kaggle"
kaggle = "{HANDLE}"
[[garbage.sources]]
name = "trashnet"
url = "{site.put("trashnet.zip", ARCHIVE)}"
size = {len(ARCHIVE)}
sha256 = "{HASH}"
[[garbage.sources]]
name = "trashnet-mirror"
url = "{site.put("mirror.zip", MIRROR)}"
size = {len(MIRROR)}
sha256 = "{MIRROR_HASH}"
"""
    (tmp_path / "sources.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(data_registry, "FILE", tmp_path / "sources.toml")
    data_registry.data_sets.cache_clear()
    yield
    data_registry.data_sets.cache_clear()


pytestmark = pytest.mark.usefixtures("registry")


def record_in(data: Path) -> dict[str, object]:
    record: dict[str, object] = json.loads((data / "garbage" / "dataset.json").read_text(encoding="utf-8"))
    return record


def test_kaggle_comes_first(fetch: Fetch, kaggle: FakeKaggle, site: Site, data: Path) -> None:
    printed = fetch("garbage")
    assert kaggle.asked == [HANDLE]
    assert site.requests == []
    assert set(files_below(data / "garbage")) == {*garbage_photos(), "dataset.json"}
    record = record_in(data)
    assert (record["source"], record["archive_sha256"]) == ("kaggle", None)
    assert "note" not in printed  # the counts are the published ones
    assert files_below(kaggle.folder)  # its cache is its own


def test_without_kagglehub_the_repository_is_asked(fetch: Fetch, kaggle: FakeKaggle, data: Path) -> None:
    kaggle.installed = False
    printed = fetch("garbage")
    assert "kagglehub is not installed (pip install 'smartbin[data]')" in printed
    assert "which is what is recorded for trashnet" in printed
    assert record_in(data)["archive_sha256"] == HASH


def test_when_kaggle_fails_the_repository_is_asked(fetch: Fetch, kaggle: FakeKaggle, data: Path) -> None:
    kaggle.error = DataError("Kaggle does not give the data set", found="403 Client Error.")
    assert "Kaggle does not give the data set (403 Client Error.)" in fetch("garbage")
    assert record_in(data)["source"] == "trashnet"


def test_photos_of_kaggle_that_are_none(fetch: Fetch, kaggle: FakeKaggle, data: Path) -> None:
    kaggle.put({"glass/glass1.jpg": b"no photo"})
    assert "1 of 12 photos cannot be read" in fetch("garbage")
    assert record_in(data)["source"] == "trashnet"


@pytest.mark.parametrize("fault", ["gone", "another file"])
def test_mirror_is_asked_when_the_repository_fails(
    fetch: Fetch, kaggle: FakeKaggle, site: Site, data: Path, fault: str
) -> None:
    kaggle.installed = False
    if fault == "gone":
        site.files["/trashnet.zip"].plan.append(Fault(status=410))
    else:
        site.put("trashnet.zip", ARCHIVE[:-1] + b"!")
    printed = fetch("garbage")
    assert ("410" if fault == "gone" else "another hash than the one recorded") in printed
    assert record_in(data)["archive_sha256"] == MIRROR_HASH
    assert [path.name for path in data.iterdir()] == ["garbage"]


def test_all_sources_fail(fetch: Fetch, kaggle: FakeKaggle, site: Site, data: Path) -> None:
    kaggle.error = DataError("Kaggle does not give the data set", found="no network")
    site.files.clear()
    error = fetch("garbage", code=1)
    assert "garbage cannot be had from any source" in error
    assert "kaggle: Kaggle does not give the data set (no network)" in error
    assert error.count("404") == 4  # two sources, as they fail and in the end
    assert "--file FILE" in error
    assert not data.exists()


def test_full_disk_is_not_blamed_on_the_source(
    fetch: Fetch, kaggle: FakeKaggle, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("train.fetching.class_photos.shutil.copyfile", full)
    assert "No space left on device" in fetch("garbage", code=1)
    assert site.requests == []


@pytest.mark.parametrize(("source", "sha256"), [("trashnet", HASH), ("trashnet-mirror", MIRROR_HASH)], ids=["a", "b"])
def test_one_source_or_one_hash_can_be_asked_for(
    fetch: Fetch, kaggle: FakeKaggle, site: Site, data: Path, source: str, sha256: str
) -> None:
    fetch("garbage", "--source", source)
    assert record_in(data)["archive_sha256"] == sha256
    fetch("garbage", "--sha256", sha256, "--force")
    assert record_in(data)["source"] == source
    assert len(site.requests) == 2
    assert kaggle.asked == []


def test_hash_that_was_vouched_for_overrides_the_recorded_one(
    fetch: Fetch, kaggle: FakeKaggle, site: Site, data: Path
) -> None:
    other = trashnet_zip(garbage_photos(3))
    site.put("trashnet.zip", other)
    assert "another size than the one recorded" in fetch("garbage", "--source", "trashnet", code=1)
    fetch("garbage", "--sha256", hashlib.sha256(other).hexdigest())
    assert record_in(data)["counts"] == dict.fromkeys(GARBAGE_CLASSES, 3)
    assert "no archive that could have a hash" in fetch(
        "garbage", "--source", "kaggle", "--sha256", HASH, "--force", code=1
    )


def test_kaggles_photos_must_stay_what_they_were(fetch: Fetch, kaggle: FakeKaggle, data: Path) -> None:
    fetch("garbage", "--source", "kaggle")
    before = files_below(data)
    kaggle.put({"glass/glass3.jpg": garbage_photos()["glass/glass2.jpg"]})
    error = fetch("garbage", "--source", "kaggle", "--force", code=1)
    assert "13 photos, hash" in error
    assert "12 photos, hash" in error
    assert files_below(data) == before


def test_missing_kagglehub_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, fetch: Fetch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "kagglehub", None)
    assert "pip install 'smartbin[data]'" in fetch("garbage", "--source", "kaggle", code=1)


def test_call_fits_the_real_kagglehub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kagglehub = pytest.importorskip("kagglehub", reason="kagglehub is not installed")
    from kagglehub.handle import parse_dataset_handle

    assert KaggleHub().available()
    inspect.signature(kagglehub.dataset_download).bind(HANDLE)
    assert parse_dataset_handle(HANDLE).version == 2
    monkeypatch.setattr(kagglehub, "dataset_download", lambda handle: str(tmp_path / handle))
    assert KaggleHub().download(HANDLE) == tmp_path / HANDLE


@pytest.mark.parametrize("name", ["ConnectionError", "UnauthenticatedError", "DataCorruptionError", "ValueError"])
def test_faults_of_the_real_kagglehub_are_explained(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    kagglehub = pytest.importorskip("kagglehub", reason="kagglehub is not installed")
    import requests
    from kagglehub import exceptions

    known = {"ConnectionError": requests.ConnectionError, "ValueError": ValueError}
    fault = known[name] if name in known else getattr(exceptions, name)

    def fail(_: str) -> str:
        raise fault("not today\nand more")

    monkeypatch.setattr(kagglehub, "dataset_download", fail)
    with pytest.raises(DataError, match="Kaggle does not give") as caught:
        KaggleHub().download(HANDLE)
    assert caught.value.found == "not today"
    assert "KAGGLE_API_TOKEN" in str(caught.value)

"""Where a data set is taken from: the sources to try, and what each gives, at hand on this machine.

Called by `train/fetching/fetch.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smartbin.errors import DataError
from train.console import say
from train.fetching.archive import TAR_STARTS, ZIP_STARTS
from train.fetching.command import FetchCommand
from train.fetching.disk import sha256_of
from train.fetching.download import Remote, download
from train.fetching.fetched_set import FetchRecord
from train.fetching.kaggle_hub import KaggleClient
from train.fetching.place import archive_place
from train.fetching.registry import DataSetSpec, SourceSpec


@dataclass(frozen=True, slots=True)
class FetchTask:
    """One data set to fetch: what is known of it, what was asked for, what was there before, where downloads go."""

    name: str
    spec: DataSetSpec
    command: FetchCommand
    before: FetchRecord | None
    downloads: Path

    @property
    def folder(self) -> Path:
        """Where it shall be."""
        return self.command.root / self.name


@dataclass(frozen=True, slots=True)
class Origin:
    """What a data set is made from: a file or folder at hand, and where it came from."""

    source: str
    place: str
    path: Path
    archive_bytes: int | None = None
    archive_sha256: str | None = None


def choose_sources(task: FetchTask, kaggle: KaggleClient) -> list[SourceSpec]:
    """The sources to try, in this order. A hash that was asked for can be had of archives only."""
    command = task.command
    if command.url:
        return [SourceSpec(name="url", url=command.url, sha256=command.sha256)]
    if command.source:
        sources = [source for source in task.spec.sources if source.name == command.source]
    else:
        sources = [source for source in task.spec.sources if not source.kaggle or kaggle.available()]
        if len(sources) < len(task.spec.sources):
            say("Kaggle is not asked: kagglehub is not installed (pip install 'smartbin[data]')")
    if command.sha256 is None:
        return sources
    archives = [source for source in sources if source.url]
    if not archives:
        raise DataError(
            "Kaggle gives no archive that could have a hash", found="--sha256", fix="another --source, or --url"
        )
    if fitting := [source for source in archives if source.sha256 == command.sha256]:
        return fitting
    return [archives[0].model_copy(update={"sha256": command.sha256, "size": None})]


def obtain(task: FetchTask, source: SourceSpec, kaggle: KaggleClient) -> Origin:
    """Download, or take up an archive that was downloaded whole before the last try was killed."""
    say(f"{task.name} from {source.name}: {source.place}")
    if source.kaggle:
        return Origin(source.name, source.place, kaggle.download(source.kaggle))
    known = task.before.archive_sha256 if task.before and task.before.place == source.place else None
    wanted = source.sha256 or known
    target = archive_place(task.downloads, task.name, source.url)
    if not (target.exists() and wanted in (None, sha256_of(target))):
        remote = Remote(
            url=source.url,
            starts=ZIP_STARTS if task.spec.layout == "photos" else (*TAR_STARTS, *ZIP_STARTS),
            expected="a zip file" if task.spec.layout == "photos" else "a tar.gz file, or the npz out of it",
            most_bytes=task.spec.most_bytes,
            room_bytes=task.spec.room_bytes,
            size=source.size,
            sha256=wanted,
        )
        download(remote, target, task.command.patience)
    return Origin(source.name, source.place, target, target.stat().st_size, sha256_of(target))


def from_file(task: FetchTask, file: Path) -> Origin:
    """What was downloaded by hand."""
    if file.is_dir():
        if task.command.sha256:
            raise DataError("a folder has no hash", where=file, found="--sha256", fix="give the archive: --file FILE")
        return Origin("file", file.name, file)
    if not file.is_file():
        raise DataError("no such file", where=file, expected="an archive or a folder", fix="check --file")
    found = sha256_of(file)
    if task.command.sha256 not in (None, found):
        raise DataError(
            "the file has another hash",
            where=file,
            found=f"sha256 {found}",
            expected=f"sha256 {task.command.sha256}",
            fix="download it again",
        )
    return Origin("file", file.name, file, file.stat().st_size, found)

"""A file from the web: continued where the last try ended, tried again after a fault, checked before it gets its name.

In: a URL, what is known of the file, and where it shall be. Out: the whole file; or a `DataError`, and beside the place
a `.part` with its `.part.json`, from which the next call continues. Called by `train/fetching/fetch.py`.

A part is continued with `Range` and `If-Range`, so that a file that has changed meanwhile begins anew. Where the server
gives neither a strong ETag nor a date, it is continued only if the hash is known, which then shows a splice.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import requests
import urllib3.exceptions
from rich.filesize import decimal

from smartbin import __version__
from smartbin.errors import DataError
from train.console import byte_progress, say
from train.fetching.disk import check_room, disk_faults, sha256_of
from train.fetching.part_file import PartNotes, begin, discard, how_to_go_on, read_notes, size_of

_CHUNK = 1 << 18
_LONGEST_WAIT_S = 60.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that may be gone on the next try."""
_SIGNS = {
    "Read timed out": "the server has stopped sending",
    "ConnectTimeout": "no connection in time",
    "Connection refused": "the connection is refused",
    "Failed to resolve": "the name of the host cannot be resolved: is there a network?",
}
"""What stands in the texts of requests and urllib3, and what to say."""
_MAGIC_BYTES = 8
_TASTE_BYTES = 80
_AT_ONCE_S = 0.01
_wait = time.sleep


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a server and how often to try; seconds."""

    connect_s: float = 10.0
    read_s: float = 30.0
    attempts: int = 5
    first_wait_s: float = 1.0
    """Before the second try; doubled before each further one."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A file to download. `starts` are the first bytes that it may have, `room_bytes` what its unpacking will need."""

    url: str
    starts: tuple[bytes, ...]
    expected: str
    """What the file should be, for messages."""
    most_bytes: int
    room_bytes: int = 0
    size: int | None = None
    sha256: str | None = None


class _AgainError(Exception):
    """A fault that another try may not meet."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


def download(remote: Remote, target: Path, patience: Patience) -> None:
    """Download to `target`, whose folder must exist; blocks, with a progress bar.

    Raises `DataError` for what no further try would mend, after the last try, and for a file of another size or hash,
    whose part is removed. Whenever a part is kept, the message says so.
    """
    part = target.with_name(f"{target.name}.part")
    for attempt in range(1, patience.attempts + 1):
        try:
            _transfer(remote, part, patience)
            break
        except _AgainError as fault:
            if attempt == patience.attempts:
                raise DataError(
                    f"the download failed {patience.attempts} time{'s' if patience.attempts > 1 else ''}",
                    where=remote.url,
                    found=str(fault),
                    expected=remote.expected,
                    fix=how_to_go_on(part),
                ) from fault
            wait_s = min(fault.wait_s or patience.first_wait_s * 2 ** (attempt - 1), _LONGEST_WAIT_S)
            say(f"{fault}; trying again in {wait_s:g} s ({attempt + 1} of {patience.attempts})")
            _wait(wait_s)
    _check_hash(remote, part)
    part.replace(target)
    discard(part)


def _transfer(remote: Remote, part: Path, patience: Patience) -> None:
    """One try: ask for what is missing and append it to `part`."""
    known = read_notes(part)
    start = size_of(part) if known.validator or remote.sha256 else 0
    if start and start == known.total:
        return  # killed between the last byte and the check
    with _ask(remote, known, start, patience) as response:
        if start and response.status_code == requests.codes.requested_range_not_satisfiable:
            discard(part)
            raise _AgainError("the file is shorter than the part that is here", wait_s=_AT_ONCE_S)
        _check_status(response, remote, continued=start > 0)
        now = PartNotes(
            etag=response.headers.get("ETag", ""),
            last_modified=response.headers.get("Last-Modified", ""),
            total=_total(response),
            ranges=response.headers.get("Accept-Ranges", "").lower() != "none",
        )
        if start and not _continues(response, start, known, now):
            discard(part)
            if response.status_code == requests.codes.partial_content:
                raise _AgainError("the file has changed since its first part came", wait_s=_AT_ONCE_S)
            same = now.validator != "" and now.validator == known.validator
            reason = "it cannot continue one" if same else "it has changed there, or cannot be continued"
            say(f"the server begins the file anew: {reason}")
            now = now.model_copy(update={"ranges": now.ranges and not same})
            start = 0
        _check_size(remote, now.total)
        check_room(part.parent, remote.room_bytes + (now.total or remote.size or 0) - start)
        _receive(response, remote, part, start, now)


def _ask(remote: Remote, known: PartNotes, start: int, patience: Patience) -> requests.Response:
    headers = {"Accept-Encoding": "identity", "User-Agent": f"smartbin/{__version__}"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if known.validator:
            headers["If-Range"] = known.validator
    try:
        timeout = (patience.connect_s, patience.read_s)
        return requests.get(remote.url, headers=headers, stream=True, timeout=timeout)
    except requests.exceptions.SSLError as error:
        raise DataError("no secure connection", where=remote.url, found=error, fix="check clock and proxy") from error
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        raise _AgainError(network_reason(error)) from error
    except requests.RequestException as error:
        raise DataError("the address cannot be used", where=remote.url, found=error, fix="check --url") from error


def _check_status(response: requests.Response, remote: Remote, *, continued: bool) -> None:
    status = response.status_code
    if status == requests.codes.ok or (continued and status == requests.codes.partial_content):
        return
    answer = f"{status} {response.reason}"
    if status in _PASSING:
        after = response.headers.get("Retry-After", "")
        raise _AgainError(f"the server answers {answer}", float(after) if after.isdigit() else None)
    raise DataError(
        "the server does not give the file",
        where=response.url,
        found=answer,
        expected=remote.expected,
        fix="another address: --url URL, or a file that you got by hand: --file FILE",
    )


def _total(response: requests.Response) -> int | None:
    """Size of the whole file, bytes, if the server says it."""
    if response.status_code == requests.codes.partial_content:
        match = re.fullmatch(r"bytes \d+-\d+/(\d+)", response.headers.get("Content-Range", ""))
        return int(match[1]) if match else None
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _continues(response: requests.Response, start: int, known: PartNotes, now: PartNotes) -> bool:
    """Whether the answer is the rest of the very file that the part is of."""
    if response.status_code != requests.codes.partial_content:
        return False
    begins = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
    same_etag = not (known.etag and now.etag) or known.etag == now.etag
    same_size = None in (known.total, now.total) or known.total == now.total
    return begins and same_etag and same_size


def _check_size(remote: Remote, total: int | None) -> None:
    if remote.size is not None and total is not None and total != remote.size:
        raise DataError(
            "the file on the server has another size than the one recorded",
            where=remote.url,
            found=f"{total:,} bytes",
            expected=f"{remote.size:,} bytes",
            fix="if it was replaced and you trust it, give its hash: --sha256 HASH",
        )


def _receive(response: requests.Response, remote: Remote, part: Path, start: int, now: PartNotes) -> None:
    """Append the body to `part`, as it comes; of a new file the first bytes are looked at before anything is kept."""
    done, total = start, now.total
    chunks = _chunks(response)
    if not start:
        first = _first_bytes(chunks)
        _check_start(response, remote, first)
        chunks = chain((first,), chunks)
        with disk_faults(part):
            begin(part, now)
    with disk_faults(part), part.open("ab") as file, byte_progress("downloading", total, done) as advance:
        for chunk in chunks:
            file.write(chunk)
            done += len(chunk)
            advance(len(chunk), "")
            if done > remote.most_bytes:
                discard(part)
                raise DataError(
                    "the file is too large",
                    where=remote.url,
                    found=f"more than {decimal(remote.most_bytes)}",
                    expected=remote.expected,
                )
    if total is not None and done < total:
        raise _AgainError(f"the connection ended after {decimal(done)} of {decimal(total)}")


def _first_bytes(chunks: Iterator[bytes]) -> bytes:
    """The first pieces, at least as long as the longest magic number, unless the file is shorter."""
    first = b""
    for chunk in chunks:
        first += chunk
        if len(first) >= _MAGIC_BYTES:
            break
    return first


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """The body, undecoded, in pieces as they arrive; a fault of the network is an `_AgainError`."""
    while True:
        try:
            chunk: bytes = response.raw.read1(_CHUNK, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _AgainError(network_reason(error)) from error
        if not chunk:
            return
        yield chunk


def _check_start(response: requests.Response, remote: Remote, first: bytes) -> None:
    if first.startswith(remote.starts):
        return
    shown = first[:_TASTE_BYTES].decode("utf-8", "replace").split("\n")[0].strip()
    kind = response.headers.get("Content-Type", "no content type")
    raise DataError(
        "the server sends something else than the file",
        where=response.url,
        found=f"{kind}, which begins with {shown!r}" if first else "an empty file",
        expected=remote.expected,
        fix="open the address in a browser: it may want a login or have moved; then --url URL or --file FILE",
    )


def _check_hash(remote: Remote, part: Path) -> None:
    if remote.sha256 is None or (found := sha256_of(part)) == remote.sha256:
        return
    discard(part)
    raise DataError(
        "the file has another hash than the one recorded; it was removed",
        where=remote.url,
        found=f"sha256 {found}",
        expected=f"sha256 {remote.sha256}",
        fix=f"try again; if the file was replaced and you trust the new one: --sha256 {found}",
    )


def network_reason(error: Exception) -> str:
    """What went wrong with the network, in a few words: requests and urllib3 wrap it several times."""
    text = str(error).strip()
    for sign, words in _SIGNS.items():
        if sign in text:
            return words
    if isinstance(error, urllib3.exceptions.ProtocolError):
        return "the connection ended too early"
    return text.splitlines()[0] if text else type(error).__name__

"""What the tests of `data fetch` share: an HTTP server that misbehaves on demand, and archives of the real formats."""

from __future__ import annotations

import io
import re
import tarfile
import threading
import zipfile
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np

from smartbin.classes import GARBAGE_CLASSES, RECYCLE_TO_GARBAGE
from tests.conftest import draw_photo

RECYCLE_CLASSES = tuple(RECYCLE_TO_GARBAGE)


@dataclass
class Served:
    """A file on the server. `plan` says how the next requests go wrong; when it is used up they go right."""

    body: bytes
    etag: str = '"one"'
    last_modified: str = ""
    content_type: str = "application/octet-stream"
    ranges: bool = True
    if_range: bool = True
    """False: ranges are served without looking at If-Range."""
    length: bool = True
    """False: without Content-Length; the end of the connection is the end of the file."""
    piece: int = 0
    """A range is answered with at most that many bytes; 0: with all."""
    plan: deque[Fault] = field(default_factory=deque)


@dataclass(frozen=True)
class Fault:
    """After `sent` bytes of the body: the connection ends, or goes silent. Or a status without a body."""

    sent: int = 0
    silent: bool = False
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Site:
    """A running server: what it has, and the requests that came."""

    address: str
    files: dict[str, Served] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    """(path, Range header) of each."""
    over: threading.Event = field(default_factory=threading.Event)

    def put(self, name: str, body: bytes, *plan: Fault, **settings: object) -> str:
        """Serve a file; returns its URL."""
        self.files[f"/{name}"] = Served(body, plan=deque(plan), **settings)  # type: ignore[arg-type]
        return f"{self.address}/{name}"

    @property
    def ranges(self) -> list[str]:
        return [value for _, value in self.requests]


class _Handler(BaseHTTPRequestHandler):
    site: ClassVar[Site]

    def do_GET(self) -> None:
        self.site.requests.append((self.path, self.headers.get("Range", "")))
        served = self.site.files.get(self.path)
        if served is None:
            self.send_error(404)
            return
        fault = served.plan.popleft() if served.plan else None
        if fault and fault.status != 200:
            self.send_response(fault.status)
            for name, value in {"Content-Length": "0", **fault.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            return
        body = self._answer(served)
        self.wfile.write(body if fault is None else body[: fault.sent])
        if fault and fault.silent:
            self.wfile.flush()
            self.site.over.wait(60)
        self.close_connection = True

    def _answer(self, served: Served) -> bytes:
        """Send the headers; returns the bytes that are to follow."""
        start = self._first_byte(served)
        if start > len(served.body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(served.body)}")
            self.end_headers()
            return b""
        end = min(len(served.body), start + served.piece) if start and served.piece else len(served.body)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(served.body)}")
        if served.length:
            self.send_header("Content-Length", str(end - start))
        for name, value in (("ETag", served.etag), ("Last-Modified", served.last_modified)):
            if value:
                self.send_header(name, value)
        self.send_header("Content-Type", served.content_type)
        self.end_headers()
        return served.body[start:end]

    def _first_byte(self, served: Served) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        same = condition in (None, served.etag, served.last_modified) or not served.if_range
        return int(asked[1]) if asked and served.ranges and same else 0

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def running_site() -> Iterator[Site]:
    """A server on a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {}))
    site = Site(f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass.site = site  # type: ignore[attr-defined]
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # the client hung up
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        site.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def jpeg(seed: int) -> bytes:
    return cv2.imencode(".jpg", draw_photo(seed))[1].tobytes()


def garbage_photos(each: int = 2) -> dict[str, bytes]:
    """`class/file` and content of a few photos of each class, with published names."""
    return {
        f"{name}/{name}{number + 1}.jpg": jpeg(10 * index + number)
        for index, name in enumerate(GARBAGE_CLASSES)
        for number in range(each)
    }


def trashnet_zip(photos: Mapping[str, bytes] | None = None, more: Mapping[str, bytes] | None = None) -> bytes:
    """Laid out as TrashNet's dataset-resized.zip, with what macOS left in it."""
    photos = garbage_photos() if photos is None else photos
    junk = {
        "dataset-resized/.DS_Store": b"junk",
        "__MACOSX/dataset-resized/cardboard/._cardboard9.jpg": b"177 bytes that are no photo",
    }
    members = {**{f"dataset-resized/{name}": data for name, data in photos.items()}, **junk, **(more or {})}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("dataset-resized/", b"")
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


Arrays = dict[str, np.ndarray]


def recycle_arrays(train: int = 12, test: int = 5, seed: int = 0) -> Arrays:
    """Arrays of the recycle data set's form; every class in both parts."""
    rng = np.random.default_rng(seed)
    arrays: Arrays = {}
    for part, count in (("train", train), ("test", test)):
        arrays[f"x_{part}"] = rng.integers(0, 256, (count, 128, 128, 3), np.uint8)
        arrays[f"y_{part}"] = rng.permutation(np.arange(count) % 5).astype(np.int64)[:, None]
    return arrays


def npz_bytes(arrays: Mapping[str, np.ndarray], *, compressed: bool = False) -> bytes:
    buffer = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def tar_gz(members: Mapping[str, bytes], *more: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in more:
            archive.addfile(info)
    return buffer.getvalue()


def recycle_tar(arrays: Mapping[str, np.ndarray] | None = None, *, compressed: bool = False) -> bytes:
    """Like recycle_data_shuffled.tar.gz."""
    npz = npz_bytes(recycle_arrays() if arrays is None else arrays, compressed=compressed)
    return tar_gz({"recycle_data_shuffled.npz": npz})


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones included."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

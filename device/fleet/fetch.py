"""Fetches one file of a web server to the disk: bounded in size and time, and its hash must be the expected one."""

from __future__ import annotations

import hashlib
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO

from device.fleet.messages import check_url, shown_url
from smartbin import __version__
from smartbin.bundle_store import need_space
from smartbin.errors import BundleError, ConfigError

_CHUNK_BYTES = 64 * 1024
_MOST_REDIRECTS = 5


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """`silent_s` is for connecting and for each part of the answer, `whole_s` for everything."""

    size_bytes: int
    silent_s: float
    whole_s: float
    ca_file: Path | None = None


def fetch(
    url: str, sha256: str, target: Path, limits: FetchLimits, stop: threading.Event, tell: Callable[[str], None]
) -> None:
    """Write what the server has at `url` to `target`. Blocks; `BundleError` says what was wrong.

    `tell` is called now and then with how far it is. Nothing is tried twice and nothing goes on where it was cut off.
    """
    try:
        with _opener(limits).open(_request(url), timeout=limits.silent_s) as answer:
            found = _write(answer, target, limits, stop, tell)
    except urllib.error.HTTPError as error:
        with error:
            raise _failed(url, f"the web server says {error.code} {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:  # URLError is an OSError; ValueError: a redirect to no URL
        raise _failed(url, f"{getattr(error, 'reason', None) or error or type(error).__name__}") from error
    if found != sha256:
        raise BundleError(
            "what was fetched is not what was announced",
            where=shown_url(url),
            found=f"sha256 {found}",
            expected=f"sha256 {sha256}",
            fix="give the sha256 that `smartbin bundle pack` printed for this very file",
        )


def _write(
    answer: HTTPResponse, target: Path, limits: FetchLimits, stop: threading.Event, tell: Callable[[str], None]
) -> str:
    begun_s = time.monotonic()
    announced = int(length) if (length := answer.headers.get("Content-Length", "")).isdigit() else None
    if announced is not None and announced > limits.size_bytes:
        raise _too_large(limits)
    need_space(target.parent, limits.size_bytes if announced is None else announced)
    digest, size, told = hashlib.sha256(), 0, 0
    with target.open("xb") as file:
        while chunk := answer.read1(_CHUNK_BYTES):
            size += len(chunk)
            if size > limits.size_bytes:
                raise _too_large(limits)
            if time.monotonic() - begun_s > limits.whole_s:
                raise TimeoutError(f"not finished after {limits.whole_s:g} s")
            if stop.is_set():
                raise InterruptedError("the bin is being stopped")
            digest.update(chunk)
            file.write(chunk)
            if announced and (tenth := 10 * size // announced) > told:
                told = tenth
                tell(f"{size / 1e6:.1f} of {announced / 1e6:.1f} MB")
    if announced is not None and size != announced:
        raise ConnectionError(f"the answer ends after {size} of {announced} bytes")
    return digest.hexdigest()


def _opener(limits: FetchLimits) -> urllib.request.OpenerDirector:
    """Knows http and https only; `ConfigError` for a file of certificates that cannot be used."""
    try:
        context = ssl.create_default_context(cafile=limits.ca_file)
    except OSError as error:
        raise ConfigError("cannot use the certificates", where="[fleet] ca_file", found=error) from error
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a few redirects, and none from https to http."""

    max_redirections = _MOST_REDIRECTS

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The next request, `ValueError` if it is one that a bin does not make."""
        try:
            check_url(newurl)
            if req.type == "https" and not newurl.lower().startswith("https:"):
                raise ValueError("the web server redirects from https to http")
        except ValueError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _request(url: str) -> urllib.request.Request:
    return urllib.request.Request(check_url(url), headers={"User-Agent": f"smartbin/{__version__}"})


def _failed(url: str, found: str) -> BundleError:
    return BundleError("the bundle cannot be fetched", where=shown_url(url), found=found)


def _too_large(limits: FetchLimits) -> BundleError:
    return BundleError(
        "the bundle is too large",
        expected=f"at most {limits.size_bytes / 1e6:g} MB",
        fix="[fleet] max_mb of the bin's configuration",
    )

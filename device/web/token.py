"""The token that opens the page, and the brake on guessing it."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import stat
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path

from smartbin.errors import ConfigError

_log = logging.getLogger(__name__)
_SHORTEST = 16
_TRIES, _WINDOW_S = 5, 60.0
_ADDRESSES = 1024  # remembered at most: whoever has more forgets the oldest
_MAKE_ONE = "umask 077; openssl rand -hex 24 > token"


def read_token(path: Path) -> str:
    """The first line of a file; `ConfigError` if it cannot be read or is too short to be safe."""
    try:
        token = path.expanduser().read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "cannot read the page's token", where=path, found=error, expected="a line of text", fix=_MAKE_ONE
        ) from error
    if len(token) < _SHORTEST:
        raise ConfigError(
            "the page's token is too short",
            where=path,
            found=f"{len(token)} characters",
            expected=f"{_SHORTEST} or more",
            fix=_MAKE_ONE,
        )
    if path.expanduser().stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        _log.warning("others on this machine can read the page's token: chmod 600 %s", path)
    return token


class TokenCheck:
    """Compares what is given with the token, in the same time whatever it is. Without a token everything is right."""

    def __init__(self, token: str | None) -> None:
        self._digest = _digest(token) if token is not None else None

    @property
    def wanted(self) -> bool:
        """Whether there is a token at all."""
        return self._digest is not None

    def same_as(self, other: TokenCheck) -> bool:
        """Whether the other one wants the same token."""
        return self._digest == other._digest

    def fits(self, given: str) -> bool:
        """Whether this is the token."""
        return self._digest is None or hmac.compare_digest(_digest(given), self._digest)


class GuessBrake:
    """Counts failed tries by network address; five in a minute are enough."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._failed_s: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """How long this address has to wait before it may try again; 0 if it need not."""
        failed_s = self._failed_s.get(network_of(address))
        if failed_s is None or len(failed_s) < _TRIES:
            return 0.0
        return max(0.0, failed_s[0] + _WINDOW_S - self._now_s())

    def failed(self, address: str) -> None:
        """It was wrong."""
        network = network_of(address)
        failed_s = self._failed_s.setdefault(network, deque(maxlen=_TRIES))
        failed_s.append(self._now_s())
        if self.wait_s(address) > 0:
            _log.warning("too many wrong tokens from %s; it has to wait", network)
        self._failed_s.move_to_end(network)
        while len(self._failed_s) > _ADDRESSES:
            self._failed_s.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """It was right: its earlier slips are forgotten."""
        self._failed_s.pop(network_of(address), None)


def network_of(address: str) -> str:
    """The address, of IPv6 its first 64 bits: the rest is the neighbour's to choose."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

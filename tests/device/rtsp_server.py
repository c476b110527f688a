"""A network camera for tests: one MJPEG stream over RTSP, interleaved in its TCP connection (RFC 2326, RFC 2435).

Pictures are grey, 160 x 128, and their level says which they are: `level_of(number)`. One viewer at a time.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

import cv2
import numpy as np

HEIGHT, WIDTH = 128, 160
LEVELS = 20
_PIECE = 1200  # bytes of scan data a packet
_SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 26\r\na=control:track\r\n"
)


def level_of(number: int) -> int:
    """The grey level of picture `number`; they come again after `LEVELS`."""
    return 30 + 10 * (number % LEVELS)


def number_of(image: np.ndarray) -> int:
    """Which picture it is, modulo `LEVELS`."""
    return round((float(image.mean()) - 30) / 10) % LEVELS


class RtspServer:
    """Begins at once. `sent` counts the pictures; while `silent` none are sent, and nobody is told why; while `stuck`
    they are taken and stamped, and come all at once when that is over.
    """

    def __init__(self, port: int = 0, fps: float = 25.0) -> None:
        self.sent, self.viewers = 0, 0
        self.silent, self.stuck = threading.Event(), threading.Event()
        self._held: list[bytes] = []
        self._fps, self._over = fps, threading.Event()
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = int(self._socket.getsockname()[1])
        self._open: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The camera's address."""
        return f"rtsp://127.0.0.1:{self.port}/live"

    def close(self) -> None:
        """Pull its plug."""
        self._over.set()
        for one in (self._open, self._socket):
            if one is not None:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                connection, _ = self._socket.accept()
                self._open = connection
                with connection:
                    self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        reader = connection.makefile("rb")
        while request := _request(reader):
            method, number = request
            answer = f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\nSession: 1\r\n"
            body = ""
            if method == "OPTIONS":
                answer += "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            elif method == "DESCRIBE":
                body = _SDP
                answer += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            elif method == "SETUP":
                answer += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
            connection.sendall(f"{answer}\r\n{body}".encode())
            if method == "PLAY":
                self.viewers += 1
                self._stream(connection)
                return

    def _stream(self, connection: socket.socket) -> None:
        packet = 0
        while not self._over.wait(1 / self._fps):
            if self.silent.is_set():
                continue
            image = np.full((HEIGHT, WIDTH, 3), level_of(self.sent), np.uint8)
            image[::16, ::2] += 9  # contrast: it is a picture
            pieces = list(_pieces(image))
            for index, piece in enumerate(pieces):
                marker = 0x80 * (index == len(pieces) - 1)
                stamp = round(self.sent * 90_000 / self._fps) & 0xFFFFFFFF
                rtp = struct.pack(">BBHII", 0x80, marker | 26, packet & 0xFFFF, stamp, 7) + piece
                self._held.append(b"$\0" + struct.pack(">H", len(rtp)) + rtp)
                packet += 1
            self.sent += 1
            if not self.stuck.is_set():
                connection.sendall(b"".join(self._held))
                self._held.clear()


def _request(reader) -> tuple[str, str] | None:
    """The method and the number of the next request; None at the end."""
    lines = []
    while (line := reader.readline().decode().strip()) or not lines:
        if not line:
            return None
        lines.append(line)
    headers = dict(one.split(": ", 1) for one in lines[1:])
    return lines[0].split()[0], headers["CSeq"]


def _pieces(image: np.ndarray) -> Iterator[bytes]:
    """A picture as the payloads of RTP packets: its scan data, with its two tables in the first."""
    tables, scan = _taken_apart(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    for start in range(0, len(scan), _PIECE):
        head = struct.pack(">I", start) + bytes([1, 255, WIDTH // 8, HEIGHT // 8])
        more = struct.pack(">BBH", 0, 0, len(tables)) + tables if start == 0 else b""
        yield head + more + scan[start : start + _PIECE]


def _taken_apart(jpeg: bytes) -> tuple[bytes, bytes]:
    """The quantisation tables of a baseline JPEG, 64 bytes each, and its scan data."""
    tables, at = b"", 2
    while True:
        marker, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], "big")
        content = jpeg[at + 4 : at + 2 + length]
        if marker == 0xDB:
            tables += b"".join(content[start + 1 : start + 65] for start in range(0, len(content), 65))
        at += 2 + length
        if marker == 0xDA:
            return tables, jpeg[at:-2]

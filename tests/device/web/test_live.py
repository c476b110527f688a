"""Live pictures: encoded once for all, only while somebody looks."""

from __future__ import annotations

import asyncio
import threading

import cv2
import numpy as np
import pytest

from device.clock import ManualClock
from device.status import BinStatus
from device.web.live import LiveFeed, encode
from device.web.problems import Refusal
from device.web.settings import PageSettings
from tests.device.web.stage import blank, view


@pytest.fixture
def status() -> BinStatus:
    status = BinStatus(ManualClock())
    status.frame(view(1))
    return status


def picture_in(part: bytes) -> np.ndarray:
    head, _, rest = part.partition(b"\r\n\r\n")
    assert head.startswith(b"Content-Type: image/jpeg\r\nContent-Length: ")
    length = int(head.rpartition(b" ")[2])
    assert rest[length:] == b"\r\n--smartbin-picture\r\n", "a picture is shown when the next boundary is there"
    return cv2.imdecode(np.frombuffer(rest[:length], np.uint8), cv2.IMREAD_COLOR)


async def look(feed: LiveFeed):
    """The pictures of one viewer."""
    feed.admit()
    parts = feed.parts()
    assert await anext_(parts) == b"--smartbin-picture\r\n"
    return parts


def test_each_picture_is_encoded_once_for_all_who_look(status):
    async def story():
        feed = LiveFeed(status, PageSettings(fps=30))
        viewers = [await look(feed) for _ in range(3)]
        first = [await anext_(viewer) for viewer in viewers]
        assert first[0] == first[1] == first[2]
        assert picture_in(first[0]).shape == (240, 320, 3)
        status.frame(blank(view(2), 40))
        second = [await anext_(viewer) for viewer in viewers]
        assert second[0] == second[2] != first[0]
        assert feed.encoded == 2
        feed.close()

    asyncio.run(story())


def test_nothing_is_encoded_while_nobody_looks(status):
    async def story():
        feed = LiveFeed(status, PageSettings(fps=30))
        await asyncio.sleep(0.1)
        assert feed.encoded == 0
        await anext_(await look(feed))
        feed.leave()
        seen = feed.encoded
        for number in range(5):
            status.frame(blank(view(number), 10 * number))
            await asyncio.sleep(0.04)
        assert feed.encoded == seen
        assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        feed.close()

    asyncio.run(story())


def test_only_so_many_may_look(status):
    async def story():
        feed = LiveFeed(status, PageSettings(viewers=2))
        feed.admit()
        feed.admit()
        with pytest.raises(Refusal, match="2 others"):
            feed.admit()
        feed.leave()
        feed.admit()
        feed.close()

    asyncio.run(story())


def test_a_slow_viewer_gets_the_newest_and_holds_nobody_up(status):
    async def story():
        feed = LiveFeed(status, PageSettings(fps=30))
        slow, quick = await look(feed), await look(feed)
        await anext_(slow)
        for level in (20, 60, 120):
            status.frame(blank(view(level), level))
            await anext_(quick)
            await anext_(quick) if level == 20 else None  # the picture before it had come first
        late = picture_in(await anext_(slow))
        assert abs(int(late.mean()) - 120) < 3
        feed.close()

    asyncio.run(story())


def test_a_stopped_camera_sends_no_picture_twice_and_the_end_ends_it(status):
    async def story():
        feed = LiveFeed(status, PageSettings(fps=30))
        viewer = await look(feed)
        await anext_(viewer)
        waiting = asyncio.ensure_future(anext_(viewer))
        await asyncio.sleep(0.15)
        assert not waiting.done()
        feed.close()
        with pytest.raises(StopAsyncIteration):
            await waiting

    asyncio.run(story())


def test_pictures_are_shrunk_and_never_enlarged():
    wide = np.full((480, 1280, 3), 90, np.uint8)
    small = np.full((100, 200, 3), 90, np.uint8)
    shapes = [cv2.imdecode(np.frombuffer(encode(image, 640, 75), np.uint8), 1).shape for image in (wide, small)]
    assert shapes == [(240, 640, 3), (100, 200, 3)]


def test_the_main_loop_does_not_wait_for_a_reader(status):
    """Frames and decisions go in while another thread reads everything without a pause: no lock is between them."""
    done = threading.Event()
    errors = []

    def read() -> None:
        try:
            while not done.is_set():
                assert status.counts is not None
                status.timer.summaries()
                assert sum(status.decisions.copy().values()) >= 0
                assert status.uncertain_share is None
        except Exception as error:  # noqa: BLE001 - whatever it is, the test has to hear of it
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(2000):
        status.timer.add(f"stage {number % 50}", 1.0)
        status.frame(view(1) if number == 0 else status.view)
    done.set()
    reader.join(10)
    assert errors == []
    assert status.frames == 2001


async def anext_(iterator):
    return await asyncio.wait_for(iterator.__anext__(), 10)

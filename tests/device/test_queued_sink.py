"""Sinks on threads of their own: what is kept, tried again, dropped, counted and said; and nobody waits for them."""

from __future__ import annotations

import logging
import random
import threading

import pytest

from device.backoff import Backoff
from device.bounded_queue import BoundedQueue
from device.clock import ManualClock, SystemClock
from device.events import Event
from device.sinks import SinkGroup
from device.sinks.queued_sink import DeliveryRefusedError, QueuedSink, QueueRules, RetryLaterError
from tests.device.broker import wait_until
from tests.device.test_sinks import NOW, SESSION, decision, view


def item(number: int) -> Event:
    return Event(NOW, "decision", decision=decision(item=number))


class Scripted:
    """A receiver that does what a script says: None takes the event, an error is raised, an event is waited for."""

    def __init__(self, *script) -> None:
        self.script = list(script)
        self.taken: list[int] = []
        self.tries: list[int] = []
        self.started = self.closed = 0
        self.tick_errors: list[Exception] = []

    def wants(self, event):
        return event.decision is not None

    def start(self, session):
        self.started += 1

    def tick(self):
        if self.tick_errors:
            raise self.tick_errors.pop(0)

    def deliver(self, event):
        self.tries.append(event.decision.item)
        step = self.script.pop(0) if self.script else None
        if isinstance(step, threading.Event):
            assert step.wait(20)
        elif step is not None:
            raise step
        self.taken.append(event.decision.item)

    def close(self):
        self.closed += 1


@pytest.fixture
def sinks():
    made = []

    def make(receiver, **rules) -> QueuedSink:
        fields = {"first_s": 0.01, "cap_s": 0.02, "flush_s": 2.0}
        made.append(QueuedSink("post", receiver, QueueRules(**{**fields, **rules}), SystemClock()))
        made[-1].start(SESSION)
        return made[-1]

    yield make
    for sink in made:
        sink.close()


def test_in_order_and_counted(sinks):
    receiver = Scripted()
    sink = sinks(receiver)
    for number in range(1, 6):
        sink.event(item(number))
    sink.event(Event(NOW, "lifecycle", lifecycle="RUNNING"))
    sink.frame(view())
    sink.close()
    sink.close()
    assert receiver.taken == [1, 2, 3, 4, 5]
    assert (receiver.started, receiver.closed) == (1, 1)
    assert (sink.counts.sent, sink.counts.dropped, sink.counts.failures, sink.counts.waiting) == (5, 0, 0, 0)


def test_what_fails_is_tried_again_and_said_once_each_way(sinks, caplog):
    receiver = Scripted(*[OSError("no route")] * 4)
    sink = sinks(receiver)
    sink.event(item(1))
    sink.event(item(2))
    wait_until(lambda: sink.counts.sent == 2, "both")
    assert receiver.taken == [1, 2]
    assert receiver.tries == [1, 1, 1, 1, 1, 2]
    assert (sink.counts.failures, sink.counts.failing, sink.counts.last_error) == (4, False, "no route")
    assert caplog.text.count("post is failing") == 1
    assert caplog.text.count("post works again, after 4 failures") == 1


def test_an_error_without_a_text_has_a_name(sinks, caplog):
    sink = sinks(Scripted(NotImplementedError()))
    sink.event(item(1))
    wait_until(lambda: sink.counts.sent == 1, "the second try")
    assert "goes on without it: NotImplementedError" in caplog.text
    assert sink.counts.last_error == "NotImplementedError"


def test_what_is_refused_is_not_tried_again(sinks):
    receiver = Scripted(DeliveryRefusedError("never"))
    sink = sinks(receiver)
    sink.event(item(1))
    sink.event(item(2))
    wait_until(lambda: sink.counts.sent == 1, "the second")
    assert receiver.tries == [1, 2]
    assert (sink.counts.dropped, sink.counts.failures) == (1, 1)


def test_after_so_many_attempts_it_is_dropped(sinks):
    receiver = Scripted(OSError(), OSError(), OSError())
    sink = sinks(receiver, attempts=3)
    sink.event(item(1))
    sink.event(item(2))
    wait_until(lambda: sink.counts.sent == 1, "the second")
    assert receiver.tries == [1, 1, 1, 2]
    assert (sink.counts.dropped, sink.counts.failures) == (1, 3)


def test_the_oldest_make_room_and_the_main_loop_does_not_wait(sinks):
    gate = threading.Event()
    receiver = Scripted(gate)
    sink = sinks(receiver, limit=3)
    sink.event(item(1))
    wait_until(lambda: receiver.tries == [1], "the first try")
    for number in range(2, 10):
        sink.event(item(number))
    assert (sink.counts.waiting, sink.counts.dropped) == (3, 6)
    gate.set()
    wait_until(lambda: sink.counts.waiting == 0, "the rest")
    assert receiver.taken == [1, 7, 8, 9]  # the first had made room while it was being sent
    assert (sink.counts.sent, sink.counts.dropped) == (4, 5)


def test_stale_events_are_dropped():
    clock = ManualClock()
    receiver = Scripted()
    sink = QueuedSink("flaps", receiver, QueueRules(max_age_s=3.0), clock)
    sink.event(item(1))
    clock.advance(3.5)
    sink.event(item(2))
    sink.start(SESSION)
    wait_until(lambda: sink.counts.sent == 1, "the second")
    sink.close()
    assert receiver.taken == [2]
    assert sink.counts.dropped == 1


def test_a_failing_tick_holds_events_back_and_is_said_once(sinks, caplog):
    receiver = Scripted()
    receiver.tick_errors = [OSError("unplugged")] * 3
    sink = sinks(receiver)
    sink.event(item(1))
    wait_until(lambda: sink.counts.sent == 1, "the event")
    assert sink.counts.failures == 3
    assert caplog.text.count("is failing") == caplog.text.count("works again") == 1


def test_a_receiver_that_cannot_start_is_started_again(sinks, monkeypatch):
    monkeypatch.setattr("device.sinks.thread_sink._AGAIN_FIRST_S", 0.01)
    receiver = Scripted()
    receiver.start = lambda session: (_ for _ in ()).throw(OSError("no pins")) if not receiver.closed else None
    sink = sinks(receiver)
    sink.event(item(1))
    wait_until(lambda: receiver.taken == [1], "the event")
    assert receiver.closed == 1
    assert sink.counts.failures == 1


def test_the_end_is_bounded_and_what_is_lost_is_counted(sinks, caplog):
    sink = sinks(Scripted(*[OSError("down")] * 10_000), flush_s=0.1)
    for number in range(1, 4):
        sink.event(item(number))
    wait_until(lambda: sink.counts.failing, "the failure")
    sink.close()
    assert (sink.counts.dropped, sink.counts.waiting) == (3, 0)
    assert "3 events were not sent before the end" in caplog.text


def test_a_receiver_that_hangs_is_left_behind(sinks, caplog, monkeypatch):
    monkeypatch.setattr("device.sinks.thread_sink._LET_GO_S", 0.0)
    gate = threading.Event()
    sink = sinks(Scripted(gate), flush_s=0.05, block_s=0.05)
    sink.event(item(1))
    sink.close()
    assert "does not end" in caplog.text
    gate.set()


def test_a_server_that_asks_for_a_pause_gets_it():
    clock = ManualClock()
    sink = QueuedSink("post", Scripted(RetryLaterError("busy", 40.0)), QueueRules(cap_s=60.0), clock)
    sink.event(item(1))
    assert sink._round() == pytest.approx(40.0)
    assert sink._round() == pytest.approx(40.0)  # not tried before
    clock.advance(40.1)
    assert sink._round() == 0.0
    assert sink.counts.sent == 1


def test_the_group_counts_and_ends_all_side_by_side(sinks):
    gate = threading.Event()
    slow, quick = sinks(Scripted(gate)), sinks(Scripted(OSError("x")))
    group = SinkGroup([slow, quick], reader_gone=lambda: None)
    group.event(item(1))
    wait_until(lambda: quick.counts.sent == 1, "the quick one")
    assert group.failures == 1
    assert [name for name, _ in group.counts()] == ["post", "post"]
    gate.set()
    group.close_threads()
    assert slow.counts.sent == 1


def test_backoff_grows_to_its_cap_with_jitter():
    backoff = Backoff(1.0, 8.0, chance=random.Random(1).random)
    pauses = [backoff.next_s() for _ in range(2000)]
    for pause, whole in zip(pauses, (1.0, 2.0, 4.0, 8.0, 8.0), strict=False):
        assert whole / 2 <= pause <= whole
    assert len(set(pauses)) == len(pauses)
    backoff.reset()
    assert backoff.next_s() <= 1.0


def test_an_event_that_made_room_is_not_removed_for_another():
    queue = BoundedQueue(1)
    first, second = item(1), item(2)
    queue.put(first)
    queue.put(second)
    assert not queue.remove(first)
    assert queue.peek() is second
    assert queue.overflowed == 1


def test_what_is_put_back_comes_first_and_the_oldest_of_it_make_room():
    queue = BoundedQueue(3)
    for number in (1, 2, 3):
        queue.put(number)
    taken = queue.take_all()
    queue.put(4)
    queue.put_back(taken)
    assert queue.take_all() == [2, 3, 4]
    assert queue.overflowed == 1


def test_logging_is_not_by_event(sinks, caplog):
    caplog.set_level(logging.WARNING)
    sink = sinks(Scripted(*[DeliveryRefusedError("no")] * 50))
    for number in range(1, 51):
        sink.event(item(number))
    wait_until(lambda: sink.counts.dropped == 50, "all")
    assert len(caplog.records) == 1

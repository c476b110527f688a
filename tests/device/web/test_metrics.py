from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from device.capture import CaptureCounts
from device.run_command import queue_counts
from device.samples.picker import Picker
from device.samples.ring import SampleRing
from device.samples.settings import SampleSettings
from device.sinks import SinkGroup
from device.sinks.bin_state import BinReport, BinState
from device.status import QueueCounts
from device.store.paths import StorePaths
from device.store.retention import Retention, RetentionLimits
from device.store.writer import StoreWriter
from device.store_sink import StoreSink
from tests.device.broker import wait_until
from tests.device.store.test_writer import Disk
from tests.device.test_sinks import SESSION, happened
from tests.device.web.stage import view


def read(staged) -> dict[tuple[str, frozenset], float]:
    text = staged.client().get("/metrics").text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def test_what_prometheus_reads(staged):
    staged.status.watch(
        lambda: CaptureCounts(100, 7, 3, 2, (("torn", 4),), 6),
        lambda: 0.5,
        lambda: [QueueCounts("store", 4, 1, 2), QueueCounts("mqtt", 0, 0, 0, "broker away")],
    )
    staged.clock.advance(0.25)
    found = read(staged)
    assert value(found, "smartbin_frames_captured_total") == 100
    assert value(found, "smartbin_frames_processed_total") == 4
    assert value(found, "smartbin_frames_dropped_total", reason="overwritten") == 7
    assert value(found, "smartbin_frames_dropped_total", reason="too_old") == 3
    assert value(found, "smartbin_frames_refused_total", reason="torn") == 4
    assert value(found, "smartbin_frames_repeated_total") == 6
    assert value(found, "smartbin_queue_failing", queue="mqtt") == 1
    assert value(found, "smartbin_queue_failing", queue="store") == 0
    assert value(found, "smartbin_camera_reconnects_total") == 2
    assert value(found, "smartbin_frame_age_seconds") == 0.25
    assert value(found, "smartbin_loop_without_progress_seconds") == 0.5
    assert value(found, "smartbin_decisions_total", kind="accepted", label="red") == 1
    assert value(found, "smartbin_decisions_total", kind="uncertain", label="") == 1
    assert value(found, "smartbin_uncertain_ratio") == 0.5
    assert value(found, "smartbin_queue_depth", queue="store") == 4
    assert value(found, "smartbin_queue_dropped_total", queue="store") == 1
    assert value(found, "smartbin_state", state="RUNNING") == 1
    assert value(found, "smartbin_state", state="CAMERA_LOST") == 0
    assert value(found, "smartbin_luma") == pytest.approx(0.42)
    assert value(found, "smartbin_page_viewers") == 0
    assert value(found, "smartbin_runtimes_passed_over") == 1
    assert value(found, "smartbin_memory_available_bytes") > 0
    assert value(found, "smartbin_disk_free_bytes", holds="store") > 0
    assert value(found, "process_resident_memory_bytes") > 1e6
    info = next(dict(labels) for name, labels in found if name == "smartbin_info")
    assert (info["bin"], info["model"], info["model_version"], info["runtime"]) == (
        "bin-7",
        "tiny",
        "1",
        "onnxruntime-cpu",
    )


def test_stage_durations_are_a_histogram(staged):
    for duration_ms in (1.0, 1.5, 9000.0):
        staged.status.timer.add("classify", duration_ms)
    found = read(staged)
    name = "smartbin_stage_duration_seconds"
    assert value(found, f"{name}_bucket", stage="classify", le="0.001") == 1
    assert value(found, f"{name}_bucket", stage="classify", le="0.002") == 2
    assert value(found, f"{name}_bucket", stage="classify", le="5.0") == 2
    assert value(found, f"{name}_bucket", stage="classify", le="+Inf") == 3
    assert value(found, f"{name}_count", stage="classify") == 3
    assert value(found, f"{name}_sum", stage="classify") == pytest.approx(9.0025)


def test_no_series_comes_twice(staged):
    lines = [line.rpartition(" ")[0] for line in staged.client().get("/metrics").text.splitlines() if line[0] != "#"]
    assert len(lines) == len(set(lines))


def test_before_the_first_frame_there_is_something_to_read(tmp_path, tiny_bundle):
    from tests.device.web.stage import stage_bin

    staged = stage_bin(tmp_path, tiny_bundle, keeps=False, items=())
    staged.status.close()
    assert value(read(staged), "smartbin_frames_processed_total") == 0


def test_a_disk_that_takes_no_events_is_told_by_metrics_page_and_fleet(staged, tmp_path):
    disk, paths = Disk("PRAGMA query_only = ON", "PRAGMA query_only = OFF"), StorePaths(tmp_path / "other")
    writer = StoreWriter(paths, Retention(RetentionLimits()), retry_s=(0.005, 0.01), open_store=disk)
    ring = SampleRing(paths.samples, SampleSettings(min_free_mb=1e9))
    sink, state = StoreSink(writer, Picker(1.0), ring), BinState("kitchen", SESSION, "1")
    staged.status.watch(CaptureCounts, lambda: 0.0, lambda: queue_counts([sink], SinkGroup([], lambda: None)))
    client = staged.client()

    def failing() -> set[str]:
        found = read(staged)
        return {name for name in ("store", "pictures") if value(found, "smartbin_queue_failing", queue=name)}

    sink.start(SESSION)
    try:
        assert failing() == set()
        sink.event(happened())
        wait_until(lambda: failing() == {"store"}, "the trouble")
        (told,) = client.get("/api/health").json()["trouble"]
        assert "store is failing: attempt to write a readonly database" in told
        assert told in client.get("/health").text
        assert client.get("/readyz").status_code == 200, "it sorts all the same"
        health = state.record(BinReport(staged.status.queues))["health"]
        assert not health["ok"]
        assert health["troubles"] == ["store: attempt to write a readonly database"]
        disk.broken = False
        wait_until(lambda: failing() == set(), "the end of it")
        assert state.record(BinReport(staged.status.queues))["health"]["ok"]

        sink.frame(view(1, 8, "JUDGING", "red"))
        sink.event(happened())
        sink.frame(view(2, 8, "DECIDED", "red"))
        wait_until(lambda: failing() == {"pictures"}, "no picture")
        (told,) = client.get("/api/health").json()["trouble"]
        assert "no pictures are kept until there is more" in told
        assert value(read(staged), "smartbin_queue_dropped_total", queue="pictures") == 2, "of both"
    finally:
        sink.close()

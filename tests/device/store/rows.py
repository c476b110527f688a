"""Rows for the store's tests. Imports nothing but the standard library and the store."""

from __future__ import annotations

from device.store.records import EventRecord, RunRecord

NOON_MS = 1_767_355_200_000  # 2026-01-02 12:00 UTC
DAY_MS = 86_400_000
CLASSES = ("glass", "metal", "paper")


def run(uid: str = "aaaa", model: str = "lite0 1 (int8)", classes: tuple[str, ...] = CLASSES) -> RunRecord:
    return RunRecord(uid, NOON_MS, "camera:0", model, "lite0", "1", "onnxruntime-cpu", classes)


def decision(seq: int, time_ms: int = NOON_MS, kind: str = "accepted", label: str | None = "glass") -> EventRecord:
    return EventRecord(
        seq,
        time_ms,
        "decision",
        decision=kind,
        item=seq,
        label=label,
        bin="recycling",
        confidence=0.9,
        margin=0.84,
        energy=-4.25,
        probabilities=(0.9, 0.06, 0.04),
        frames=4,
        took_ms=500.0,
        light="ok",
        mean_luma=0.4,
        clipped_fraction=0.01,
        gamma=1.0,
        age_ms=21.5,
        stage_ms=(("brightness", 1.5), ("classify", 6.25)),
    )


def lifecycle(seq: int, state: str = "RUNNING", reason: str | None = None, time_ms: int = NOON_MS) -> EventRecord:
    return EventRecord(seq, time_ms, "lifecycle", state=state, reason=reason)

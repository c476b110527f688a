from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from contextlib import closing
from datetime import date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.store.database import EventStore
from device.store.paths import StorePaths
from device.store.records import DayCount
from device.web.archive import Archive
from device.web.charts import NARROW, WIDE, Day, _round_up, day_chart, days_of, series_of, style_of
from tests.device.store.rows import decision, run

TODAY = date(2026, 3, 2)


def test_days_without_a_decision_are_there_and_days_before_are_not():
    counts = [
        DayCount("2026-02-27", "accepted", "glass", 3),
        DayCount("2026-03-02", "accepted", "glass", 1),
        DayCount("2026-03-02", "uncertain", None, 2),
        DayCount("2026-01-01", "accepted", "glass", 9),
    ]
    days = days_of(counts, TODAY, 4)
    assert [(day.day.isoformat(), day.total) for day in days] == [
        ("2026-02-27", 3), ("2026-02-28", 0), ("2026-03-01", 0), ("2026-03-02", 3),
    ]  # fmt: skip


def test_the_day_on_which_clocks_are_set_back_is_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        first = datetime(2026, 10, 25, 0, 10).astimezone()  # the 25 hours of this day have begun
        last = datetime(2026, 10, 25, 23, 50).astimezone()
        paths = StorePaths(tmp_path)
        with closing(EventStore.open(paths)) as store:
            moments = [first - timedelta(minutes=20), first, last]
            store.add(run(), [decision(seq, round(moment.timestamp() * 1000)) for seq, moment in enumerate(moments)])
        counts, today = Archive(paths, lambda: last).days(1)
        (day,) = days_of(counts, today, 1)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert (day.day, day.total) == (date(2026, 10, 25), 2)


def test_classes_of_an_older_model_are_drawn_too():
    days = [Day(TODAY, {"glass": 1, "bottle": 2, "uncertain": 1})]
    series = series_of(days, ("glass", "metal"))
    assert series == ["glass", "metal", "bottle", "uncertain"]
    assert [style_of(name, series) for name in series] == ["series-0", "series-1", "series-2", "series-uncertain"]


names = st.sampled_from(["glass", "metal", 'a"<&>b', "uncertain", "too_dark"])
counts = st.dictionaries(names, st.integers(1, 10**6))


@pytest.mark.parametrize(("width", "days", "dates"), [(WIDE, 14, 7), (WIDE, 90, 10), (NARROW, 14, 4), (NARROW, 90, 4)])
def test_the_dates_have_room(width, days, dates):
    found = days_of([], TODAY, days)
    root = ET.fromstring(day_chart(found, (), width))
    middles = [float(one.get("x")) for one in root.iter("text") if one.get("text-anchor") == "middle"]
    assert len(middles) == dates
    assert min(late - early for early, late in pairwise(middles)) >= 60
    assert middles[-1] <= width - 24, "all of the last one is seen"


@given(st.lists(counts, max_size=40), st.sampled_from([WIDE, NARROW]))
def test_the_plot_is_well_formed_and_its_bars_are_as_high_as_their_counts(said, width):
    days = [Day(TODAY, one) for one in said]
    series = series_of(days, ("glass", "metal"))
    root = ET.fromstring(day_chart(days, series, width))
    bars = list(root.iter("rect"))
    assert len(bars) == sum(len(one) for one in said)
    top = _round_up(max((day.total for day in days), default=0))
    for bar in bars:
        count = int((bar.find("title").text or "").rpartition(" ")[2])
        assert float(bar.get("height")) == pytest.approx(count * 242 / top, abs=0.051)
        assert 10 - 0.1 <= float(bar.get("y")) <= 252.1


@given(st.integers(0, 10**9))
def test_the_scale_holds_everything_and_divides_by_four(value):
    top = _round_up(value)
    assert top >= value
    assert top % 4 == 0
    assert top <= max(4, 2 * value)

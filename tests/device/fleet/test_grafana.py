"""The dashboard: every metric and label in it is one that the bins' page has, and Prometheus is told how to read it."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

import device

FOLDER = Path(device.__file__).parent / "grafana"
BOARD = json.loads((FOLDER / "smartbin-fleet.json").read_text(encoding="utf-8"))
SUFFIXES = {
    "GaugeMetricFamily": ("",),
    "_gauge": ("",),
    "CounterMetricFamily": ("_total",),
    "_counter": ("_total",),
    "HistogramMetricFamily": ("_bucket", "_sum", "_count"),
    "InfoMetricFamily": ("_info",),
}
OF_PROMETHEUS = {"up", "process_resident_memory_bytes"}


def expressions() -> list[str]:
    asked = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    return asked + [variable["definition"] for variable in BOARD["templating"]["list"] if "definition" in variable]


def metrics_of_the_page(source: str) -> set[str]:
    """By the names that the metrics' families are made with."""
    kinds = "|".join(SUFFIXES)
    made = re.findall(rf'\b({kinds})\(\s*"(smartbin\w*)"', source)
    return {name + suffix for kind, name in made for suffix in SUFFIXES[kind]}


def test_the_reader_of_metrics_reads():
    source = 'CounterMetricFamily(\n  "smartbin_a", "…")\n_gauge("smartbin_b", "…")\nInfoMetricFamily("smartbin", "…")'
    assert metrics_of_the_page(source) == {"smartbin_a_total", "smartbin_b", "smartbin_info"}


def test_every_metric_is_one_of_the_page():
    if importlib.util.find_spec("device.web") is None:
        pytest.skip("no device.web here: the page with its metrics is not merged")
    source = (Path(device.__file__).parent / "web" / "metrics.py").read_text(encoding="utf-8")
    known = metrics_of_the_page(source)
    asked = {name for expression in expressions() for name in re.findall(r"\bsmartbin_\w+", expression)}
    assert len(asked) >= 15
    assert asked <= known


@pytest.mark.parametrize("expression", expressions())
def test_every_expression_asks_for_the_chosen_bins(expression):
    if expression.startswith("label_values"):
        return
    names = re.findall(r"\b(?:smartbin_\w+|up|process_\w+)(?=\{)", expression)
    assert names
    assert expression.count('bin=~"$bin"') == len(names)
    assert all(name.startswith("smartbin_") or name in OF_PROMETHEUS for name in names)
    assert expression.count("(") == expression.count(")")
    assert expression.count("{") == expression.count("}")


def test_the_panels_are_on_a_grid_without_overlap():
    taken = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_prometheus_labels_every_bin():
    yaml = pytest.importorskip("yaml", reason="no pyyaml here")
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = config["scrape_configs"]
    assert job["job_name"] == "smartbin"
    assert all(set(each["labels"]) == {"bin"} for each in job["static_configs"])
    assert all(f'job="{job["job_name"]}"' in each for each in expressions() if each.startswith(("sum(up", "count(up")))

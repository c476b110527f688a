"""Figures: what a legend must never do, however many lines there are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from train.checkpoint import TrainedRun
from train.metrics import Epoch, GroupRate, RunMetrics, Score
from train.report.figure_files import picture
from train.report.plots import draw_curves
from train.study.measure import Measurement, StudyRun
from train.study.plans import EXPOSURES, exposure_name
from train.study.plots import draw_bars, draw_light

PADDING = 4
"""Pixels inside of a legend's border that hold nothing."""
SCORE = Score(
    photos=4, correct=3, accuracy=0.75, interval_low=0.3, interval_high=0.95, macro_f1=0.7, loss=0.6, per_class=[],
    confusion=[],
)  # fmt: skip


def assert_legends_cover_nothing(figure: Figure) -> None:
    """And nothing is beyond the picture's border."""
    FigureCanvasAgg(figure).draw()
    legends = [*figure.legends, *(legend for axes in figure.axes if (legend := axes.get_legend()))]
    assert legends
    for legend in legends:
        box = legend.get_window_extent()
        assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)
        assert not any(box.overlaps(other.get_window_extent()) for other in legends if other is not legend)
        assert min(box.x0, box.y0) >= -PADDING
        assert box.x1 <= figure.bbox.x1 + PADDING


def metrics_of(rates: dict[str, float]) -> RunMetrics:
    """Three epochs in which groups of parameters learn at these rates."""
    history = [
        Epoch(
            epoch=number, train_loss=2 / number, train_objective=2 / number, val_loss=1 / number, val_accuracy=0.5,
            val_macro_f1=0.4, raw_val_loss=1, raw_val_accuracy=0.5, raw_val_macro_f1=0.4, rate=0.1, seconds=1,
            images_per_second=1, plain_train_loss=1.5,
            rates=[GroupRate(name=name, rate=rate / number) for name, rate in rates.items()],
        )
        for number in (1, 2, 3)
    ]  # fmt: skip
    return RunMetrics(history=history, train=SCORE, val=SCORE, test=None, seconds=3, device="cpu", precision="fp32")


@pytest.mark.parametrize("decay", [0.8, 1.0], ids=["a rate each", "one rate"])
@pytest.mark.parametrize("groups", [0, 1, 4, 10, 17])
def test_learning_curves_are_seen_whole(groups: int, decay: float) -> None:
    rates = {f"blocks.{group}{twin}": 0.1 * decay**group for group in range(groups) for twin in ("", " (no decay)")}
    assert_legends_cover_nothing(draw_curves(metrics_of(rates)))


@pytest.mark.parametrize(
    ("rates", "labels"),
    [
        ({"stem": 1, "stem (no decay)": 1, "random": 9, "random (no decay)": 9}, ["new layers", "stem"]),
        ({"stem": 1, "layer1": 1, "layer1 (no decay)": 1, "random": 1}, ["stem, layer1, new layers"]),
    ],
    ids=["a rate each", "one rate"],
)
def test_legend_names_each_layer_once(rates: dict[str, float], labels: list[str]) -> None:
    figure = draw_curves(metrics_of(rates))
    assert [line.get_label() for line in figure.axes[2].lines] == labels


@pytest.mark.parametrize("kinds", [[""], ["", ", correction on", ", correction off"]], ids=["trained", "switched"])
@pytest.mark.parametrize("count", [1, 5, 9])
def test_curves_over_light_are_seen_whole(kinds: list[str], count: int) -> None:
    names = [f"{exposure_name(exposure)}{kind}" for exposure in EXPOSURES for kind in kinds]
    measured = [Measurement(condition=name, key=name, score=SCORE) for name in names]
    runs = [StudyRun(f"below .{number}5 to .50, gamma of at least .4", (), [measured]) for number in range(count)]
    assert_legends_cover_nothing(draw_light(runs))


def test_six_curves_over_light_look_different() -> None:
    names = [exposure_name(exposure) for exposure in EXPOSURES]
    measured = [Measurement(condition=name, key=name, score=SCORE) for name in names]
    drawn = []

    def draw() -> Figure:
        drawn.append(draw_light([StudyRun(f"run {number}", (), [measured]) for number in range(6)]))
        return drawn[0]

    picture("light", draw, alt="a", caption="c")
    lines = drawn[0].axes[0].lines
    assert len({line.get_color() for line in lines}) == 6
    assert len({line.get_marker() for line in lines}) == 6


def run_on(name: str, data: str, conditions: dict[str, str]) -> StudyRun:
    """A row of a study on that data set, measured under conditions by name and key."""
    measured = [Measurement(condition=condition, key=key, score=SCORE) for condition, key in conditions.items()]
    return StudyRun(name, [cast("TrainedRun", SimpleNamespace(data=data))], [measured])


def test_panels_of_a_study_hold_only_what_was_measured_and_say_whose_photos_they_are() -> None:
    kitchen = {"kitchen": "photos PosixPath('kitchen')"}
    runs = [
        run_on("a on garbage", "garbage", {"validation": "", **kitchen}),
        run_on("b on garbage", "garbage", {"validation": ""}),
        run_on("a on recycle", "recycle", {"validation": "", "test": "part 'test'"}),
        run_on("a on combined", "combined", {"validation": "", "test": "part 'test'", "test, recycle alone": "x"}),
    ]
    figure = draw_bars(runs, ["validation", "test", "kitchen", "test, recycle alone"])
    FigureCanvasAgg(figure).draw()
    assert [(axes.get_title(), [text.get_text() for text in axes.get_yticklabels()]) for axes in figure.axes] == [
        ("each run's own validation photos", [run.name for run in runs]),
        ("test photos of recycle and combined", ["a on recycle", "a on combined"]),
        ("kitchen", ["a on garbage"]),
        ("test photos of recycle", ["a on combined"]),
    ]
    assert figure.get_figwidth() <= 10  # a page of 1200 px shows its letters at their size


def test_panels_of_one_data_set_are_called_as_the_condition() -> None:
    figure = draw_bars([run_on("a", "garbage", {"validation": ""}), run_on("b", "garbage", {"validation": ""})],
                       ["validation"])  # fmt: skip
    assert figure.axes[0].get_title() == "validation"

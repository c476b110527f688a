"""Figures: what a legend must never do, however many lines there are."""

from __future__ import annotations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from train.metrics import Epoch, GroupRate, RunMetrics, Score
from train.report.plots import draw_curves
from train.study.measure import Measurement, StudyRun
from train.study.plans import EXPOSURES, exposure_name
from train.study.plots import draw_light

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


@pytest.mark.parametrize("groups", [0, 1, 4, 10, 17])
def test_learning_curves_are_seen_whole(groups: int) -> None:
    history = [
        Epoch(
            epoch=number, train_loss=2 / number, train_objective=2 / number, val_loss=1 / number, val_accuracy=0.5,
            val_macro_f1=0.4, raw_val_loss=1, raw_val_accuracy=0.5, raw_val_macro_f1=0.4, rate=0.1, seconds=1,
            images_per_second=1, plain_train_loss=1.5,
            rates=[GroupRate(name=f"blocks.{group}", rate=0.1 * 0.8**group / number) for group in range(groups)],
        )
        for number in (1, 2, 3)
    ]  # fmt: skip
    metrics = RunMetrics(history=history, train=SCORE, val=SCORE, test=None, seconds=3, device="cpu", precision="fp32")
    assert_legends_cover_nothing(draw_curves(metrics))


@pytest.mark.parametrize("kinds", [[""], ["", ", correction on", ", correction off"]], ids=["trained", "switched"])
@pytest.mark.parametrize("count", [1, 5, 9])
def test_curves_over_light_are_seen_whole(kinds: list[str], count: int) -> None:
    names = [f"{exposure_name(exposure)}{kind}" for exposure in EXPOSURES for kind in kinds]
    measured = [Measurement(condition=name, key=name, score=SCORE) for name in names]
    runs = [StudyRun(f"below .{number}5 to .50, gamma of at least .4", (), [measured]) for number in range(count)]
    assert_legends_cover_nothing(draw_light(runs))

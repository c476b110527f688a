"""Draws docs/terminal.svg: what `smartbin run` shows on a terminal, on an item of the built-in scene.

    python tools/make_screenshot.py [--item 5] [--out docs/terminal.svg]

It plays the scene through the daemon's own pipeline and the built-in bundle, and keeps what the live view draws.
"""

from __future__ import annotations

import argparse
import io
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from device.decision import DecisionSettings, make_verdicts
from device.events import Event, FrameView, Session
from device.frame_judges import make_judge
from device.live_view import decision_line, render
from device.pipeline import Pipeline
from device.presence import PresenceDetector
from device.scene import SceneCamera
from smartbin.bundle import builtin_bundle_path, read_bundle
from smartbin.runtime import open_classifier

_NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
_COLUMNS = 100
# rich's own template asks a web server for its font; a picture in a README must not
_TEMPLATE = re.sub(r"@font-face\s*\{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "font-family: Fira Code, monospace", "font-family: ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
)


def draw(item: int) -> Console:
    """Play the scene until the given item is decided, and draw what the terminal shows then."""
    bundle = read_bundle(builtin_bundle_path())
    manifest = bundle.manifest
    classifier = open_classifier(bundle)
    settings = DecisionSettings()
    verdicts = make_verdicts(settings, manifest.classes, manifest.thresholds)
    pipeline = Pipeline(classifier, manifest.preprocess, make_judge("item", settings, verdicts), PresenceDetector())
    model = f"{manifest.name} {manifest.version} ({manifest.precision})"
    session = Session("scene", model, classifier.runtime, manifest.classes, manifest.thresholds.min_confidence)
    console = Console(file=io.StringIO(), record=True, width=_COLUMNS, force_terminal=True, color_system="truecolor")
    camera = SceneCamera()
    while (frame := camera.read()) is not None:
        step = pipeline.step(frame)
        if step.decision is None:
            continue
        console.print(
            decision_line(Event(_NOON + timedelta(seconds=frame.captured_s), "decision", decision=step.decision))
        )
        if step.decision.item < item:
            continue
        stages = tuple((name, stage.p50_ms) for name, stage in pipeline.timer.summaries().items())
        view = FrameView(
            image=frame.image,
            seq=frame.seq,
            source=frame.source,
            state=pipeline.judge.state,
            item=pipeline.judge.item,
            light=step.observation.light,
            exposure=step.observation.exposure,
            presence=step.presence,
            prediction=step.observation.prediction,
            fps=camera.fps,
            stage_ms=stages,
        )
        console.print(render(view, session, step.decision, "RUNNING", _COLUMNS))
        break
    return console


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--item", type=int, default=5, help="number of the item to show")
    parser.add_argument("--out", type=Path, default=Path("docs/terminal.svg"))
    options = parser.parse_args()
    options.out.write_text(draw(options.item).export_svg(title="smartbin run", code_format=_TEMPLATE), encoding="utf-8")
    print(options.out)


if __name__ == "__main__":
    main()

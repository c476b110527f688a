"""The live view of a terminal: what the bin sees, where it stands, and the decisions as they fall."""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
from rich.color import Color
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.segment import Segment, Segments
from rich.style import Style
from rich.table import Table
from rich.text import Text

from device.decision import Decision, JudgeState
from device.events import Event, FrameView, Session
from smartbin.images import BgrImage
from smartbin.prediction import probability_text

_REFRESH_S = 0.1
_PICTURE_COLUMNS, _PICTURE_ROWS = 40, 15  # two pixels a character cell: 40 x 30
_BAR_CELLS = 22
_STEPS: tuple[JudgeState, ...] = ("EMPTY", "ARRIVING", "JUDGING", "DECIDED", "CLEARING")
_KIND_STYLES = {
    "accepted": "bold green",
    "uncertain": "bold yellow",
    "too_dark": "bold magenta",
    "too_bright": "bold magenta",
}


class LiveSink:
    """Decisions scroll by above a panel that shows the newest frame."""

    def __init__(self, console: Console | None = None, now_s: Callable[[], float] = time.monotonic) -> None:
        self._console = console if console is not None else Console()
        self._now_s, self._drawn_s = now_s, float("-inf")
        self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
        self._session: Session | None = None
        self._answer: Decision | None = None
        self._lifecycle = "STARTING"

    def start(self, session: Session) -> None:
        """Take over the lower part of the terminal."""
        self._session = session
        self._live.start()

    def event(self, event: Event) -> None:
        """A decision becomes a line above the panel."""
        if event.lifecycle is not None:
            self._lifecycle = event.lifecycle
        if event.reason is not None:
            self._live.console.print(
                Text(f"{event.time:%H:%M:%S}  {event.lifecycle}  {event.reason}", style="bold red")
            )
        if event.decision is not None:
            self._answer = event.decision
            self._live.console.print(decision_line(event))

    def frame(self, view: FrameView) -> None:
        """Draw the panel, at most ten times a second."""
        if self._session is None or self._now_s() - self._drawn_s < _REFRESH_S:
            return
        self._drawn_s = self._now_s()
        answer = self._answer if view.state in ("DECIDED", "CLEARING", "WATCHING") else None
        self._live.update(render(view, self._session, answer, self._lifecycle, self._console.width), refresh=True)

    def close(self) -> None:
        """Give the terminal back."""
        self._live.update(Text(""), refresh=True)
        self._live.stop()


def decision_line(event: Event) -> Text:
    """A decision as one coloured line: when, which item, what, how sure, which bin, and the truth where it is known."""
    decision = event.decision
    assert decision is not None
    line = Text.assemble((f"{event.time:%H:%M:%S} ", "dim"))
    line.append(f" item {decision.item:<3}", style="dim")
    said = {
        "accepted": decision.label or "",
        "uncertain": f"unsure ({decision.label}?)" if decision.label else "unsure",
        "too_dark": "too dark to judge",
        "too_bright": "too bright to judge",
    }[decision.kind]
    line.append(f" {said:<20}", style=_KIND_STYLES[decision.kind])
    line.append(f"{probability_text(decision.confidence):>4} " if decision.frames else "     ")
    line.append(f" → {decision.bin:<12}", style="bold")
    line.append(f"{decision.frames:>3} frames {decision.decided_s - decision.arrived_s:4.1f} s", style="dim")
    if decision.truth is not None:
        if decision.right:
            line.append("  ✓ right", style="green")
        else:
            line.append(
                f"  {'✗' if decision.right is False else '·'} it is {decision.truth}",
                style="red" if decision.right is False else "dim",
            )
    return line


def render(view: FrameView, session: Session, answer: Decision | None, lifecycle: str, width: int) -> RenderableType:
    """The panel: the picture on the left where there is room, everything known of it on the right."""
    facts = Group(_states(view.state), Text(), _answer(view, session, answer), Text(), _measurements(view))
    grid = Table.grid(padding=(0, 2), expand=True)
    if width >= 2 * _PICTURE_COLUMNS:
        grid.add_column(width=_PICTURE_COLUMNS)
        grid.add_column(ratio=1)
        grid.add_row(picture(view.image), facts)
    else:
        grid.add_column(ratio=1)
        grid.add_row(facts)
    title = Text.assemble(("smartbin ", "bold"), (f" {session.source} ", "cyan"))
    foot = Text.assemble((session.model, "dim"), (f" on {session.runtime}", "dim"), ("  Ctrl-C stops ", "dim"))
    colour = "red" if lifecycle == "CAMERA_LOST" else _frame_colour(view, answer)
    return Panel(
        grid,
        title=title,
        title_align="left",
        subtitle=foot,
        subtitle_align="right",
        border_style=colour,
        padding=(0, 1),
    )


def picture(image: BgrImage) -> RenderableType:
    """The frame as half blocks: upper pixel as foreground, lower one as background of each cell."""
    height, width = image.shape[:2]
    columns, rows = _PICTURE_COLUMNS, 2 * _PICTURE_ROWS
    scale = min(columns / width, rows / height)
    fitted = max(1, round(width * scale)), max(2, 2 * round(height * scale / 2))
    small = cv2.cvtColor(cv2.resize(image, fitted, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
    segments = []
    for upper, lower in zip(small[::2].tolist(), small[1::2].tolist(), strict=True):
        segments += [
            Segment("▀", Style(color=Color.from_rgb(*top), bgcolor=Color.from_rgb(*low)))
            for top, low in zip(upper, lower, strict=True)
        ]
        segments.append(Segment.line())
    return Segments(segments)


def _states(state: JudgeState) -> Text:
    if state == "WATCHING":
        return Text("every frame is judged", style="dim")
    line = Text()
    for number, step in enumerate(_STEPS):
        line.append(" › " if number else "", style="dim")
        line.append(step.lower(), style="bold reverse" if step == state else "dim")
    return line


def _answer(view: FrameView, session: Session, answer: Decision | None) -> RenderableType:
    """The answer in one line, and a bar a class: of the answer, else of the newest frame."""
    prediction = answer.prediction if answer is not None else view.prediction
    headline = _headline(view, answer)
    bars = Table.grid(padding=(0, 1))
    bars.add_column(no_wrap=True)
    bars.add_column(width=_BAR_CELLS)
    bars.add_column(justify="right", width=4)
    values = prediction.probabilities if prediction is not None else (0.0,) * len(session.classes)
    best = max(values)
    for name, value in list(zip(session.classes, values, strict=False))[:8]:
        top = prediction is not None and value == best
        style = ("green" if value >= session.min_confidence else "yellow") if top else "bright_black"
        bars.add_row(
            Text(name, style="bold" if top else "dim"),
            _bar(value, style),
            Text(probability_text(value) if prediction else "", style="dim"),
        )
    return Group(headline, Text(), bars)


def _headline(view: FrameView, answer: Decision | None) -> Text:
    if answer is not None:
        said = {
            "accepted": (answer.label or "").upper(),
            "uncertain": "UNSURE",
            "too_dark": "TOO DARK",
            "too_bright": "TOO BRIGHT",
        }
        return Text.assemble(
            (f" {said[answer.kind]} ", _KIND_STYLES[answer.kind] + " reverse"), ("  → ", "dim"), (answer.bin, "bold")
        )
    if view.light != "ok":
        return Text(view.light.replace("_", " ") + ": no guess", style="bold magenta")
    if view.presence.learning:
        return Text("learning the empty bin", style="dim")
    words = {"EMPTY": "nothing there", "ARRIVING": "something comes", "JUDGING": "judging…"}
    return Text(words.get(view.state, ""), style="dim" if view.state == "EMPTY" else "bold cyan")


def _bar(value: float, style: str) -> Text:
    """A bar of eighths of a cell."""
    eighths = round(value * _BAR_CELLS * 8)
    text = "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]
    return Text.assemble((text, style), ("·" * (_BAR_CELLS - len(text)), "bright_black"))


def _measurements(view: FrameView) -> Text:
    exposure = view.exposure
    light = {"ok": ("light ok", "green"), "too_dark": ("too dark", "magenta"), "too_bright": ("too bright", "magenta")}[
        view.light
    ]
    text = Text.assemble(
        light,
        (f"   luma {exposure.mean_luma:.2f}", ""),
        (f"   gamma {exposure.gamma:.2f}", "yellow" if exposure.corrected else "dim"),
    )
    if exposure.clipped_fraction >= 0.01:
        text.append(f"   clipped {exposure.clipped_fraction:.0%}", style="yellow")
    text.append(f"\nframe {view.seq}   {view.fps:.1f} fps", style="dim")
    stages = [f"{name} {value:.1f}" for name, value in view.stage_ms if name in ("brightness", "presence", "classify")]
    if stages:
        text.append(f"\n{'   '.join(stages)} ms", style="dim")
    return text


def _frame_colour(view: FrameView, answer: Decision | None) -> str:
    if answer is not None:
        return {"accepted": "green", "uncertain": "yellow"}.get(answer.kind, "magenta")
    return (
        "magenta" if view.light != "ok" else "bright_blue" if view.state in ("ARRIVING", "JUDGING") else "bright_black"
    )

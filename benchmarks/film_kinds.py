"""The kinds of film: what people, lids, lamps and the sun do in front of a bin, each at random from a seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from benchmarks.item_films import Actor, Film, Key, Light, Visit
from benchmarks.item_layers import Bin, Item, hand, lid, shadow

_FIRST_S = 1.5  # the bin is empty for so long at the start, and …
_LAST_S = 1.2  # … at the end
_OUT = 1.25  # so far to the side nothing of a layer is left in the picture
_GRIP = 0.12  # so far from the middle of the picture a hand takes an item
_LONG_S, _VERY_LONG_S = 30.0, 140.0  # below and above the time after which what lies there belongs to the bin


class Script:
    """A film that is being written: what is added comes after what was there, at `now_s`."""

    def __init__(self, staged: Bin, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.staged, self.seed = staged, seed
        self.now_s = _FIRST_S
        self.actors: list[Actor] = []
        self.visits: list[Visit] = []

    def uniform(self, low: float, high: float) -> float:
        """A number between the two."""
        return float(self.rng.uniform(low, high))

    def pause(self, low: float = 0.8, high: float = 1.6) -> None:
        """Nothing happens."""
        self.now_s += self.uniform(low, high)

    def side(self) -> tuple[float, float]:
        """Somewhere out of the picture: left, right or above."""
        x, y = ((-_OUT, 0.0), (_OUT, 0.0), (0.0, -_OUT))[int(self.rng.integers(3))]
        return x, y + (self.uniform(-0.1, 0.1) if x else 0.0)

    def pass_by(self, actor: Actor) -> None:
        """Something moves through without being an item."""
        self.actors.append(actor)
        self.now_s = actor.keys[-1].at_s

    def show(
        self, item: Item, way: Sequence[Key], *, in_hand: bool = False, side: tuple[float, float] | None = None
    ) -> None:
        """An item comes in, goes along `way` (times count from where it is held), and leaves where it came from."""
        x, y = side or self.side()
        enters_s = self.now_s
        full_s = enters_s + self.uniform(0.25, 0.6)
        leaves_s = full_s + way[-1].at_s
        gone_s = leaves_s + self.uniform(0.25, 0.5)
        first, last = Key(enters_s, x, y, way[0].scale, way[0].turn), Key(gone_s, x, y, way[-1].scale, way[-1].turn)
        keys = (first, *(replace(key, at_s=full_s + key.at_s) for key in way), last)
        shaken = Actor(item.load(), keys, shake=1.0, seed=int(self.rng.integers(1000)))
        self.actors.append(shaken)
        if in_hand:
            grip = tuple(replace(key, x=key.x + _GRIP, scale=1.0, turn=0.0) for key in keys)
            self.actors.append(replace(shaken, layer=hand(self.seed), keys=grip))
        self.visits.append(Visit(item.label, enters_s, full_s, leaves_s, gone_s))
        self.now_s = gone_s

    def hold(self, low: float = 1.0, high: float = 2.0) -> list[Key]:
        """Held in one place, a little off the middle."""
        x, y = self.uniform(-0.05, 0.05), self.uniform(-0.05, 0.05)
        return [Key(0.0, x, y), Key(self.uniform(low, high), x, y)]

    def film(self, kind: str, *, light: Light | None = None, noise: float = 2.0, auto_exposure: bool = False) -> Film:
        """The film, with the empty bin at its end."""
        made = Film(
            kind,
            self.staged.empty,
            tuple(self.actors),
            tuple(self.visits),
            self.now_s + _LAST_S,
            noise=noise,
            auto_exposure=auto_exposure,
            seed=self.seed,
        )
        return made if light is None else replace(made, light=light)


def _held_up(script: Script, items: Sequence[Item]) -> Film:
    for item in items:
        script.show(item, script.hold())
        script.pause()
    return script.film("held up")


def _in_a_hand(script: Script, items: Sequence[Item]) -> Film:
    for item in items:
        script.show(item, script.hold(), in_hand=True, side=(_OUT, 0.0))
        script.pause()
    return script.film("in a hand")


def _turned_and_nearer(script: Script, items: Sequence[Item]) -> Film:
    for item in items:
        turn, far = script.uniform(-50, 50), script.uniform(0.6, 0.8)
        way = [
            Key(0.0, scale=far),
            Key(0.5, scale=far),
            Key(1.1, scale=1.15, turn=turn),
            Key(2.0, scale=1.15, turn=turn),
        ]
        script.show(item, way)
        script.pause()
    return script.film("turned and moved nearer")


def _half_out(script: Script, items: Sequence[Item]) -> Film:
    """Held, drawn half out of the picture, held again: one item."""
    return _away_and_back(script, items, "half out and back", part=0.4, away_s=(0.3, 1.0))


def _gone_for_a_moment(script: Script, items: Sequence[Item]) -> Film:
    """Out of the picture for less than half a second, and back: one item."""
    return _away_and_back(script, items, "gone for a moment", part=1.0, away_s=(0.02, 0.12))


def _away_and_back(
    script: Script, items: Sequence[Item], name: str, *, part: float, away_s: tuple[float, float]
) -> Film:
    """Held, drawn to one side by `part` of the way out, there for some seconds, held again."""
    for item in items:
        x, y = script.side()
        first, away = script.uniform(0.8, 1.5), script.uniform(*away_s)
        out = {"x": x * part, "y": y * part}
        way = [Key(0.0), Key(first), Key(first + 0.3, **out), Key(first + 0.3 + away, **out), Key(first + 0.6 + away)]
        script.show(item, [*way, Key(way[-1].at_s + script.uniform(0.8, 1.5))], side=(x, y))
        script.pause()
    return script.film(name)


def _quick_succession(script: Script, items: Sequence[Item]) -> Film:
    for number, item in enumerate(items):
        script.show(item, script.hold(0.8, 1.2))
        script.pause(*((0.6, 0.9) if number % 2 == 0 else (1.0, 1.6)))
    return script.film("two in quick succession")


def _left(script: Script, items: Sequence[Item], low: float, high: float, kind: str) -> Film:
    for item in items:
        way = script.hold(low, high)
        script.show(item, way)
        script.actors[-1] = replace(script.actors[-1], shake=0.0)  # put down
        script.pause(1.5, 2.5)
    return script.film(kind, light=lambda now_s: _grey(0.85 - 0.15 * math.sin(now_s / 9)))


def _left_long(script: Script, items: Sequence[Item]) -> Film:
    return _left(script, items, _LONG_S, 1.3 * _LONG_S, "left for half a minute")


def _left_very_long(script: Script, items: Sequence[Item]) -> Film:
    return _left(script, items, _VERY_LONG_S, 1.1 * _VERY_LONG_S, "left for minutes")


def _clouds(script: Script, items: Sequence[Item]) -> Film:
    """The light falls to half and comes back, warmer and colder, over and over."""
    for item in items:
        script.show(item, script.hold())
        script.pause(2.0, 5.0)
    phase = script.uniform(0, 6)

    def light(now_s: float) -> tuple[float, float, float]:
        level, warmth = 0.75 + 0.25 * math.sin(now_s / 3 + phase), 0.1 * math.sin(now_s / 5)
        return (level * (1 - warmth), level, level * (1 + warmth))

    return script.film("light changes slowly", light=light)


def _lamps(script: Script, items: Sequence[Item]) -> Film:
    """A lamp goes off or on between items and while one is held."""
    switches = [0.9]
    for item in items:
        way = script.hold(1.6, 2.4)
        script.show(item, way)
        if script.uniform(0, 1) < 0.5:
            switches.append(script.visits[-1].full_s + script.uniform(0.1, 1.0))
        script.pause(0.7, 1.0)
        switches.append(script.now_s)
        script.pause(0.7, 1.0)
    dim = script.uniform(0.25, 0.6)

    def light(now_s: float) -> tuple[float, float, float]:
        return (1.0, 1.0, 1.0) if sum(at <= now_s for at in switches) % 2 == 0 else (0.8 * dim, dim, 1.1 * dim)

    return script.film("light switched", light=light)


def _auto_exposure(script: Script, items: Sequence[Item]) -> Film:
    """The camera sets its exposure in steps, at the start and whenever an item makes the picture lighter or darker."""
    script.pause(2.0, 2.5)
    for item in items:
        script.show(item, script.hold(1.4, 2.2))
        script.pause(1.2, 2.0)
    level = script.uniform(0.5, 1.1)
    return script.film("auto-exposure in steps", light=lambda _: _grey(level), auto_exposure=True)


def _dim_and_noisy(script: Script, items: Sequence[Item]) -> Film:
    for item in items:
        script.show(item, script.hold())
        script.pause()
    level = script.uniform(0.15, 0.3)
    return script.film("dim, with noise", light=lambda _: _grey(level), noise=6.0)


def _shadows(script: Script, items: Sequence[Item]) -> Film:
    """Shadows pass, linger and go; then an item."""
    for item in items:
        for _ in range(3):
            x, _ = script.side()
            side, begin = x or _OUT, script.now_s
            mid_x, quick = script.uniform(-0.3, 0.3), script.uniform(0.4, 1.5)
            linger = script.uniform(0.0, 2.0)
            keys = (
                Key(begin, side),
                Key(begin + quick, mid_x),
                Key(begin + quick + linger, mid_x),
                Key(begin + 2 * quick + linger, -side),
            )
            script.pass_by(Actor(shadow(int(script.rng.integers(10**6))), keys, shake=1.0, seed=script.seed))
            script.pause(0.5, 1.0)
        script.show(item, script.hold())
        script.pause()
    return script.film("shadows pass, then an item")


def _hands_and_lids(script: Script, items: Sequence[Item]) -> Film:
    """A hand without an item is waved through, the lid swings by; then an item."""
    for item in items:
        begin, seed = script.now_s, int(script.rng.integers(10**6))
        reach, quick = script.uniform(0.0, 0.35), script.uniform(0.25, 0.5)
        keys = (Key(begin, _OUT), Key(begin + quick, reach), Key(begin + 2 * quick, _OUT, script.uniform(-0.2, 0.2)))
        script.pass_by(Actor(hand(seed), keys, shake=1.0, seed=seed))
        script.pause()
        begin, quick = script.now_s, script.uniform(0.3, 0.5)
        keys = (Key(begin, 0.0, -_OUT), Key(begin + quick, 0.0, 0.0), Key(begin + 2 * quick, 0.0, -_OUT))
        script.pass_by(Actor(lid(seed), keys))
        script.pause()
        script.show(item, script.hold())
        script.pause()
    return script.film("hand and lid pass, then an item")


def _lid_opens(script: Script, items: Sequence[Item]) -> Film:
    """The closed bin is dark; a lid lets the light in for each item, and closes again."""
    opens: list[tuple[float, float]] = []
    for item in items:
        begin = script.now_s
        script.now_s += script.uniform(0.3, 0.7)
        script.show(item, script.hold())
        script.now_s += script.uniform(0.2, 0.8)
        opens.append((begin, script.now_s))
        script.pause(1.5, 3.0)
    dark = script.uniform(0.05, 0.12)

    def light(now_s: float) -> tuple[float, float, float]:
        open_part = max(min((now_s - begin) / 0.3, (end - now_s) / 0.3, 1.0) for begin, end in opens)
        return _grey(dark + (1 - dark) * max(open_part, 0.0))

    return script.film("a lid lets light in", light=light)


def _grey(level: float) -> tuple[float, float, float]:
    return (level, level, level)


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind is made, how many items a film of it shows, and which part of the wanted items it gets."""

    write: Callable[[Script, Sequence[Item]], Film]
    items: int = 4
    part: float = 1.0


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "held up": Kind(_held_up),
        "in a hand": Kind(_in_a_hand),
        "turned and moved nearer": Kind(_turned_and_nearer),
        "half out and back": Kind(_half_out),
        "gone for a moment": Kind(_gone_for_a_moment),
        "two in quick succession": Kind(_quick_succession),
        "left for half a minute": Kind(_left_long, items=1, part=0.2),
        "left for minutes": Kind(_left_very_long, items=1, part=0.1),
        "light changes slowly": Kind(_clouds),
        "light switched": Kind(_lamps),
        "auto-exposure in steps": Kind(_auto_exposure),
        "dim, with noise": Kind(_dim_and_noisy),
        "shadows pass, then an item": Kind(_shadows, items=2, part=0.5),
        "hand and lid pass, then an item": Kind(_hands_and_lids, items=2, part=0.5),
        "a lid lets light in": Kind(_lid_opens),
    }
)


def films_of(kind: str, bins: Sequence[Bin], items: int, seed: int) -> Iterator[Film]:
    """Films of a kind that show about `items` items, from all bins in turn; each bin's items come in random order."""
    made = KINDS[kind]
    wanted = max(1, round(items * made.part))
    rng = np.random.default_rng((seed, list(KINDS).index(kind)))
    orders = [rng.permutation(len(staged.items)) for staged in bins]
    number = shown = 0
    while shown < wanted:
        place, turn = number % len(bins), number // len(bins)
        staged, order = bins[place], orders[place]
        count = min(made.items, wanted - shown)
        chosen = [staged.items[order[(turn * made.items + index) % len(order)]] for index in range(count)]
        yield made.write(Script(staged, int(rng.integers(10**6))), chosen)
        shown, number = shown + count, number + 1

"""Films played to the daemon, the accounts of their decisions, and whether films show what they say."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.decision_ledger import Ledger, settle, together
from benchmarks.film_kinds import KINDS, films_of
from benchmarks.item_films import Actor, Film, Key, Visit
from benchmarks.item_layers import HEIGHT, WIDTH, Bin, Item, Layer, cut_from_ground, panel_bin, photo_items, scene_bins
from benchmarks.report import read_report
from benchmarks.run import main
from device.decision import Decision, DecisionKind, DecisionSettings
from smartbin.brightness import Exposure
from smartbin.errors import ConfigError
from smartbin.images import BgrImage
from tests.tiny_bundle import write_tiny_bundle

COLOURS = {"red": (30, 30, 220), "green": (40, 200, 40), "blue": (220, 60, 30)}


def photo(colour: str, size: float = 0.6) -> BgrImage:
    """A coloured thing on a light ground that gets darker to one side, as in a photo."""
    ground = np.linspace(215, 180, 512)[None, :, None] * np.ones((384, 1, 3)) * (0.97, 1.0, 1.02)
    image = (ground + np.random.default_rng(0).normal(0, 2, ground.shape)).clip(0, 255).astype(np.uint8)
    half = (int(256 * size), int(192 * size))
    cv2.rectangle(image, (256 - half[0], 192 - half[1]), (256 + half[0], 192 + half[1]), COLOURS[colour], cv2.FILLED)
    cv2.line(image, (256 - half[0], 192), (256 + half[0], 170), (240, 240, 240), 9)
    return image


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for colour in COLOURS:
        (tmp_path / "photos" / colour).mkdir(parents=True)
        for number, size in enumerate((0.5, 0.7)):
            cv2.imwrite(str(tmp_path / "photos" / colour / f"{colour}{number}.jpg"), photo(colour, size))
    return tmp_path / "photos"


def test_films_are_played_to_the_daemon_and_accounted_for(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tiny bundle tells colours; of the rendered items it knows no class."""
    bundle = write_tiny_bundle(tmp_path / "tiny").path
    films = ["--films", "held up", "gone for a moment", "--limit", "1", "--sheets", "sheets"]
    arguments = ["sequences", "--bundle", str(bundle), "--photos", str(photos), *films, "--out", "s.json"]
    assert main(arguments) == 0
    assert "RESULT ok scenarios=sequences rows=6" in capsys.readouterr().out
    (table,) = read_report(Path("s.json")).tables
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    for kind in ("held up", "gone for a moment"):
        row = rows[f"photos: {kind}"]
        assert [row[name] for name in ("items", "once", "twice or more", "missed", "nothing there")] == [1, 1, 0, 0, 0]
        assert row["right"] == 1
        assert 0 < row["p50 s"] <= row["p95 s"] < 1.5
        sheet = cv2.imread(f"sheets/photos, {kind}.jpg")
        assert sheet is not None
        assert sheet.shape == (540, 1920, 3)
    total = rows["photos: all"]
    assert (total["items"], total["once"], total["right"]) == (2, 2, 2)
    assert rows["rendered: all"]["right"] == 0
    assert [item.accuracy for item in table.measurements if item.name == "photos: all"] == [1.0]


class TestLedger:
    GLASS = Visit("glass", 1.0, 1.5, 3.0, 3.4)
    METAL = Visit("metal", 4.2, 4.6, 6.0, 6.4)

    def decision(
        self, arrived_s: float, decided_s: float, label: str | None = "glass", kind: DecisionKind = "accepted"
    ) -> Decision:
        return Decision(kind, label, 0.9, "bin", 1, 3, arrived_s, decided_s, Exposure(0.5, 0.0))

    def settle(self, *decisions: Decision) -> Ledger:
        return settle((self.GLASS, self.METAL), decisions)

    def test_one_decision_each(self) -> None:
        ledger = self.settle(self.decision(1.2, 1.7), self.decision(4.3, 5.0, "metal"))
        assert (ledger.count(1), ledger.more_than_once, ledger.count(0), len(ledger.nothing_there)) == (2, 0, 0, 0)
        assert ledger.answers("right") == 2
        assert ledger.waits_s == pytest.approx([0.2, 0.4])

    def test_an_item_that_is_decided_twice_counts_as_such_and_by_its_first_answer(self) -> None:
        ledger = self.settle(self.decision(1.2, 1.7, "metal"), self.decision(2.2, 2.7, "glass"))
        assert (ledger.count(1), ledger.more_than_once, ledger.count(0)) == (0, 1, 1)
        assert (ledger.answers("right"), ledger.answers("wrong"), ledger.answers("uncertain")) == (0, 1, 0)
        assert ledger.waits_s == pytest.approx([0.2])

    def test_a_missed_item(self) -> None:
        ledger = self.settle(self.decision(4.3, 5.0, "metal"))
        assert [fate.answer for fate in ledger.fates] == [None, "right"]
        assert ledger.count(0) == 1

    @pytest.mark.parametrize(("arrived_s", "decided_s"), [(0.2, 0.8), (3.95, 4.1), (3.3, 4.0), (7.0, 7.5)])
    def test_a_decision_on_nothing(self, arrived_s: float, decided_s: float) -> None:
        ledger = self.settle(self.decision(arrived_s, decided_s))
        assert len(ledger.nothing_there) == 1
        assert ledger.count(0) == 2

    def test_one_that_falls_when_the_item_has_just_gone_is_on_it(self) -> None:
        ledger = self.settle(self.decision(1.2, 3.7))
        assert ledger.fates[0].answer == "right"

    def test_of_two_items_it_is_on_the_one_that_it_shares_most_time_with(self) -> None:
        ledger = self.settle(self.decision(3.3, 5.0, "metal"))
        assert [fate.answer for fate in ledger.fates] == [None, "right"]

    @pytest.mark.parametrize("kind", ["uncertain", "too_dark", "too_bright"])
    def test_without_a_guess_is_uncertain(self, kind: DecisionKind) -> None:
        assert self.settle(self.decision(1.2, 1.7, None, kind)).answers("uncertain") == 1

    def test_many_films_are_added_up(self) -> None:
        one = self.settle(self.decision(1.2, 1.7), self.decision(0.1, 0.2))
        both = together([one, self.settle()])
        assert (len(both.fates), both.count(1), both.count(0), len(both.nothing_there)) == (4, 1, 3, 1)
        assert together([]) == Ledger()
        assert settle((), [self.decision(1.0, 2.0)]).nothing_there != ()


def staged() -> Bin:
    """A bin with a red, a green and a blue thing."""

    def load(colour: str) -> Layer:
        layer = cut_from_ground(colour, photo(colour))
        assert layer is not None
        return layer

    return panel_bin(0, [Item(colour, colour, partial(load, colour)) for colour in COLOURS])


class TestLayers:
    def test_before_its_own_ground_a_cut_photo_is_the_photo(self) -> None:
        for colour in COLOURS:
            layer = cut_from_ground(colour, photo(colour))
            assert layer is not None
            ground = np.median(photo(colour)[:20], axis=0).astype(np.float32)
            ground = cv2.resize(ground[None], (WIDTH, HEIGHT))
            large = cv2.resize(photo(colour), (WIDTH, HEIGHT)).astype(np.float32)
            assert np.abs(ground * layer.through - large).mean() < 6

    @pytest.mark.parametrize(
        "image",
        [
            np.full((384, 512, 3), (90, 140, 190), np.uint8),  # brown board that fills the picture
            np.full((384, 512, 3), 200, np.uint8),  # nothing on the ground
            np.random.default_rng(0)
            .integers(0, 255, (8, 8, 3), np.uint8)
            .repeat(48, 0)
            .repeat(64, 1),  # no plain ground
        ],
    )
    def test_photos_that_cannot_be_staged(self, image: BgrImage, tmp_path: Path) -> None:
        assert cut_from_ground("photo", image) is None
        cv2.imwrite(str(tmp_path / "photo.png"), image)
        with pytest.raises(ConfigError, match="no photo can be staged"):
            photo_items([tmp_path / "photo.png"])

    def test_the_scene_gives_every_item_with_its_class(self) -> None:
        bins = scene_bins()
        names = [item.name for staged in bins for item in staged.items]
        assert len(names) == len(set(names)) == 15
        for stage in bins:
            for item in stage.items:
                layer = item.load()
                assert layer.added is not None
                seen = stage.empty * layer.through + layer.added
                changed = np.abs(seen - stage.empty).max(axis=2) > 0.03
                assert 0.05 < changed.mean() < 0.7, item.name


class TestFilms:
    def pictures(self, film: Film) -> list[BgrImage]:
        return [frame.image for frame in film.frames()]

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind_tells_where_its_items_are(self, kind: str) -> None:
        """Also that an item which is held twice is away for less than the bin needs to take it for another."""
        film = next(films_of(kind, [staged()], 20, 3))
        again = next(films_of(kind, [staged()], 20, 3))
        assert film.visits == again.visits
        assert film.visits
        before_s = 1.0
        for visit in film.visits:
            assert before_s <= visit.enters_s < visit.full_s < visit.leaves_s < visit.gone_s < film.seconds - 1
            before_s = visit.gone_s + 0.5
        settings = DecisionSettings()
        for actor in film.actors:
            moments = np.arange(actor.keys[0].at_s, actor.keys[-1].at_s, 1 / film.fps)
            poses = [pose for pose in map(actor.pose, moments) if pose is not None]
            away = [max(abs(pose.x), abs(pose.y)) > 1.05 for pose in poses[20:-20]]
            if actor.layer.name in COLOURS:
                assert sum(away) / film.fps < settings.leave_s + settings.clear_s

    def test_a_film_is_the_same_to_the_bit(self) -> None:
        one, other = (next(films_of("held up", [staged()], 1, 5)).frames() for _ in range(2))
        for first, second in itertools.islice(zip(one, other, strict=True), 60):
            assert (first.image == second.image).all()
            assert (first.captured_s, first.truth) == (second.captured_s, second.truth)

    def test_what_moves_is_smeared_and_what_is_held_shakes(self) -> None:
        square = np.ones((HEIGHT, WIDTH, 3), np.float32)
        square[200:280, 280:360] = 0.2
        keys = (Key(0.0, -0.5), Key(0.3, 0.0), Key(1.0, 0.0))
        film = Film("test", np.full((HEIGHT, WIDTH, 3), 0.7, np.float32), (), (), 1.0, noise=0.0)
        still = Film(film.kind, film.empty, (Actor(Layer("square", square), keys),), (), 1.0, noise=0.0)
        held = Film(film.kind, film.empty, (Actor(Layer("square", square), keys, shake=1.0),), (), 1.0, noise=0.0)
        assert len(self.pictures(film)) == 30
        pictures = self.pictures(still)

        def rim(image: BgrImage) -> int:
            """Columns that are neither the square's nor the bin's."""
            line = image[240, :, 0].astype(int)
            return int(((line > line.min() + 8) & (line < line.max() - 8)).sum())

        assert rim(pictures[5]) > 10
        assert rim(pictures[20]) <= 4
        assert (pictures[20] == pictures[25]).all()
        shaken = self.pictures(held)
        assert 0.1 < np.abs(shaken[20].astype(int) - shaken[25].astype(int)).mean() < 3

    def test_the_exposure_goes_in_steps_to_the_middle(self) -> None:
        dark = np.full((HEIGHT, WIDTH, 3), 0.2, np.float32)
        film = Film("test", dark, (), (), 3.0, noise=0.0, auto_exposure=True)
        means = [float(image.mean()) for image in self.pictures(film)]
        assert means[0] == pytest.approx(51, abs=1)
        assert 105 < means[-1] < 140
        assert 5 <= len(set(means)) <= 12

    def test_noise_is_as_asked(self) -> None:
        grey = np.full((HEIGHT, WIDTH, 3), 0.5, np.float32)
        one, other = self.pictures(Film("test", grey, (), (), 0.1, noise=4.0))[:2]
        assert one.std() == pytest.approx(4.0, rel=0.1)
        assert (one != other).mean() > 0.8

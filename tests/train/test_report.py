"""The report of a run through the real entry point: it agrees with the run's files, and its page stands alone."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from smartbin.errors import CheckpointError
from smartbin.wording import counted
from tests.conftest import draw_photo
from tests.train.conftest import FLAGS
from tests.train.tiny import register_tiny
from train.checkpoint import load_run
from train.machine import describe_device
from train.report import outsiders
from train.report.document import duration
from train.report.document_markdown import escape
from train.report.findings import Findings
from train.report.outputs import load_outputs
from train.report.report import write_report
from train.run import main

NASTY = '<img src=x onerror=alert(1)> | *b* `c` & "q" $x_1$'
PHOTOS = {"bottle": 12, "can & co <b>": 12}
_VOID = {"meta", "img", "source", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Tags with their attributes, the text, and whether every tag was closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on photos whose names and one class are full of markup, with a few outsiders."""
    register_tiny()
    folder = tmp_path_factory.mktemp("report")
    for index, (label, count) in enumerate(PHOTOS.items()):
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(count):
            encoded = cv2.imencode(".jpg", draw_photo(100 * index + number))[1].tobytes()
            (folder / "photos" / label / f"{NASTY}{number}.jpg").write_bytes(encoded)
    flags = [flag for flag in FLAGS if flag != "--no-outsiders"]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("VIEWS", "TEXTURE_VIEWS", "ITEM_VIEWS"):
            patch.setattr(outsiders, name, 1)
        out = folder / "run"
        assert main(["--data", str(folder / "photos"), "--out", str(out), "--epochs", "2", *flags]) == 0
    return out


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


@pytest.fixture
def page(run: Path) -> Page:
    return Page((run / "report.html").read_text(encoding="utf-8"))


def test_page_needs_nothing_from_outside(page: Page) -> None:
    links = [value for _, tag in page.tags for name, value in tag.items() if name in {"src", "srcset", "href", "data"}]
    assert links
    assert [link for link in links if not link.startswith(("data:image/", "#"))] == []
    assert page.of("script") == page.of("link") == []
    policy = [tag["content"] for tag in page.of("meta") if tag.get("http-equiv") == "Content-Security-Policy"]
    assert len(policy) == 1
    assert "default-src 'none'" in policy[0]


def test_page_can_be_read_aloud(page: Page) -> None:
    assert page.of("html")[0]["lang"] == "en"
    assert all(image["alt"].strip() for image in page.of("img"))
    assert len(page.of("img")) >= 5
    assert len(page.of("table")) == len(page.of("caption")) >= 5
    assert all(cell["scope"] in {"row", "col"} for cell in page.of("th"))
    names = [tag["id"] for _, tag in page.tags if "id" in tag]
    assert len(names) == len(set(names))
    targets = [tag["href"][1:] for tag in page.of("a")]
    assert set(targets) <= set(names)
    headings = [tag for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == "h1"
    assert set(headings[1:]) == {"h2"}


def test_names_cannot_break_out_of_the_page(run: Path, page: Page) -> None:
    assert not any("onerror" in tag for _, tag in page.tags)
    assert page.of("b") == []
    assert NASTY in page.text
    text = (run / "report.md").read_text(encoding="utf-8")
    assert "can & co \\<b\\>" in text
    assert re.search(r"(?<!\\)<", text) is None
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows
    for line in rows:
        assert line.endswith("|")


def test_report_agrees_with_the_files(run: Path, page: Page) -> None:
    score = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["val"]
    findings = Findings.model_validate_json((run / "report.json").read_text(encoding="utf-8"))
    outputs = load_outputs(run)
    predicted = outputs.val.outputs.logits.argmax(axis=1)
    assert int((predicted == outputs.val.outputs.labels).sum()) == score["correct"]
    for text in (page.text, (run / "report.md").read_text(encoding="utf-8")):
        assert f"{score['accuracy']:.4f}" in text
        assert f"{score['macro_f1']:.4f}" in text
        assert f"{findings.reliability.crossfitted:.3f}" in text
        assert f"{findings.catches[0].caught:.1%}" in text
    assert outputs.outsiders is not None
    one_each = len(outsiders.natural_files()) + len(outsiders.TEXTURES) + len(outsiders.ITEMS)
    assert len(outputs.outsiders.names) == one_each
    assert {kind.kind for kind in findings.catches[0].kinds} == set(outsiders.OUTSIDER_KINDS)


def test_report_is_made_again_to_the_byte(run: Path, copy: Path) -> None:
    made = [path for path in copy.iterdir() if path.suffix in {".html", ".md", ".png"} or path.name == "report.json"]
    before = {path.name: path.read_bytes() for path in made}
    for path in made:
        path.unlink()
    assert main(["report", str(copy)]) == 0
    assert {path.name: path.read_bytes() for path in made} == before
    assert {path.name for path in copy.iterdir()} == {path.name for path in run.iterdir()}


def test_photos_that_are_gone_leave_a_note(copy: Path) -> None:
    split = json.loads((copy / "split.json").read_text(encoding="utf-8"))
    text = json.dumps(split).replace(json.dumps(str(load_run(copy).photos("val")[0].path.parents[1]))[1:-1], "/gone")
    (copy / "split.json").write_text(text, encoding="utf-8")
    write_report(copy)
    assert "No gallery: photos of the run's val part are gone" in (copy / "report.html").read_text().replace(
        "&#39;", "'"
    )


def test_run_of_an_older_version_says_what_is_missing(copy: Path) -> None:
    (copy / "outputs.npz").unlink()
    (copy / "report.json").unlink()
    write_report(copy)
    text = Page((copy / "report.html").read_text(encoding="utf-8")).text
    assert "made before logits were kept" in text
    assert "Calibration error" not in text
    assert not (copy / "report.json").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and then nothing", b"no archive"], ids=["empty", "cut", "other"])
def test_damaged_outputs_are_refused(copy: Path, content: bytes) -> None:
    (copy / "outputs.npz").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        write_report(copy)


def test_outputs_with_a_pickle_are_refused(copy: Path) -> None:
    np.savez(copy / "outputs.npz", val_logits=np.array([{}], object), val_labels=np.zeros(1, int))
    with pytest.raises(CheckpointError, match="damaged"):
        write_report(copy)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", "a\\|b"),
        ("<b>", "\\<b\\>"),
        ("*x* and `y`", "\\*x\\* and \\`y\\`"),
        ("snake_case", "snake_case"),
        ("_emphasis_", "\\_emphasis\\_"),
        ("two\nlines", "two lines"),
        ("[a](b)", "\\[a\\](b)"),
    ],
)
def test_markdown_is_escaped(text: str, escaped: str) -> None:
    assert escape(text) == escaped


@pytest.mark.parametrize(("seconds", "said"), [(0.04, "0.0 s"), (8.44, "8.4 s"), (59, "59.0 s"), (90, "1.5 min")])
def test_short_times_are_said_in_seconds(run: Path, seconds: float, said: str) -> None:
    assert duration(seconds) == said
    assert re.search(r"\*\*Time: \d+\.\d s\*\*", (run / "report.md").read_text(encoding="utf-8"))


def test_causes_of_a_higher_training_loss_are_named(copy: Path) -> None:
    """Planted figures: of three causes the page names the largest, with its difference from the plain loss."""
    metrics = json.loads((copy / "metrics.json").read_text(encoding="utf-8"))
    metrics["loss_parts"] = {
        "photos": 12, "plain": 0.25, "augmented": 0.75, "dropout": 0.375, "batch_statistics": 0.25, "training": 0.375,
        "augmented_training": 0.875, "not_averaged": None, "not_averaged_training": None,
    }  # fmt: skip
    (copy / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    write_report(copy)
    text = Page((copy / "report.html").read_text(encoding="utf-8")).text
    assert "everything together adds +0.6250 to the plain 0.2500" in text
    assert "the largest single cause is augmentation (+0.5000)" in text
    assert "moving average, alone" not in text
    metrics["loss_parts"] |= {"not_averaged": 0.875, "not_averaged_training": 1.25}
    (copy / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    write_report(copy)
    text = Page((copy / "report.html").read_text(encoding="utf-8")).text
    assert "cause is the plain weights instead of their moving average (+0.6250)" in text
    assert "everything together adds +1.0000" in text


def test_report_says_at_which_sizes_a_default_run_was_trained_and_tested(run: Path, page: Page) -> None:
    assert "train_size = 0" in (run / "config.toml").read_text(encoding="utf-8")
    for text in (page.text, (run / "report.md").read_text(encoding="utf-8")):
        assert text.count("trained at 32 px, tested at 32 px") == 2  # in the summary and among the facts


@pytest.mark.parametrize(("loss", "says"), [(9.0, "above"), (0.0, "below")])
def test_direction_of_the_loss_gap_is_said_in_a_word_alone(copy: Path, loss: float, says: str) -> None:
    metrics = json.loads((copy / "metrics.json").read_text(encoding="utf-8"))
    metrics["history"][-1]["train_loss"] = loss
    (copy / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    write_report(copy)
    gap = abs(loss - metrics["val"]["loss"])
    assert f"is {says} the validation loss, by {gap:.4f}: " in (copy / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("number", "said"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs")])
def test_one_of_a_thing_is_not_called_several(number: int, said: str) -> None:
    assert counted(number, "run") == said
    assert describe_device(torch.device("cpu")).endswith(", 1 thread")

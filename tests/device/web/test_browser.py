"""The page in a real browser, Debian's Chromium, on a real daemon that plays the built-in scene.

    SMARTBIN_SCREENSHOTS=docs/page python -m pytest tests/device/web/test_browser.py

writes the pictures of the documentation; without the variable they go to a folder of the tests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from device.cli import main
from device.scene import builtin_scene_path
from smartbin.bundle import builtin_bundle_path, read_bundle
from smartbin.bundle_archive import pack_bundle
from smartbin.bundle_store import BundleStore
from smartbin.signing import make_key, sign_bundle
from tests.device.broker import free_port, wait_until

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

ROOT = Path(__file__).resolve().parents[3]
CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
LONG_MS = 30_000
TABS = ("/", "/label", "/history", "/counts", "/health", "/model", "/settings")
MOST_BYTES = 150_000

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)")

PIXELS = """() => {
  const image = document.querySelector("[data-picture]"), canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [32, 24];
  canvas.getContext("2d").drawImage(image, 0, 0, 32, 24);
  return Array.from(canvas.getContext("2d").getImageData(0, 0, 32, 24).data).join();
}"""


AT_REST = """() => {
  const box = document.querySelector("[data-box]");
  const seen = ["x", "y", "width", "height"].map(name => box[name].baseVal.value);
  if (String(seen) !== window.boxSeen) [window.boxSeen, window.boxSince] = [String(seen), performance.now()];
  return document.querySelector("[data-step=DECIDED]").classList.contains("now") && seen[2] > 200
    && performance.now() - window.boxSince > 300 && Number(document.querySelector("[data-luma]").textContent) > 0.5;
}"""


@dataclass
class RunningBin:
    """A daemon with its page."""

    address: str
    config: Path
    bundles: BundleStore
    archive: Path  # of a bundle that it was not offered


def offer(folder: Path, version: str, key: Path) -> Path:
    """The built-in bundle under another version, signed."""
    shutil.copytree(builtin_bundle_path(), folder)
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "version": version}))
    sign_bundle(folder, key)
    return folder


def write_slow_scene(folder: Path) -> Path:
    """The built-in scene, in which each item stays three times as long: time enough to look at it."""
    shutil.copytree(builtin_scene_path(), folder)
    story = json.loads((folder / "story.json").read_text())
    story["frames"] = [told for told in story["frames"] for _ in range(3 if told["phase"] == "staying" else 1)]
    (folder / "story.json").write_text(json.dumps(story))
    return folder


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[RunningBin]:
    for needed in (builtin_scene_path() / "story.json", builtin_bundle_path() / "manifest.json"):
        if not needed.is_file():
            pytest.skip(f"{needed.relative_to(ROOT)} is not here")
    folder = tmp_path_factory.mktemp("bin")
    public_key = make_key(key := folder / "private.pem")
    for version in ("1", "2"):
        offer(folder / "offered" / f"lite2-{version}", version, key)
    pack_bundle(read_bundle(offer(folder / "lite2-3", "3", key)), folder / "lite2-3.tar")
    config = folder / "bin.toml"
    config.write_text(f"""
[source]
uri = "scene:{write_slow_scene(folder / "scene")}"
loop = true
pace = "real"
[device]
name = "kitchen"
[store]
enabled = "on"
folder = "{folder}/store"
[samples]
accepted_share = 1.0
min_difference = 0.0
min_free_mb = 0.0
per_minute = 100
[bundles]
folder = "{folder}/bundles"
public_key = "{public_key}"
[page]
port = {free_port()}
bundles_from = "{folder}/offered"
""")
    command = [sys.executable, str(ROOT / "device" / "run.py"), "--config", str(config), "--page", "--view", "off"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": ""})
    try:
        address = next(found[0] for line in process.stderr if (found := re.search(r"http://[\w.:]+", line)))
        yield RunningBin(address, config, BundleStore(folder / "bundles"), folder / "lite2-3.tar")
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        sandbox = [] if os.geteuid() else ["--no-sandbox"]  # it does not run as root
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield chromium
        chromium.close()


@pytest.fixture
def look(browser, running):
    """Opens a page of the bin; at the end nothing may have been asked of another host or complained about."""
    contexts, complaints = [], []

    def open_(path: str = "/", **options):
        context = browser.new_context(base_url=running.address, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(LONG_MS)
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: None if request.url.startswith(running.address) else complaints.append(request.url),
        )
        page.goto(path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def wait_for_decision(page) -> None:
    page.wait_for_selector(".headline.accepted, .headline.uncertain")


def test_the_live_view_moves_and_an_item_is_decided(look):
    page = look()
    page.wait_for_function('() => document.querySelector("[data-picture]").naturalWidth > 0')
    before, frame = page.evaluate(PIXELS), int(page.text_content("[data-frame]"))
    wait_for_decision(page)
    page.wait_for_function(f"before => ({PIXELS})() !== before", arg=before)
    assert int(page.text_content("[data-frame]")) > frame
    announced = page.text_content("[data-announce]")
    assert re.fullmatch(r"Item \d+: [a-z ]+, to [a-z]+", announced)
    newest = page.locator("[data-recent] li").first
    assert newest.locator(".tag").text_content() in announced
    assert page.locator(".steps .now").count() == 1
    assert page.get_attribute("progress.top", "value") is not None


def test_the_item_is_framed_while_it_is_there(look):
    page = look()
    width = 'document.querySelector("[data-box]").width.baseVal.value'
    page.wait_for_function(f"() => {width} === 0 && document.querySelector('[data-picture]').naturalWidth > 0")
    page.wait_for_function(f"() => {width} > 100")


def test_a_part_of_the_picture_is_drawn_and_looked_at(look):
    page = look()
    page.wait_for_function('() => document.querySelector("[data-picture]").naturalWidth > 0')
    page.get_by_text("Look at a part of the picture only").click()
    area = page.locator(".camera").bounding_box()
    page.mouse.move(area["x"] + 0.1 * area["width"], area["y"] + 0.2 * area["height"])
    page.mouse.down()
    page.mouse.move(area["x"] + 0.9 * area["width"], area["y"] + 0.8 * area["height"], steps=4)
    page.mouse.up()
    drawn = [float(page.get_by_label(name).input_value()) for name in ("left", "top", "width", "height")]
    assert drawn == pytest.approx([10, 20, 80, 60], abs=1)
    page.get_by_role("button", name="Use this part").click()
    page.wait_for_selector(".notice:has-text('[presence] region = [0.1')")
    page.wait_for_function("async () => (await (await fetch('/api/status')).json()).region !== null")
    page.wait_for_function('() => document.querySelector("[data-region]").width.baseVal.value > 100')
    page.get_by_text("Look at a part of the picture only").click()
    page.get_by_role("button", name="Use the whole picture").click()
    page.wait_for_function("async () => (await (await fetch('/api/status')).json()).region === null")


def test_paused_nothing_is_sent_and_the_picture_stays(look, running):
    page = look()
    page.wait_for_function('() => document.querySelector("[data-picture]").naturalWidth > 0')
    page.get_by_role("button", name="Pause").click()
    assert page.locator(".camera canvas").count() == 1
    page.wait_for_function("async () => (await (await fetch('/metrics')).text()).includes('smartbin_page_viewers 0.0')")
    page.get_by_role("button", name="Go on").click()
    page.wait_for_function("async () => (await (await fetch('/metrics')).text()).includes('smartbin_page_viewers 1.0')")


def test_a_label_given_by_key_ends_up_in_the_exported_data_set(look, running, tmp_path, capsys):
    page = look()
    wait_for_decision(page)
    kept = "async () => (await (await fetch('/api/samples')).json()).waiting > 0"  # written after the decision
    page.wait_for_function(kept, polling=100)
    page.goto("/label")
    page.wait_for_selector("[data-key='1']")
    number = re.search(r"Picture (\d+)", page.text_content(".asking section"))[1]
    label = page.get_attribute("[data-key='1']", "value").removeprefix("class:")
    page.keyboard.press("1")
    page.wait_for_selector(f"text=Picture {number} is {label}.")
    out = tmp_path / "mine"
    assert main(["dataset", "export", "--config", str(running.config), "--out", str(out)]) == 0
    exported = [path.read_bytes() for path in (out / label).iterdir()]
    with urllib.request.urlopen(f"{running.address}/api/samples/{number}/image", timeout=20) as answer:
        assert answer.read() in exported
    capsys.readouterr()


def runs(running: RunningBin, version: str) -> None:
    """Wait until the bin runs that version of the model."""

    def told() -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{running.address}/api/model", timeout=20) as answer:
            return f"smartbin-lite2 {version} (" in json.load(answer)["running"]
        return False  # its server changes at the moment

    wait_until(told, f"version {version}", LONG_MS / 1000)


def test_install_and_roll_back(look, running):
    for version in ("1", "2"):
        page = look("/model")
        page.get_by_role("combobox", name="Bundle").select_option(f"lite2-{version}")
        page.get_by_role("button", name="Install", exact=True).click()
        page.wait_for_selector(f".notice:has-text('smartbin-lite2 {version} (efficientnet_lite2, int8) is installed')")
        assert read_bundle(running.bundles.current).manifest.version == version
        page.close()  # its live connections would complain of the server that changes
        runs(running, version)
    page = look("/model")
    page.get_by_role("button", name="Go back").click()
    page.wait_for_selector(".notice:has-text('smartbin-lite2 1 (efficientnet_lite2, int8) is current again')")
    assert read_bundle(running.bundles.current).manifest.version == "1"
    page.close()
    runs(running, "1")


def test_a_bundle_is_sent_from_the_browser(look, running):
    page = look("/model")
    page.get_by_label("Send a signed bundle").set_input_files(running.archive)
    page.get_by_role("button", name="Send and install").click()
    page.wait_for_selector("[data-uploaded]:has-text('smartbin-lite2 3 (efficientnet_lite2, int8) is installed')")
    assert read_bundle(running.bundles.current).manifest.version == "3"
    page.close()
    runs(running, "3")


def test_it_is_usable_by_keyboard(look):
    page = look("/history")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    reached = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim()"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", "where the focus is must be seen"
    assert {"Live", "Label", "History", "Counts", "Health", "Model", "Settings"} <= reached
    page.get_by_role("link", name="Counts").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/counts")


@pytest.mark.parametrize("path", TABS)
def test_on_a_phone_nothing_is_wider_than_the_screen(look, path):
    page = look(path, viewport={"width": 360, "height": 780}, is_mobile=True, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = page.evaluate(
        """() => Array.from(document.querySelectorAll("main button, main select, main .button"))
             .filter(one => one.offsetHeight > 0 && one.offsetHeight < 36).map(one => one.textContent)"""
    )
    assert small == [], "too small for a thumb"
    heights = page.evaluate(
        """() => Array.from(document.querySelectorAll(".chart text"))
             .map(one => one.getBoundingClientRect().height).filter(height => height > 0)"""
    )
    assert all(height >= 11 for height in heights), "too small for eyes"
    assert bool(heights) == (path == "/counts")


@pytest.mark.parametrize("path", TABS)
def test_everything_has_a_name_and_enough_contrast(look, path):
    for scheme in ("light", "dark"):
        page = look(path, color_scheme=scheme)
        nameless = page.evaluate(
            """() => [...document.querySelectorAll("img:not([alt]), progress:not([aria-label])"),
                 ...Array.from(document.querySelectorAll("input:not([type=hidden]), select"))
                   .filter(one => !one.labels.length)].map(one => one.outerHTML)"""
        )
        assert nameless == []
        assert [pair for pair in page.evaluate(CONTRASTS) if pair["ratio"] < 4.5] == []


CONTRASTS = """() => {
  const light = colour => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3)
      .map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = one => {
    for (; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (!/, 0\\)$|transparent/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (walker.nextNode()) {
    const one = walker.currentNode.parentElement;
    const left = "[disabled], .camera, svg, noscript, .unseen";
    if (!walker.currentNode.textContent.trim() || !one.offsetHeight || one.closest(left)) continue;
    const [a, b] = [light(getComputedStyle(one).color), light(ground(one))].sort((x, y) => y - x);
    found.push({text: one.textContent.trim().slice(0, 40), ratio: (a + 0.05) / (b + 0.05)});
  }
  return found;
}"""


def test_pictures_of_the_page(look, running, tmp_path):
    """The pictures that the documentation shows."""
    asked = os.environ.get("SMARTBIN_SCREENSHOTS")
    folder = Path(asked or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    enough = "async () => (await (await fetch('/api/samples')).json()).waiting >= 4"
    look("/health").wait_for_function(enough, polling=300)
    desktop, phone = {"width": 1000, "height": 640}, {"width": 390, "height": 780}
    shots = {
        "live": ("/", {"viewport": desktop}),
        "live-dark": ("/", {"viewport": desktop, "color_scheme": "dark"}),
        "live-phone": ("/", {"viewport": phone, "is_mobile": True, "has_touch": True}),
        "label-dark": ("/label", {"viewport": desktop, "color_scheme": "dark"}),
        "label-phone": ("/label", {"viewport": phone, "is_mobile": True, "has_touch": True}),
        "counts": ("/counts?days=7", {"viewport": {**desktop, "height": 800}}),
    }
    for name, (path, options) in shots.items():
        page = look(path, **options)
        if path == "/":
            page.wait_for_selector(".headline.accepted")
            page.wait_for_function(AT_REST if asked else "() => true")
        page.wait_for_function(
            "() => Array.from(document.images).every("
            "one => one.naturalWidth || one.getBoundingClientRect().top > innerHeight)"
        )
        save(page.screenshot(), folder / f"{name}.png")
        page.context.close()
    assert {path.stem for path in folder.glob("*.png")} >= set(shots)
    assert [path.name for path in folder.glob("*.png") if path.stat().st_size > MOST_BYTES] == []


def save(png: bytes, path: Path) -> None:
    """With a palette: a third of the size, and hardly seen."""
    import cv2
    import numpy as np
    from PIL import Image

    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    shown = Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    shown.quantize(112, kmeans=2, dither=Image.Dither.NONE).save(path, optimize=True)

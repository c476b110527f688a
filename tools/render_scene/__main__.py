"""Command line: renders what the cache lacks, then writes the frames.

`python tools/render_scene` makes device/scene; `--only soda-can-1 --out /tmp/look` renders one item and writes its
frames there. `--training 8 --out DIR` renders eight views of every item, each on another ground in another light, into
a folder per class, for `train/run.py --data garbage DIR`; what is there already is left alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if not __package__:
    sys.path[0] = str(ROOT)

from tools.render_scene.plan import LABELS, states, story  # noqa: E402
from tools.render_scene.sensor import encode, expose  # noqa: E402
from tools.render_scene.story import write_story  # noqa: E402
from tools.render_scene.variety import random_look  # noqa: E402

TRAINING_SIZE = (320, 240)


def main(arguments: list[str] | None = None) -> int:
    """Parses the arguments and runs; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python tools/render_scene", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", metavar="ITEM", choices=sorted(LABELS), action="append", help="this item only (may be given again)"
    )
    parser.add_argument("--samples", type=int, default=16, help="Cycles samples a pixel")
    parser.add_argument("--seed", type=int, default=7, help="of the renderer and of the sensor noise")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads for the renderer")
    parser.add_argument("--out", type=Path, default=ROOT / "device" / "scene", help="where frames and story.json go")
    parser.add_argument(
        "--cache", type=Path, default=Path.home() / ".cache" / "smartbin-scene", help="where linear renders are kept"
    )
    parser.add_argument("--stills", action="store_true", help="render only, write no frames")
    parser.add_argument("--training", type=int, metavar="VIEWS", help="so many pictures of each item to train on")
    given = parser.parse_args(arguments)
    if given.out == ROOT / "device" / "scene" and (given.training or (given.only and not given.stills)):
        parser.error("--only and --training would leave no story in device/scene; give another --out")
    if given.training:
        return render_training(given)

    import bpy  # only now: `--help` needs no renderer

    from tools.render_scene.stage import linear_picture

    wanted = [state for state in states() if not given.only or state.item in given.only or state.item is None]
    for number, state in enumerate(wanted, 1):
        started = time.monotonic()
        linear_picture(state, given.cache, given.samples, given.seed, given.threads)
        print(f"{number}/{len(wanted)} {state.key} {time.monotonic() - started:.1f} s", flush=True)
    if given.stills:
        return 0
    shots = [shot for shot in story() if shot.state in set(wanted)]
    size = write_story(
        shots,
        cache(lambda state: linear_picture(state, given.cache, given.samples, given.seed, given.threads)),
        given.out,
        renderer=f"Blender {bpy.app.version_string} Cycles",
        samples=given.samples,
        seed=given.seed,
    )
    print(f"{len(shots)} frames, {size / 1e6:.2f} MB in {given.out}")
    return 0


def render_training(given: argparse.Namespace) -> int:
    """Pictures of every item at random; returns the exit status."""
    from tools.render_scene.stage import varied_picture

    wanted = [(item, number) for number in range(given.training) for item in given.only or LABELS]
    for done, (item, number) in enumerate(wanted, 1):
        path = given.out / LABELS[item] / f"{item}-{number:03d}.jpg"
        if path.exists():
            continue
        started = time.monotonic()
        look = random_look(given.seed + 1000 * number + list(LABELS).index(item))
        linear = varied_picture(item, look, TRAINING_SIZE, given.samples, given.threads)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(expose(linear, warmth=look.warmth, seed=look.seed)))
        print(f"{done}/{len(wanted)} {path.name} {time.monotonic() - started:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

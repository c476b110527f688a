"""`smartbin bundle verify | show | diff | pack | install | rollback | key | sign`: bundles, and which one runs here."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from types import MappingProxyType

from rich import box
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from device.bundles import choose_bundle
from device.config import DeviceConfig, load_config
from smartbin.bundle import CARD_FILE, SIGNATURE_FILE, Bundle, Manifest
from smartbin.bundle_archive import pack_bundle
from smartbin.bundle_store import read_trusted
from smartbin.config import dotted
from smartbin.golden import SelfTest, self_test
from smartbin.runtime import open_classifier
from smartbin.signing import make_key, sign_bundle

_UNTOLD = {"metrics", "parity"}  # told in lines of their own


def bundle(options: argparse.Namespace) -> int:
    """The exit code."""
    return _ACTIONS[options.action](options)


def _verify(options: argparse.Namespace) -> int:
    config = _config(options)
    read = read_trusted(options.bundle, config.bundles.public_key)
    signed = "; its signature is the configured one's" if config.bundles.public_key else ""
    print(f"{_title(read)}: whole, {len(read.manifest.files)} files as recorded{signed}")
    return 0


def _show(options: argparse.Namespace) -> int:
    config = _config(options)
    shown = choose_bundle(options.bundle or config.runtime.bundle, config.bundles)
    console = Console()
    console.print(f"{_title(shown)}, in {shown.path}", highlight=False, soft_wrap=True)
    console.print(Markdown((shown.path / CARD_FILE).read_text(encoding="utf-8")))
    return 0


def _diff(options: argparse.Namespace) -> int:
    one, other = (read_trusted(path, "") for path in (options.bundle, options.other))
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("", str(options.bundle), str(options.other)):
        table.add_column(name, overflow="fold")
    told, told_other = _facts(one.manifest), _facts(other.manifest)
    for name in dict.fromkeys([*told, *told_other]):
        if told.get(name) != told_other.get(name):
            table.add_row(name, told.get(name, "–"), told_other.get(name, "–"))
    Console().print(table if table.row_count else "the same in every field of the manifest")
    return 0


def _pack(options: argparse.Namespace) -> int:
    read = read_trusted(options.bundle, _config(options).bundles.public_key)
    sha256 = pack_bundle(read, options.out)
    signed = "signed" if (read.path / SIGNATURE_FILE).is_file() else "not signed: no bin takes it through a broker"
    print(f"{options.out}: {_title(read)}, {options.out.stat().st_size / 1e6:.1f} MB, {signed}\nsha256 {sha256}")
    return 0


def _install(options: argparse.Namespace) -> int:
    config = _config(options)
    store = config.bundles.store
    done = store.install(options.bundle, lambda copy: test_here(copy, config), config.bundles.public_key)
    tested = "no self-test: it has no golden inputs"
    if done.test is not None:
        off = f"probabilities within {done.test.largest_difference:.2g}"
        tested = f"self-test passed on {done.test.photos} golden inputs, {off}"
    print(f"installed {_title(done.bundle)}; {tested}")
    print(f"it replaces {done.replaced.name}; back: smartbin bundle rollback" if done.replaced else f"in {store.root}")
    return 0


def _rollback(options: argparse.Namespace) -> int:
    bundles = _config(options).bundles
    back = bundles.store.rollback(bundles.public_key)
    print(f"{_title(back)} is current again")
    return 0


def _key(options: argparse.Namespace) -> int:
    public = make_key(options.file)
    print(f"private key: {options.file} (keep it; who has it can sign for your bins)\npublic key:  {public}")
    print(f'in each bin\'s configuration:\n[bundles]\npublic_key = "{public}"')
    return 0


def _sign(options: argparse.Namespace) -> int:
    public = sign_bundle(read_trusted(options.bundle, "").path, options.key)
    print(f"signed; verified by the public key {public}")
    return 0


_ACTIONS: MappingProxyType[str, Callable[[argparse.Namespace], int]] = MappingProxyType(
    {
        "verify": _verify,
        "show": _show,
        "diff": _diff,
        "pack": _pack,
        "install": _install,
        "rollback": _rollback,
        "key": _key,
        "sign": _sign,
    }
)


def _config(options: argparse.Namespace) -> DeviceConfig:
    return load_config(options.config, {})


def test_here(copy: Bundle, config: DeviceConfig) -> SelfTest | None:
    """The self-test of a bundle with the runtime that the daemon would take; None if it has no golden inputs."""
    classifier = open_classifier(copy, config.runtime.runtime, config.runtime.threads, config.engine)
    try:
        return self_test(copy, classifier)
    finally:
        classifier.close()


def _title(shown: Bundle) -> str:
    manifest = shown.manifest
    return f"{manifest.name} {manifest.version} ({manifest.architecture}, {manifest.precision})"


def _facts(manifest: Manifest) -> dict[str, str]:
    """Every field of a manifest by dotted name, and accuracy by measured set."""
    content = manifest.model_dump(mode="json", exclude=_UNTOLD)
    facts = {name: _text(value) for name, value in dotted(content).items()}
    for metric in manifest.metrics:
        interval = f"{metric.interval_low:.3f}–{metric.interval_high:.3f}"
        facts[f"accuracy of the {metric.of}, {metric.split}"] = (
            f"{metric.accuracy:.4f} ({interval}, {metric.photos} photos)"
        )
    facts["agreement with the checkpoint"] = f"{manifest.parity.top1_agreement:.4f}"
    return facts


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)

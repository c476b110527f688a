"""Bundles installed, tested, signed and rolled back, through the `smartbin bundle` commands where there is one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from device.cli import main
from smartbin.bundle import (
    GOLDEN_FILE,
    MODEL_FILE,
    Bundle,
    ManifestDraft,
    builtin_bundle_path,
    read_bundle,
    write_bundle,
)
from smartbin.bundle_store import INCOMING, BundleStore
from smartbin.classifier import ClassifierOutput
from smartbin.errors import BundleError, ConfigError, InferenceError
from smartbin.golden import Golden, pack_golden, read_golden, self_test
from smartbin.ort_classifier import OrtClassifier
from smartbin.signing import make_key, sign_bundle


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The device's own folder of bundles."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "smartbin" / "bundles"


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Bundle]:
    """Copies of the built-in bundle under other names, with golden answers, right or wrong by `off`."""
    builtin = read_bundle(builtin_bundle_path())
    size = builtin.manifest.preprocess.size
    images = np.random.default_rng(0).integers(0, 255, (2, size, size, 3), np.uint8)
    classifier = OrtClassifier.open(builtin, device="cpu", threads=1)
    answers = classifier.classify(images)
    classifier.close()

    def copy(version: str, *, off: float = 0.0, golden: bytes | None = None) -> Bundle:
        packed = pack_golden(Golden(images, ClassifierOutput(answers.probabilities + np.float32(off), answers.energy)))
        draft = ManifestDraft(**{**builtin.manifest.model_dump(exclude={"files"}), "version": version})
        folder = tmp_path / f"bundle-{version}"
        return write_bundle(
            folder,
            model=builtin.model_path,
            card=f"# {version}",
            draft=draft,
            golden=packed if golden is None else golden,
        )

    return copy


def test_install_and_back(make: Callable[..., Bundle], home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = BundleStore(home)
    assert (store.current, store.previous) == (None, None)
    assert main(["bundle", "rollback"]) == 3
    assert "no bundle to go back to" in capsys.readouterr().err

    for version in ("1", "2", "3"):
        assert main(["bundle", "install", str(make(version).path)]) == 0
    told = capsys.readouterr().out
    assert "installed smartbin-lite2 3" in told
    assert "self-test passed on 2 golden inputs" in told
    assert _versions(store) == ("3", "2")
    assert len([path for path in home.iterdir() if path.is_dir() and not path.is_symlink()]) == 2

    assert main(["bundle", "rollback"]) == 0
    assert _versions(store) == ("2", "3")
    assert main(["bundle", "rollback"]) == 0
    assert _versions(store) == ("3", "2")
    assert main(["bundle", "install", str(make("3").path)]) == 0  # again the one that runs
    assert _versions(store) == ("3", "2")
    capsys.readouterr()
    assert main(["bundle", "show"]) == 0
    assert "smartbin-lite2 3" in capsys.readouterr().out


def _versions(store: BundleStore) -> tuple[str, str]:
    current, previous = store.current, store.previous
    assert current is not None
    assert previous is not None
    return read_bundle(current).manifest.version, read_bundle(previous).manifest.version


def test_installed_bundle_is_the_one_that_runs(
    make: Callable[..., Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bundle", "install", str(make("9.9").path)]) == 0
    capsys.readouterr()
    assert main(["run", "--view", "plain", "--pace", "fast", "--max-seconds", "0.01"]) == 0
    assert "model smartbin-lite2 9.9" in capsys.readouterr().out


def test_bundle_that_fails_its_test_leaves_the_last_one(
    make: Callable[..., Bundle], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bundle", "install", str(make("good").path)]) == 0
    before = sorted(home.rglob("*"))
    assert main(["bundle", "install", str(make("bad", off=0.5).path)]) == 5
    told = capsys.readouterr().err
    assert "does not give the answers that it gave at its export" in told
    assert "off by 0.500" in told
    assert sorted(home.rglob("*")) == before
    current = BundleStore(home).current
    assert current is not None
    assert read_bundle(current).manifest.version == "good"


def test_damage_on_the_way_is_noticed(make: Callable[..., Bundle], home: Path) -> None:
    bundle = make("1")
    (bundle.path / MODEL_FILE).write_bytes(b"cut")
    assert main(["bundle", "verify", str(bundle.path)]) == 3
    assert main(["bundle", "install", str(bundle.path)]) == 3
    assert not home.exists()


def test_installing_stopped_half_way_leaves_the_last_one(make: Callable[..., Bundle], home: Path) -> None:
    store = BundleStore(home)
    store.install(make("1").path, lambda copy: None)

    def power_cut(copy: Bundle) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.install(make("2").path, power_cut)
    assert read_bundle(store.current or home).manifest.version == "1"
    assert store.install(make("2").path, lambda copy: None).bundle.manifest.version == "2"
    assert _versions(store) == ("2", "1")


def test_installing_again_mends_a_damaged_copy(make: Callable[..., Bundle], home: Path) -> None:
    """Of the bundle that runs, too, and of the one before."""
    store = BundleStore(home)
    for version in ("1", "2"):
        store.install(make(version).path, lambda copy: None)
    for version, link in (("2", "current"), ("1", "previous")):
        (home / link / MODEL_FILE).write_bytes(b"cut")
        with pytest.raises(BundleError, match="damaged"):
            read_bundle(home / link)
        installed = store.install(make(version).path, lambda copy: None)
        assert read_bundle(installed.bundle.path).manifest.version == version
    assert _versions(store) == ("1", "2")


def test_damaged_copy_is_mended_even_if_the_new_one_fails_its_test(make: Callable[..., Bundle], home: Path) -> None:
    store = BundleStore(home)
    store.install(make("1").path, lambda copy: None)
    (home / "current" / MODEL_FILE).write_bytes(b"cut")

    def fails(copy: Bundle) -> None:
        raise InferenceError("no")

    with pytest.raises(InferenceError):
        store.install(make("1").path, fails)
    assert read_bundle(home / "current").manifest.version == "1"  # it is the one that was tested when it was installed


def test_bundle_that_is_gone_is_not_silently_another_one(
    make: Callable[..., Bundle], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The built-in one may have other classes."""
    store = BundleStore(home)
    store.install(make("1").path, lambda copy: None)
    shutil.rmtree(store.current or home)
    assert main(["run", "--view", "plain", "--pace", "fast", "--max-seconds", "0.01"]) == 3
    assert "no model bundle here" in capsys.readouterr().err
    store.install(make("2").path, lambda copy: None)
    assert read_bundle(store.current or home).manifest.version == "2"
    assert store.previous is None  # what is gone cannot be gone back to


OF_ANOTHER_SIZE = Golden(
    np.zeros((1, 8, 8, 3), np.uint8), ClassifierOutput(np.zeros((1, 6), np.float32), np.zeros(1, np.float32))
)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"no archive", "cannot be read"), (pack_golden(OF_ANOTHER_SIZE), "do not fit")],
    ids=["no archive", "another size"],
)
def test_golden_inputs_that_cannot_be_used_are_refused(make: Callable[..., Bundle], content: bytes, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        read_golden(make("1", golden=content))


def test_golden_file_holds_no_pickle(make: Callable[..., Bundle], tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", image=np.array([{"a": 1}], dtype=object))
    with pytest.raises(BundleError, match="cannot be read"):
        read_golden(make("1", golden=(tmp_path / "evil.npz").read_bytes()))


def test_self_test_of_a_bundle_without_golden_inputs() -> None:
    bundle = read_bundle(builtin_bundle_path())
    classifier = OrtClassifier.open(bundle, device="cpu")
    assert (GOLDEN_FILE in bundle.manifest.files) is (self_test(bundle, classifier) is not None)
    classifier.close()


def test_self_test_says_how_close_it_was(make: Callable[..., Bundle]) -> None:
    bundle = make("1", off=0.1)
    classifier = OrtClassifier.open(bundle, device="cpu", threads=1)
    found = self_test(bundle, classifier)
    assert found is not None
    assert (found.photos, found.same_answers) == (2, 2)
    assert found.largest_difference == pytest.approx(0.1, abs=1e-4)
    bad = make("2", off=float("nan"))
    with pytest.raises(InferenceError):
        self_test(bad, classifier)
    classifier.close()


def test_only_signed_bundles_where_a_key_is_configured(
    make: Callable[..., Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cryptography", reason="cryptography is not installed")
    key, config = tmp_path / "release.pem", tmp_path / "bin.toml"
    assert main(["bundle", "key", str(key)]) == 0
    assert key.stat().st_mode & 0o077 == 0
    told = capsys.readouterr().out
    config.write_text(told[told.index("[bundles]") :], encoding="ascii")
    assert main(["bundle", "key", str(key)]) == 2  # never overwritten

    bundle = make("1").path
    assert main(["bundle", "verify", str(bundle), "--config", str(config)]) == 3
    assert main(["bundle", "install", str(bundle), "--config", str(config)]) == 3
    assert "the model bundle is not signed" in capsys.readouterr().err
    assert main(["bundle", "sign", str(bundle), "--key", str(key)]) == 0
    assert main(["bundle", "verify", str(bundle), "--config", str(config)]) == 0
    assert "its signature is the configured one's" in capsys.readouterr().out
    assert main(["bundle", "install", str(bundle), "--config", str(config)]) == 0
    run = ["run", "--config", str(config), "--view", "off", "--pace", "fast", "--max-seconds", "0.01"]
    assert main(run) == 0
    assert main([*run, "--bundle", str(make("2").path)]) == 3

    manifest = bundle / "manifest.json"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace('"version": "1"', '"version": "6"'), "utf-8")
    capsys.readouterr()
    assert main(["bundle", "install", str(bundle), "--config", str(config)]) == 3
    assert "the signature of the model bundle is wrong" in capsys.readouterr().err

    other = tmp_path / "other.pem"
    assert main(["bundle", "key", str(other)]) == 0
    stranger = make("3").path
    assert main(["bundle", "sign", str(stranger), "--key", str(other)]) == 0
    assert main(["bundle", "install", str(stranger), "--config", str(config)]) == 3


def test_bundle_that_was_installed_unsigned_needs_its_signature_once_a_key_is_configured(
    make: Callable[..., Bundle], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cryptography", reason="cryptography is not installed")
    key, config = tmp_path / "release.pem", tmp_path / "bin.toml"
    one, two = make("1").path, make("2").path
    assert main(["bundle", "install", str(one)]) == 0
    assert main(["bundle", "install", str(two)]) == 0
    assert main(["bundle", "key", str(key)]) == 0
    told = capsys.readouterr().out
    config.write_text(told[told.index("[bundles]") :], encoding="ascii")
    signed = ["--config", str(config)]
    assert main(["bundle", "rollback", *signed]) == 3  # it would not start with it
    assert "is not signed" in capsys.readouterr().err
    assert _versions(BundleStore(home)) == ("2", "1")
    for folder in (one, two):
        assert main(["bundle", "sign", str(folder), "--key", str(key)]) == 0
        assert main(["bundle", "install", str(folder), *signed]) == 0  # the copies that are here get their signatures
    assert main(["bundle", "rollback", *signed]) == 0
    assert _versions(BundleStore(home)) == ("1", "2")


@pytest.mark.parametrize("content", ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_wrong_keys_are_refused(
    make: Callable[..., Bundle], tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cryptography", reason="cryptography is not installed")
    key = tmp_path / "key.pem"
    key.write_text(content, encoding="ascii")
    bundle = make("1").path
    assert main(["bundle", "sign", str(bundle), "--key", str(key)]) == 2
    assert "cannot read the private key" in capsys.readouterr().err
    config = tmp_path / "bin.toml"
    config.write_text('[bundles]\npublic_key = "bm8="\n', encoding="ascii")
    assert main(["bundle", "verify", str(bundle), "--config", str(config)]) == 2
    assert "the public key is none" in capsys.readouterr().err


def test_without_the_library_what_to_install_is_said(
    make: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("smartbin.signing.importlib.import_module", absent)
    from smartbin.signing import make_key

    with pytest.raises(ConfigError, match="signatures need a library"):
        make_key(tmp_path / "key.pem")


def test_difference_of_two_bundles(make: Callable[..., Bundle], capsys: pytest.CaptureFixture[str]) -> None:
    one, other = make("1").path, make("2", off=0.1).path
    assert main(["bundle", "diff", str(one), str(other)]) == 0
    told = capsys.readouterr().out
    assert "version" in told
    assert "files.golden.npz" in told
    assert "classes" not in told
    assert main(["bundle", "diff", str(one), str(one)]) == 0
    assert "the same in every field" in capsys.readouterr().out


def test_copied_bundle_folder_is_whole(make: Callable[..., Bundle], tmp_path: Path) -> None:
    """The store of one device can be carried to another."""
    store = BundleStore(tmp_path / "one")
    store.install(make("1").path, lambda copy: None)
    shutil.copytree(tmp_path / "one", tmp_path / "two", symlinks=True)
    assert (
        json.loads(((BundleStore(tmp_path / "two").current or tmp_path) / "manifest.json").read_text())["version"]
        == "1"
    )


def test_back_to_a_bundle_that_is_not_signed(make: Callable[..., Bundle], home: Path, tmp_path: Path) -> None:
    """The next start would refuse it, and the bin would stand still."""
    pytest.importorskip("cryptography", reason="no cryptography here (pip install 'smartbin[sign]')")
    store, public = BundleStore(home), make_key(tmp_path / "private.pem")
    store.install(make("1").path, lambda bundle: None)
    sign_bundle(make("2").path, tmp_path / "private.pem")
    store.install(tmp_path / "bundle-2", lambda bundle: None, public)
    now = store.current
    with pytest.raises(BundleError, match="not signed"):
        store.rollback(public)
    assert store.current == now
    assert store.rollback().manifest.version == "1"


def test_a_bundle_that_arrives_is_not_tidied_away(make: Callable[..., Bundle], home: Path) -> None:
    store = BundleStore(home)
    arriving = home / f"{INCOMING}abc"
    arriving.mkdir(parents=True)
    for version in ("1", "2", "3"):
        store.install(make(version).path, lambda bundle: None)
    assert arriving.is_dir()
    assert len([path for path in home.iterdir() if path.is_dir() and not path.is_symlink()]) == 3


def test_what_a_killed_process_left_goes_and_what_is_arriving_stays(home: Path) -> None:
    store = BundleStore(home)
    left = home / f"{INCOMING}left"
    left.mkdir(parents=True)
    (left / "bundle.tar").write_bytes(b"half of it")
    with store.incoming() as one, store.incoming() as other:
        assert not left.exists()
        assert one != other
        assert one.is_dir()
        assert other.is_dir()
    assert not one.exists()
    assert not other.exists()

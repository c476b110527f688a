"""Signed bundles: an ed25519 signature over `manifest.json`, which holds the hash of every other file.

The private key stays with whoever releases models; a device that is configured with the public key takes no other
bundle. Needs `pip install 'smartbin[sign]'` (the library `cryptography`).
"""

from __future__ import annotations

import base64
import binascii
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from smartbin.atomic import write_bytes_atomic
from smartbin.bundle import MANIFEST_FILE, SIGNATURE_FILE
from smartbin.errors import BundleError, ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_PRIVATE_MODE = 0o600


def make_key(path: Path) -> str:
    """Write a new private key (PEM, readable by its owner alone) and return the public key as text.

    `ConfigError` if there is a file already: a lost key cannot be brought back.
    """
    _need_library()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if path.exists():
        raise ConfigError("a key is here already", where=path, fix="choose another file")
    key = Ed25519PrivateKey.generate()
    path.touch(mode=_PRIVATE_MODE)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return _text_of(key.public_key())


def sign_bundle(bundle: Path, key: Path) -> str:
    """Write `signature.bin` into the bundle; returns the public key that verifies it."""
    private = _read_private(key)
    write_bytes_atomic(bundle / SIGNATURE_FILE, private.sign((bundle / MANIFEST_FILE).read_bytes()))
    return _text_of(private.public_key())


def verify_signature(bundle: Path, public_key: str) -> None:
    """`BundleError` unless the bundle's manifest was signed with the private half of `public_key`."""
    _need_library()
    from cryptography.exceptions import InvalidSignature

    key = _read_public(public_key)
    try:
        signature = (bundle / SIGNATURE_FILE).read_bytes()
        key.verify(signature, (bundle / MANIFEST_FILE).read_bytes())
    except OSError as error:
        raise BundleError(
            "the model bundle is not signed",
            where=bundle,
            found=error.strerror,
            expected=SIGNATURE_FILE,
            fix="smartbin bundle sign DIR --key FILE, where the private key is; or leave bundles.public_key out",
        ) from error
    except InvalidSignature as error:
        raise BundleError(
            "the signature of the model bundle is wrong",
            where=bundle,
            expected=f"one that {public_key} verifies",
            fix="get the bundle again from where it was signed, or check the configured public key",
        ) from error


def _read_private(path: Path) -> Ed25519PrivateKey:
    _need_library()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            "cannot read the private key", where=path, found=error, fix="smartbin bundle key FILE"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError("this is another kind of key", where=path, found=type(key).__name__, expected="ed25519")
    return key


def _read_public(text: str) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error) as error:
        raise ConfigError(
            "the public key is none", found=text, expected="32 bytes as base64, as `smartbin bundle key` prints them"
        ) from error


def _text_of(key: Ed25519PublicKey) -> str:
    from cryptography.hazmat.primitives import serialization

    return base64.b64encode(key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)).decode(
        "ascii"
    )


def _need_library() -> None:
    try:
        importlib.import_module("cryptography")
    except ImportError as error:
        raise ConfigError("signatures need a library", found=error, fix="pip install 'smartbin[sign]'") from error

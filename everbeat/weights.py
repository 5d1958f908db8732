"""Whose weights this machine believes, and with which key it signs its own.

In the state directory, made on the first training: ``keys/weights.key`` signs what is trained here, and
``keys/signers.txt`` lists whom this machine believes besides the package: its own key, and those that a person adds.
``keys/release.key`` signs weights for everybody; its public half is listed in the package.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from everbeat.settings import Settings
from security import signing
from security.errors import SecurityError
from twin_engine.weightfile import SIGNERS, packaged_signers

OWN, RELEASE = "this machine", "everbeat release"


def signers(settings: Settings) -> dict[bytes, str]:
    """Who may sign weights that run here: raw public key -> name. Raises ModelError, SecurityError."""
    return packaged_signers() | signing.read_signers(_list(settings))


def own_key(settings: Settings) -> Ed25519PrivateKey:
    """The key of this machine, made and believed on the first call; nobody else believes it."""
    key = signing.load_or_create(_keys(settings) / "weights.key")
    signing.add_signer(_list(settings), OWN, signing.public_of(key))
    return key


def release_key(settings: Settings, listed: Path = SIGNERS) -> Ed25519PrivateKey:
    """The key that everybody believes, made on the first call and then put into the package's list at `listed`.

    Raises SecurityError where that list already names another key for it: only a person replaces that one, by
    taking its line out, because every installation would then refuse the weights of before.
    """
    key = signing.load_or_create(_keys(settings) / "release.key")
    public, known = signing.public_of(key), signing.read_signers(listed)
    if public not in known and RELEASE in known.values():
        raise SecurityError(
            f"expected the key of {RELEASE!r} that {listed} names, got {signing.fingerprint(public)}; nothing was "
            "signed: bring the key, or take that line out to make this one the new key"
        )
    signing.add_signer(listed, RELEASE, public)
    return key


def _keys(settings: Settings) -> Path:
    return settings.state / "keys"


def _list(settings: Settings) -> Path:
    return _keys(settings) / "signers.txt"

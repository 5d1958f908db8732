"""Fills in what notary, witness and verifier need: keys, names, places. :mod:`everbeat.wiring` for the logs."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from everbeat import wiring
from everbeat.settings import Settings
from security import files, note, signing
from security.identity import wall_clock_ms
from security.keys import MasterKey
from security.note import LOG, WITNESS, VerifierKey
from twin_engine.log_keeper import Notarised
from twin_engine.notary import Notary
from twin_engine.store import keys
from twin_engine.store.connection import Client, connect
from twin_engine.witnessing import MAX_ANSWER, WitnessAddress

WITNESS_PORT = 8446
DEMO_WITNESS = "everbeat.local/demo-witness"
_PATIENCE_S = 3.0


def house_id(settings: Settings) -> str:
    """The house's name in its checkpoints: 8 bytes in hex, made once."""
    path = files.private_dir(settings.notary) / "house"
    if not path.exists():
        files.create_private(path, os.urandom(8).hex().encode())
    return files.read_private(path).decode()


def notary_key(settings: Settings) -> Ed25519PrivateKey:
    """What signs checkpoints."""
    return signing.load_or_create(files.private_dir(settings.notary) / "notary.key")


def logs(settings: Settings) -> list[Notarised]:
    """Every log of the house: one a shard, and the audit log."""
    base = f"everbeat.local/{house_id(settings)}"
    names = [f"s{i}" for i in range(settings.shards)] + [keys.AUDIT_LOG]
    return [Notarised(name, f"{base}/{name}", settings.notary / f"{name}.json") for name in names]


def log_keys(settings: Settings) -> list[VerifierKey]:
    """What a witness and an auditor are told: the keys of the house's logs, as they are named now."""
    from twin_engine import notary_memory

    key = notary_key(settings)
    origins = [notary_memory.load(which.memory, which.origin).origin for which in logs(settings)]
    return [note.verifier_of(origin, LOG, key) for origin in origins]


def witnesses(settings: Settings) -> list[WitnessAddress]:
    """Who is asked to cosign. Raises Rejected on a setting that names nobody."""
    return [WitnessAddress.parse(text) for text in (settings.witnesses or "").replace(",", " ").split()]


def notary(settings: Settings) -> Notary:
    """The house's notary."""
    master = wiring.vault(settings, "notary").master
    reader, scribe = connect(settings.redis_login("notary")), connect(settings.redis_login("scribe"))
    inbox = files.private_dir(settings.notary / "accepted")
    return Notary(
        logs(settings), reader, scribe, notary_key(settings), master, wall_clock_ms, witnesses(settings), push, inbox
    )


def hands(settings: Settings) -> tuple[Client, Ed25519PrivateKey, MasterKey]:
    """What it takes to look at a log without writing: a reading connection, the notary's key, the master key."""
    keep = wiring.vault(settings, "notary")
    return keep.client, notary_key(settings), keep.master


def push(url: str, body: bytes) -> tuple[int, str]:
    """POST to a witness: (status, answer); (0, "") where nobody answers."""
    request = urllib.request.Request(url, data=body, method="POST")  # noqa: S310 - http and https only: WitnessAddress
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE_S) as reply:  # noqa: S310
            return reply.status, reply.read(MAX_ANSWER).decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read(MAX_ANSWER).decode(errors="replace")
    except OSError:
        return 0, ""


def demo_witness(settings: Settings) -> WitnessAddress:
    """The demo's own witness, told of this house's logs: it shows how one works, and is no other trust domain."""
    home = files.private_dir(settings.witness)
    key = signing.load_or_create(home / "witness.key")
    tell_witness(home, log_keys(settings))
    return WitnessAddress(f"http://{settings.hub_host}:{WITNESS_PORT}", note.verifier_of(DEMO_WITNESS, WITNESS, key))


def tell_witness(home: Path, told: list[VerifierKey]) -> None:
    """Add logs to those that the witness in `home` believes."""
    path = home / "logs.txt"
    known = files.read_private(path).decode().splitlines() if path.exists() else []
    new = [str(key) for key in told if str(key) not in known]
    if new:
        files.write_private(path, "".join(f"{line}\n" for line in [*known, *new]).encode())

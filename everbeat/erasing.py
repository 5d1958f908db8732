"""``everbeat erase``: a patient's keys are destroyed, and a certificate says what was.

It works while the house runs and while it is stopped (Redis is then started for that moment). What it does, and in
which order, is in :mod:`twin_engine.store.erasing`; here are the person's confirmation, the audit event and the
certificate: a JSON file that the house's key signs, which says enough to erase her again should everything be restored
from a copy of before.
"""

from __future__ import annotations

import base64
import contextlib
import getpass
import json
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from everbeat import wiring
from everbeat.settings import Settings
from security import canonical, files, signing
from security.audit import AuditEvent
from security.errors import Reason, Rejected, SecurityError
from security.identity import wall_clock_ms
from security.keyhome import KeyHome, name_of
from twin_engine.registry import PatientCard, shown_number
from twin_engine.store import server
from twin_engine.store.audit import AuditWriter
from twin_engine.store.erasing import Eraser, Erasure
from twin_engine.store.errors import StoreDown, StoreError

_DOMAIN = "everbeat/1 certificate of erasure"
_READY_S = 60.0
LIMITS = (
    "Copies of this machine's key directory that were made before, with this patient's secret in them, together with a "
    "copy of the database and the master key, can still be read: destroy those copies.",
    "The secret's file was overwritten and removed. An SSD or a copy-on-write file system may keep the old block until "
    "it is used again; on an encrypted disk that block is worth nothing without the disk's key.",
    "In a house that is older than its patients' secrets, copies of the database from that time are opened by the "
    "master key of that time: it is destroyed by the first `everbeat keys rotate` since.",
    "The tamper-evident log keeps hashes, and the audit log keeps her opaque id and who did what.",
    "What was exported or printed before is not reached.",
)


class ErasingFailed(RuntimeError):
    """Nobody was erased, or not to the end; the text says what to do."""


@contextlib.contextmanager
def redis_of(settings: Settings) -> Iterator[None]:
    """Redis, for as long as it is needed: ours is started where it does not run. Raises StoreDown."""
    own = settings.redis_files
    if settings.redis_url is not None or _listens(own.socket):
        yield
        return
    if not own.config.exists():
        raise StoreDown(f"expected a Redis in {own.directory}, got none; is EVERBEAT_STATE set as for the house?")
    process = server.start(settings.prepare_redis())
    try:
        _wait_until_ready(settings)
        yield
    finally:
        process.terminate()
        process.wait(30)


def find(settings: Settings, wanted: str) -> tuple[str, PatientCard | None]:
    """The patient by id, or by a pseudonym or record number that is only hers. Raises ErasingFailed."""
    cards = wiring.patient_store(settings).cards()
    matching = [c for c in cards if wanted == c.id] or [c for c in cards if wanted in (c.pseudonym, shown_number(c))]
    if len(matching) > 1:
        raise ErasingFailed(f"expected one patient called {wanted}, got {len(matching)}; nobody was erased: say her id")
    if matching:
        return matching[0].id, matching[0]
    if wiring.eraser(settings).knows(wanted):
        return wanted, None
    raise ErasingFailed(f"expected a patient of this house, got {wanted}; nobody was erased")


def confirms(patient: str, card: PatientCard | None, typed: str) -> bool:
    """Whether what was typed names her; her id only where there is no card to read."""
    known = [patient] if card is None else [card.pseudonym, shown_number(card)]
    return typed.strip().casefold() in [name.casefold() for name in known if name]


def erase(settings: Settings, patient: str, who: str | None = None) -> dict[str, Any]:
    """Erase her, note it in the audit log, and return the signed certificate. May be repeated after a crash."""
    who = (who or getpass.getuser())[:80]
    eraser, vault = wiring.eraser(settings), wiring.vault(settings, "eraser")
    done = _patiently(eraser, patient, who)
    facts = {name: str(count) for name, count in done.counts.items()}
    event = AuditEvent(wall_clock_ms(), who, "patient.erased", patient, {**facts, "name": done.tombstone.name.hex()})
    AuditWriter(vault.client, vault.master).write(event)
    home = home_of(settings)
    return certificate(done, who, home)


def _patiently(eraser: Eraser, patient: str, who: str) -> Erasure:
    """An engine that starts at that very moment takes its shard back; then it is done once more."""
    for attempt in range(5):
        try:
            return eraser.erase(patient, who, wall_clock_ms())
        except StoreError as error:
            if attempt == 4 or isinstance(error, StoreDown):
                raise
            time.sleep(0.5)
    raise AssertionError("unreachable")


def certificate(done: Erasure, who: str, home: KeyHome) -> dict[str, Any]:
    """What was destroyed, signed by the house's key."""
    key = home.house_key()
    facts: dict[str, Any] = {
        "kind": _DOMAIN,
        "patient": done.patient,
        "erased": done.tombstone.when,
        "erased_ms": done.tombstone.t_ms,
        "who": who,
        "keys_destroyed": list(done.keys),
        "destroyed": done.counts,
        "log": {"shard": done.shard, "size": done.log_size, "root": done.log_root.hex()},
        "tombstone": done.tombstone.sign(key).decode(),
        "limits": list(LIMITS),
        "house": signing.fingerprint(signing.public_of(key)),
    }
    proof = signing.sign(canonical.encode(facts), key)
    return {**facts, "signature": base64.b64encode(proof).decode()}


def check_certificate(text: str, signers: signing.Signers) -> dict[str, Any]:
    """What a certificate says. Raises Rejected where none of `signers` signed it, or it was changed."""
    try:
        facts: dict[str, Any] = dict(json.loads(text))
        proof = base64.b64decode(facts.pop("signature"), validate=True)
        if facts.get("kind") != _DOMAIN:
            raise ValueError("another kind")
    except (ValueError, TypeError, KeyError) as error:
        raise Rejected(Reason.MALFORMED, "a certificate of erasure", "another file", "it proves nothing") from error
    signing.check(canonical.encode(facts), proof, signers)
    return facts


def apply_certificate(settings: Settings, text: str) -> str:
    """Bury her again, where key directory and Redis were both restored from copies of before. Returns her id."""
    home = home_of(settings)
    facts = check_certificate(text, {signing.public_of(home.house_key()): "this house"})
    home.bury([str(facts["tombstone"]).encode()])
    return str(facts["patient"])


def keep(settings: Settings, made: Mapping[str, Any], where: Path | None) -> Path:
    """Write the certificate, by default into the state directory."""
    if where is None:
        where = files.private_dir(settings.state / "erasures") / f"{name_of(str(made['patient'])).hex()}.json"
    files.write_private(where, (json.dumps(made, indent=2) + "\n").encode())
    return where


def told(made: Mapping[str, Any]) -> str:
    """The certificate for people."""
    log = made["log"]
    rows = [f"  {count:>8}  {what}" for what, count in made["destroyed"].items()]
    return "\n".join([
        "CERTIFICATE OF ERASURE",
        f"patient {made['patient']}, erased {made['erased']} by {made['who']}",
        "keys destroyed:", *(f"  {key}" for key in made["keys_destroyed"] or ["none were left"]),
        "deleted:", *rows,
        f"log of shard {log['shard']}, unchanged: {log['size']} leaves, root {log['root']}",
        *(f"note: {line}" for line in made["limits"]),
        f"signed by this house's key {made['house']}",
    ])  # fmt: skip


def home_of(settings: Settings) -> KeyHome:
    """The key directory. Raises SecurityError where there is no master key yet."""
    if not settings.master_key.exists():
        raise SecurityError(f"expected a master key at {settings.master_key}, got none; is EVERBEAT_STATE set?")
    return KeyHome(settings.master_key)


def _listens(path: Path) -> bool:
    """Whether a server answers there, also one that still loads its data."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
        return probe.connect_ex(str(path)) == 0


def _wait_until_ready(settings: Settings) -> None:
    deadline_s = time.monotonic() + _READY_S
    while True:
        try:
            wiring.eraser(settings)
            return
        except StoreDown:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)

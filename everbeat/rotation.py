"""What is done to the keys at rest, by who looks after the house: rotate them, list them. The audit log is told."""

from __future__ import annotations

import getpass

from everbeat import wiring
from everbeat.settings import Settings
from security.audit import AuditEvent
from security.identity import wall_clock_ms
from twin_engine.store import rotating, vault
from twin_engine.store.audit import AuditWriter
from twin_engine.store.keys import shard_of
from twin_engine.store.renewing import renew_data_key
from twin_engine.store.rotating import Rotation
from twin_engine.store.vault import Vault


def rotate_master(settings: Settings) -> Rotation:
    """A new version of the master key, told to the audit log."""
    keys = wiring.vault(settings, "eraser")
    done = rotating.rotate_master(keys.client, keys, wiring.shards_here(keys.client, settings))
    facts = {"version": str(done.version), "rewrapped": str(done.rewrapped), "destroyed": str(list(done.destroyed))}
    _tell_rotated(keys, "master key", facts)
    return done


def rotate_patient(settings: Settings, patient: str) -> int:
    """A new version of a patient's data key, told to the audit log."""
    keys = wiring.vault(settings, "eraser")
    shard = shard_of(patient, wiring.shards_here(keys.client, settings))
    version = renew_data_key(keys.client, keys, shard, patient, wall_clock_ms())
    _tell_rotated(keys, patient, {"version": str(version)})
    return version


def key_rows(settings: Settings) -> list[str]:
    """A line for each patient's data key: versions and fingerprints."""
    return vault.key_rows(wiring.vault(settings, "eraser"))


def _tell_rotated(keys: Vault, about: str, facts: dict[str, str]) -> None:
    AuditWriter(keys.client, keys.master).write(
        AuditEvent(wall_clock_ms(), getpass.getuser()[:80], "key.rotated", about, facts)
    )

"""How long it takes to erase a patient with six hours of history, and to exchange the master key of 100 patients.

    python -m benchmarks.erasing

A real Redis (fsync on every write) in a temporary directory. Eight patients share the shard of her who is erased, each
with a frame every 2 s (600 B) in the raw stream and four commits a second (1 KB) in the twin stream, for six hours.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

import cbor2

from everbeat import erasing, rotation, wiring
from everbeat.settings import Settings
from security.files import private_dir
from security.keys import create_recipient_key, recipient_to_bytes
from twin_engine.recipients import seal_stored
from twin_engine.records import Act
from twin_engine.registry import Assignments, PatientCard
from twin_engine.store import keys, server
from twin_engine.store.acts import write_act
from twin_engine.store.patients import seal_card
from twin_engine.store.sweeping import purge
from twin_engine.store.vault import Vault

PATIENTS, FRAME_S, COMMITS_A_S = 8, 2, 4
FRAME_BYTES, COMMIT_BYTES = 600, 1024
MANY, ACTS = 100, 1000


def main() -> None:
    """Print both numbers as JSON."""
    with tempfile.TemporaryDirectory(prefix="eb-") as directory:
        settings = Settings(Path(directory))
        private_dir(settings.master_key.parent)
        process = server.start(server.prepare(settings.redis_files.directory))
        try:
            erasing._wait_until_ready(settings)
            vault = wiring.vault(settings, "eraser")
            found = measure_erasing(settings, vault) | measure_rotation(settings, vault)
        finally:
            process.terminate()
            process.wait(60)
    print(json.dumps(found, indent=2))


def measure_erasing(settings: Settings, vault: Vault) -> dict[str, float]:
    """Fill six hours, then erase one of them."""
    now_ms = int(time.time() * 1000)
    for i in range(PATIENTS):
        admit(vault, f"p-{i}", f"dev-{i}", now_ms)
        fill_twin(vault, f"p-{i}", now_ms)
    fill_raw(vault, now_ms)
    file = max((settings.redis_files.directory).rglob("appendonly*.aof"), key=lambda path: path.stat().st_size)
    before_mb = file.stat().st_size / 2**20
    began_s = time.perf_counter()
    purge(vault.client, "s0", "p-nobody")
    scan_s = time.perf_counter() - began_s
    began_s = time.perf_counter()
    made = erasing.erase(settings, "p-0", "benchmark")
    took_s = time.perf_counter() - began_s
    return {
        "erase_s": round(took_s, 2),
        "of_which_reading_the_raw_stream_s": round(scan_s, 2),
        "raw_records_deleted": made["destroyed"]["raw records"],
        "twin_entries_deleted": made["destroyed"]["entries of the twin stream"],
        "aof_before_mb": round(before_mb, 1),
    }


def measure_rotation(settings: Settings, vault: Vault) -> dict[str, float]:
    """100 patients, each with a recipient key, and a thousand acts in the stream."""
    now_ms = int(time.time() * 1000)
    for i in range(MANY):
        admit(vault, f"q-{i}", f"dev-q{i}", now_ms)
    for i in range(ACTS):
        write_act(vault.client, vault.master, "s0", Act(f"q-{i % MANY}", "edit", {"bed": "Bed 1"}, "benchmark", now_ms))
    began_s = time.perf_counter()
    done = rotation.rotate_master(settings)
    return {"rotate_100_patients_s": round(time.perf_counter() - began_s, 2), "rewrapped": done.rewrapped}


def admit(vault: Vault, patient: str, device: str, now_ms: int) -> None:
    """As an engine leaves a patient behind: key, card, recipient key, assignment."""
    vault.create(patient)
    kid, private = create_recipient_key()
    body = cbor2.dumps([recipient_to_bytes(private), device, now_ms])
    vault.client.hset(keys.recipients("s0"), kid, seal_stored(vault.master, kid, patient, body))
    vault.client.set(keys.patient(patient), seal_card(vault, PatientCard(patient, patient, 1970, "Bed 1", device)))
    history = Assignments().assign(patient, now_ms - 2 * keys.HISTORY_MS)
    vault.client.hset(keys.assignments("s0"), device, history.to_json())
    vault.client.sadd(keys.PATIENTS, patient)


def fill_twin(vault: Vault, patient: str, now_ms: int) -> None:
    """Six hours of her twin stream."""
    cipher, body, batch = vault.cipher(patient), os.urandom(COMMIT_BYTES), vault.client.pipeline(transaction=False)
    for n in range(keys.HISTORY_MS // 1000 * COMMITS_A_S):
        t_ms = now_ms - keys.HISTORY_MS + n * 1000 // COMMITS_A_S
        batch.xadd(keys.twin("s0", patient), {"b": cipher.seal(body, b"twin|" + patient.encode())}, id=f"{t_ms}-0")
        if n % 2000 == 0:
            batch.execute()
    batch.execute()


def fill_raw(vault: Vault, now_ms: int) -> None:
    """Six hours of everybody's raw stream."""
    batch = vault.client.pipeline(transaction=False)
    for n in range(keys.HISTORY_MS // 1000 // FRAME_S):
        t_ms = now_ms - keys.HISTORY_MS + n * 1000 * FRAME_S
        for i in range(PATIENTS):
            fields = {"k": "event", "device": f"dev-{i}", "body": os.urandom(FRAME_BYTES), "ms": t_ms}
            batch.xadd(keys.raw("s0"), fields, id=f"{t_ms}-{i}")
        if n % 200 == 0:
            batch.execute()
    batch.execute()


if __name__ == "__main__":
    main()

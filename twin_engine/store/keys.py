"""Every key in Redis, by name. Braces are Redis Cluster hash tags: a shard's own keys lie in one slot. Orders do
not yet, so the store runs on one Redis (with replicas), not on a Redis Cluster.

=======================  ========  ===============================================================================
key                      type      holds
=======================  ========  ===============================================================================
eb:{s0}:raw              stream    sealed envelopes as ingested, answers to commands: the fold's input
eb:{s0}:acts             stream    what people want done, wrapped like a data key: the fold's other input
eb:{s0}:cursor           hash      id: the last raw entry folded; acts: the last act; tick_us: the last tick; counters
eb:{s0}:owner            string    who holds the shard, for five seconds at a time
eb:{s0}:fence            integer   the fencing token of the newest owner
eb:{s0}:leaves           list      Merkle leaf hashes (32 B), one a record, in order, for good; also eb:{audit}:leaves
eb:{s0}:nodes:8          list      roots of complete subtrees of 256 leaves; :16 of 65,536, and so on
eb:{s0}:entries          stream    what became of each raw record, under its id: entry and index, or why it has none
eb:{s0}:note             string    the log's newest checkpoint, a signed note with its witnesses' cosignatures
eb:{s0}:notes            stream    one such note an hour, for good
eb:{s0}:erased           hash      raw record that an erasure destroyed -> what it was, sealed under the master key
eb:{s0}:sessions         hash      device|sid -> session keys and seen numbers, sealed under the patient's key
eb:{s0}:recipients       hash      kid -> whose it is, and the private HPKE key, wrapped like a data key
eb:{s0}:assignments      hash      device -> its assignments, JSON
eb:{s0}:dead             stream    what could not be used, with the reason
eb:{s0}:twin:PATIENT     stream    what each commit made, sealed under the patient's key
eb:{s0}:twin:PATIENT|aside  hash   such streams that were set aside -> until when they are history (aside.py)
eb:{s0}:twin:PATIENT|MS  stream    one of them; both for six hours
eb:{s0}:state:PATIENT    string    the twin's snapshot, sealed under the patient's key
eb:patient:PATIENT       string    the patient's card, sealed under the patient's key
eb:key:PATIENT           string    the patient's data key, all versions, wrapped by master key and patient's secret
eb:erased                hash      name of an erased patient -> her tombstone, signed (security/tombstones.py)
eb:master                integer   the version of the master key that wraps: what was wrapped by another is not written
eb:patients              set       patient ids
eb:route                 hash      device -> shard|patient for whom it speaks; no entry: the device is free
eb:homes                 hash      recipient key's id, and device|sid -> shard in which that session is opened
eb:shards                integer   over how many shards the patients here are spread, set once
eb:checkpoint:PARTITION  string    offset of the last event stored
eb:orders                stream    what is to be sent down to devices
eb:people*, eb:signin*   several   accounts, sessions, attempts to sign in: twin_engine/store/people.py has the table
eb:audit:in              stream    audit events on their way into the audit log, sealed under the master key
eb:{audit}:entries       stream    the audit log's entries, sealed under its own data key, for good
eb:{audit}:key           string    that data key, wrapped by the master key
eb:log:state             hash      log -> what the notary found, JSON
=======================  ========  ===============================================================================
"""

from __future__ import annotations

import hashlib

PATIENTS = "eb:patients"
ROUTE = "eb:route"
HOMES = "eb:homes"
SHARDS = "eb:shards"
ORDERS = "eb:orders"
AUDIT_IN = "eb:audit:in"
ERASED = "eb:erased"
MASTER = "eb:master"
AUDIT_LOG = "audit"  # named like a shard; its keys are those of a shard's log
AUDIT_KEY = "eb:{audit}:key"
LOG_STATE = "eb:log:state"
HISTORY_MS = 6 * 3600 * 1000  # at most six hours of history in Redis


def shard_of(patient: str, shards: int) -> str:
    """The shard that owns a patient: stable, whatever the machine."""
    return f"s{int.from_bytes(hashlib.sha256(patient.encode()).digest()[:4], 'big') % shards}"


def raw(shard: str) -> str:
    return f"eb:{{{shard}}}:raw"


def acts(shard: str) -> str:
    return f"eb:{{{shard}}}:acts"


def cursor(shard: str) -> str:
    return f"eb:{{{shard}}}:cursor"


def owner(shard: str) -> str:
    return f"eb:{{{shard}}}:owner"


def fence(shard: str) -> str:
    return f"eb:{{{shard}}}:fence"


def leaves(shard: str) -> str:
    return f"eb:{{{shard}}}:leaves"


def nodes(shard: str, level: int) -> str:
    """Level 0 are the leaves."""
    return f"eb:{{{shard}}}:nodes:{level}" if level else leaves(shard)


def entries(shard: str) -> str:
    return f"eb:{{{shard}}}:entries"


def note(shard: str) -> str:
    return f"eb:{{{shard}}}:note"


def notes(shard: str) -> str:
    return f"eb:{{{shard}}}:notes"


def erased(shard: str) -> str:
    return f"eb:{{{shard}}}:erased"


def sessions(shard: str) -> str:
    return f"eb:{{{shard}}}:sessions"


def recipients(shard: str) -> str:
    return f"eb:{{{shard}}}:recipients"


def assignments(shard: str) -> str:
    return f"eb:{{{shard}}}:assignments"


def dead(shard: str) -> str:
    return f"eb:{{{shard}}}:dead"


def twin(shard: str, patient: str) -> str:
    return f"eb:{{{shard}}}:twin:{patient}"


def aside(shard: str, patient: str) -> str:
    """No patient's id holds a bar."""
    return f"{twin(shard, patient)}|aside"


def twin_aside(shard: str, patient: str, now_ms: int) -> str:
    return f"{twin(shard, patient)}|{now_ms}"


def state(shard: str, patient: str) -> str:
    return f"eb:{{{shard}}}:state:{patient}"


def patient(patient_id: str) -> str:
    return f"eb:patient:{patient_id}"


def route(shard: str, patient_id: str) -> str:
    """Where a device's messages go, and for whom it speaks: an entry of :data:`ROUTE`."""
    return f"{shard}|{patient_id}"


def read_route(entry: bytes | None) -> tuple[str, str]:
    """(shard, patient); both empty for a device that is free."""
    shard, _, patient_id = (entry or b"").decode().partition("|")
    return shard, patient_id


def written(entry_id: str) -> tuple[int, int]:
    """When a stream's entry was written, by the store's clock (ms), and its number within that millisecond.

    Sorts entries of all streams as they were written.
    """
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)


def data_key(patient_id: str) -> str:
    return f"eb:key:{patient_id}"


def checkpoint(partition: str) -> str:
    return f"eb:checkpoint:{partition}"

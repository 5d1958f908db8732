"""What a proof proves, in plain words: by whom it is signed and witnessed, and what it does not prove."""

from __future__ import annotations

import datetime as dt

from security.proofs import Proven, ProvenRecord, Signed

_LIMITS = (
    "NOT PROVEN by this file: that the log holds everything that was measured; that a sensor told the truth; what the "
    "envelopes say (they are sealed); the times of storing, which are the house's own."
)


def words(found: Proven) -> list[str]:
    """Lines for a person."""
    lines = signed_words(found.now)
    lines += [_record(record) for record in found.records]
    if found.earlier is not None:
        old = found.earlier
        seen = "; ".join(f"{s.key.name} saw it {when(s.t_s or 0)}" for s in old.witnesses)
        lines.append(
            f"  PROVEN: nothing of the first {old.point.size} leaves was changed, removed or put elsewhere since the "
            f"earlier checkpoint ({seen or 'no witness that you trust'})"
        )
    lines.append(_LIMITS)
    if found.own_key is not None:
        lines.append(
            f"NOT PROVEN: whose log this is. The only key is the one in the file itself ({found.own_key}); get the key "
            "from a source that you trust, and give it with --log-key."
        )
    return lines


def signed_words(signed: Signed) -> list[str]:
    """Which tree, signed and witnessed by whom."""
    point = signed.point
    by = "signed by the key that you trust" if signed.log else "signed by the key in the file"
    lines = [f"log {point.origin}: {point.size} leaves, root {point.root.hex()}, {by}"]
    lines += [f"  witnessed by {s.key.name}, {when(s.t_s or 0)} (its clock)" for s in signed.witnesses]
    if not signed.witnesses:
        lines.append("  NOT PROVEN: that everybody is shown the same log; no witness that you trust has cosigned it")
    return lines


def when(t_s: float) -> str:
    """A time as people read it; as a number where it can be none."""
    try:
        return f"{dt.datetime.fromtimestamp(t_s, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{t_s} s"


def _record(record: ProvenRecord) -> str:
    if record.event is not None:
        event = record.event
        facts = " ".join(f"{name}={value}" for name, value in event.facts.items())
        told = f"{when(event.t_ms / 1000)} {event.who}: {event.kind} {event.about} {facts}".rstrip()
        return f"  PROVEN: event {record.index}: {told}"
    entry = record.entry
    if entry is None:
        return f"  PROVEN: leaf {record.index}"
    stored = entry.stream_id.split("-")[0]
    arrived = when(int(stored) / 1000) if stored.isdigit() else entry.stream_id
    lane = "live" if entry.lane == 0 else "backfill"
    return (
        f"  PROVEN: record {record.index}: device {entry.device}, epoch {entry.epoch}, {lane} lane, number "
        f"{entry.seq}, stored {arrived}, SHA-256 {entry.ciphertext_hash.hex()}"
        + ("; its envelope is here, unchanged" if record.envelope else "")
    )

"""``everbeat proof``: what an auditor is handed.

A line of the log lies in the store as long as its record does, six hours; its hash lies there for good. So a proof is
written while the record is young (daily, say), and kept; ``--again`` proves its records anew in the log of today.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from everbeat.console import fail, one_line_errors, say
from everbeat.settings import Settings

if TYPE_CHECKING:
    from twin_engine.store.connection import Client
    from twin_engine.store.log_records import LogRecord


def proof(
    out: Annotated[Path, typer.Argument(help="Where to write the proof.")],
    shard: Annotated[str, typer.Option(help="The shard whose log it is.")] = "s0",
    index: Annotated[int | None, typer.Option(help="A leaf of the log.")] = None,
    device: Annotated[str | None, typer.Option(help="A device, with --minutes.")] = None,
    minutes: Annotated[float, typer.Option(min=0.0, help="With --device: how far back, at most six hours.")] = 10.0,
    again: Annotated[
        Path | None, typer.Option(help="A proof that was kept: its records, in the log as it is now.")
    ] = None,
    since_hours: Annotated[
        float | None, typer.Option(min=0.0, help="Also that the log only grew since so many hours ago.")
    ] = None,
    envelopes: Annotated[bool, typer.Option(help="With the sealed envelopes.")] = False,
) -> None:
    """Write a proof that records are in the log, for `everbeat verify --proof`."""
    from twin_engine.store.connection import connect
    from twin_engine.store.log_proofs import to_file

    if [index, device, again].count(None) != 2:
        fail("expected one of --index, --device and --again, got none or several; no proof was made")
    if again is not None and since_hours is not None:
        fail("expected --again without --since-hours: it proves growth since its own checkpoint; no proof was made")
    with one_line_errors():
        settings = Settings.from_env()
        client = connect(settings.redis_login("notary"))
        if again is not None:
            bundle, wanted = _anew(settings, client, shard, again.read_text())
        else:
            bundle, wanted = _fresh(client, shard, index, device, minutes, since_hours, envelopes)
        out.write_text(to_file(bundle))
        proven = len(bundle["records"])
        waiting = "; the others wait for a checkpoint" if proven < len(wanted) else ""
        say.print(f"{proven} of {len(wanted)} records proven in {out}{waiting}", highlight=False, soft_wrap=True)


def _fresh(
    client: Client,
    shard: str,
    index: int | None,
    device: str | None,
    minutes: float,
    since_hours: float | None,
    envelopes: bool,
) -> tuple[dict[str, Any], list[LogRecord]]:
    """A bundle of records whose lines the store still has."""
    from security.identity import wall_clock_ms
    from twin_engine.store.log_proofs import proof_bundle
    from twin_engine.store.log_records import MAX_RECORDS, record_by_index, records

    now_ms = wall_clock_ms()
    if index is not None:
        one = record_by_index(client, shard, index)
        wanted, what = [] if one is None else [one], f"leaf {index}"
    else:
        wanted = records(client, shard, device or "", now_ms - int(minutes * 60_000), now_ms)
        what = f"records of {device} in the last {minutes:g} minutes"
    if not wanted:
        fail(
            f"expected {what} in the log of {shard}, got none; no proof was made (lines are kept for six hours; for "
            "older records bring a proof that was kept: --again)"
        )
    if len(wanted) >= MAX_RECORDS:
        fail(f"expected fewer than {MAX_RECORDS} records in one proof, got more; no proof was made (--minutes)")
    since_ms = None if since_hours is None else now_ms - int(since_hours * 3_600_000)
    bundle = proof_bundle(client, shard, wanted, since_ms=since_ms, envelopes=envelopes)
    if since_ms is not None and "earlier" not in bundle:
        fail(f"expected a checkpoint of {since_hours:g} hours ago, got none: the log of {shard} is younger; "
              "no proof was made")  # fmt: skip
    return bundle, wanted


def _anew(settings: Settings, client: Client, shard: str, kept: str) -> tuple[dict[str, Any], list[LogRecord]]:
    """A bundle of the records of a kept one, and that the log only grew since. Raises Rejected where that is not so."""
    from everbeat import notarial
    from security import proofs
    from security.merkle import leaf_hash
    from twin_engine.store.log_proofs import proof_bundle, to_file
    from twin_engine.store.log_records import LogRecord

    keys = notarial.log_keys(settings)
    before = proofs.prove(kept, keys)  # a proof of another house, or that never held, is none
    wanted = [
        LogRecord(r.index, r.entry, leaf_hash(r.entry.to_bytes()), covered=True)
        for r in before.records
        if r.entry is not None
    ]
    bundle = proof_bundle(client, shard, wanted, since_note=proofs.checkpoint_of(kept))
    proofs.prove(to_file(bundle), keys)
    return bundle, wanted

"""Commands around the logs: notary, witness, fsck, verify, proof, audit, accept-log.

``verify --proof`` and ``witness`` need nothing of the house: neither Redis nor its state directory.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from everbeat import proof_words
from everbeat.console import fail, one_line_errors, say, stop_event
from everbeat.settings import Settings

if TYPE_CHECKING:
    from security.note import VerifierKey
    from twin_engine.store.fsck import Finding

app = typer.Typer()
_UNPROVEN = 3  # exit code: nothing is wrong, but whose signature it is was not checked


@app.command()
def notary() -> None:
    """Look after the logs: sign what only grew, have it witnessed, raise the alarm at anything else."""
    from everbeat import notarial

    with one_line_errors():
        settings = Settings.from_env()
        with _only_one(settings.notary):
            notarial.notary(settings).run(stop_event())


@app.command()
def witness(
    home: Annotated[Path, typer.Option(help="Its own directory: key, what it was told, what it remembers.")],
    name: Annotated[str, typer.Option(help="Its name in cosignatures, like witness.example/w1.")],
    log_key: Annotated[list[str] | None, typer.Option(help="A log to believe from now on (name+id+key).")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8446,
    show_key: Annotated[bool, typer.Option(help="Print its own key, and stop.")] = False,
) -> None:
    """Cosign checkpoints of logs that only grew (C2SP tlog-witness). Run it where the house can't reach."""
    from everbeat import witness as story
    from everbeat.notarial import tell_witness
    from security.note import VerifierKey

    with one_line_errors():
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        tell_witness(home, [VerifierKey.parse(text) for text in log_key or []])
        made = story.load(home, name)
        if show_key:
            print(made.verifier)
            return
        story.serve(made, host, port, stop_event())


@app.command()
def fsck() -> None:
    """Compare everything that is stored with itself, and with what the notary remembers. Changes nothing."""

    with one_line_errors():
        settings = Settings.from_env()
        if _say_findings(_everything(settings)):
            raise typer.Exit(1)


@app.command()
def verify(
    proof: Annotated[
        Path | None, typer.Option(help="A proof that somebody gave you; default: the running house.")
    ] = None,
    log_key: Annotated[
        list[str] | None, typer.Option(help="The log's key (name+id+key), from a source you trust.")
    ] = None,
    witness_key: Annotated[list[str] | None, typer.Option(help="A witness' key that you trust.")] = None,
    since: Annotated[Path | None, typer.Option(help="A checkpoint that you kept yourself.")] = None,
) -> None:
    """Say what a proof proves, and what it does not. Without --proof: verify the running house."""
    from security import proofs
    from security.errors import Rejected
    from security.note import VerifierKey

    with one_line_errors():
        logs = [VerifierKey.parse(text) for text in log_key or []]
        trusted = [VerifierKey.parse(text) for text in witness_key or []]
        if proof is None:
            _verify_house(logs, trusted)
            return
        try:
            found = proofs.prove(proof.read_text(), logs, trusted, None if since is None else since.read_text())
        except Rejected as error:
            say.print(f"NOT PROVEN: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
            raise typer.Exit(1) from error
        print("\n".join(proof_words.words(found)))
        if found.own_key is not None:
            raise typer.Exit(_UNPROVEN)


@app.command()
def proof(
    out: Annotated[Path, typer.Argument(help="Where to write the proof.")],
    shard: Annotated[str, typer.Option(help="The shard whose log it is.")] = "s0",
    index: Annotated[int | None, typer.Option(help="A leaf of the log.")] = None,
    device: Annotated[str | None, typer.Option(help="A device, with --minutes.")] = None,
    minutes: Annotated[float, typer.Option(help="With --device: how far back.")] = 10.0,
    since_hours: Annotated[
        float | None, typer.Option(help="Also that the log only grew since so many hours ago.")
    ] = None,
    envelopes: Annotated[bool, typer.Option(help="With the sealed envelopes.")] = False,
) -> None:
    """Write a proof that records are in the log, for `everbeat verify --proof`."""
    from security.identity import wall_clock_ms
    from twin_engine.store.connection import connect
    from twin_engine.store.log_proofs import proof_bundle, to_file
    from twin_engine.store.log_records import record_by_index, records

    if (index is None) == (device is None):
        fail("expected either --index or --device, got both or none; no proof was made")
    with one_line_errors():
        client, now_ms = connect(Settings.from_env().redis_login("notary")), wall_clock_ms()
        if index is not None:
            one = record_by_index(client, shard, index)
            wanted = [] if one is None else [one]
        else:
            wanted = records(client, shard, device or "", now_ms - int(minutes * 60_000), now_ms)
        since_ms = None if since_hours is None else now_ms - int(since_hours * 3_600_000)
        bundle = proof_bundle(client, shard, wanted, since_ms=since_ms, envelopes=envelopes)
        out.write_text(to_file(bundle))
        say.print(
            f"{len(bundle['records'])} of {len(wanted)} records proven in {out}; the others wait for a checkpoint"
        )


@app.command()
def audit(
    kind: Annotated[str, typer.Option(help="A kind, like device.revoked, or its first word.")] = "",
    about: Annotated[str, typer.Option(help="Only about this patient, device, account or setting.")] = "",
    who: Annotated[str, typer.Option(help="Only by this person or process.")] = "",
    count: Annotated[int, typer.Option(min=1, max=5000, help="How many, newest first.")] = 50,
) -> None:
    """What was accessed, allowed and configured: the audit log, newest first."""
    from everbeat import wiring
    from twin_engine.store.audit import AuditReader

    with one_line_errors():
        keys = wiring.vault(Settings.from_env(), "notary")
        for line in AuditReader(keys.client, keys.master).page(kind=kind, about=about, who=who, count=count).lines:
            event = line.event
            told = (
                "can't be opened"
                if event is None
                else (
                    f"{proof_words.when(event.t_ms / 1000)}  {event.kind:22} {event.who:20} {event.about:20} "
                    + " ".join(f"{name}={value}" for name, value in event.facts.items())
                )
            )
            print(f"{line.index:7d}  {told.rstrip()}")


@app.command("accept-log")
def accept_log(
    log: Annotated[str, typer.Argument(help="The log whose alarm you accept: s0, …, audit.")],
    reason: Annotated[str, typer.Argument(help="Why; it goes into the audit log with your name.")],
) -> None:
    """Go on after an alarm of a log that you have looked into. A tree that was broken goes on under a new name."""
    from everbeat import notarial
    from security import files

    with one_line_errors():
        settings = Settings.from_env()
        if log not in {which.name for which in notarial.logs(settings)}:
            fail(f"expected the name of a log, got {log!r}; nothing was accepted")
        inbox = files.private_dir(settings.notary / "accepted")
        files.write_private(inbox / log, f"{os.environ.get('USER', 'operator')}\n{reason}".encode())
        say.print("the notary takes it up within seconds")


@app.command("log-keys")
def log_keys() -> None:
    """Print the keys of the house's logs, for witnesses and auditors."""
    from everbeat import notarial

    with one_line_errors():
        for key in notarial.log_keys(Settings.from_env()):
            print(key)


# ---------------------------------------------------------------------------------------------- small parts


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """A second notary on the same directory ends with one line."""
    from security import files
    from security.errors import SecurityError

    fd = os.open(files.private_dir(home) / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise SecurityError(f"expected to be the only notary in {home}, but another runs; not started") from error
    finally:
        os.close(fd)


def _everything(settings: Settings) -> dict[str, tuple[int, list[Finding]]]:
    """log -> (leaves, what is wrong): one whole look with a copy of the notary's memory."""
    from everbeat import notarial
    from twin_engine.notary import examine

    return {which.name: examine(which, *notarial.hands(settings)) for which in notarial.logs(settings)}


def _say_findings(found: dict[str, tuple[int, list[Finding]]]) -> bool:
    for name, (leaves, findings) in found.items():
        print(f"log {name}: {leaves} leaves, " + ("all as it was written" if not findings else "NOT as it was written"))
        for finding in findings:
            print(f"  {finding.kind} at {finding.where}: {finding.detail}")
    return any(findings for _, findings in found.values())


def _verify_house(logs: list[VerifierKey], trusted: list[VerifierKey]) -> None:
    """Everything that can be verified from here: what is stored, and the published checkpoints."""
    from everbeat import notarial
    from security import proofs
    from security.errors import Rejected
    from twin_engine.store.log import LogReader, read_state

    settings = Settings.from_env()
    wrong = _say_findings(_everything(settings))
    client = notarial.hands(settings)[0]
    keys = [*(logs or notarial.log_keys(settings)), *(trusted or [w.key for w in notarial.witnesses(settings)])]
    for which in notarial.logs(settings):
        signed = LogReader(client, which.name).note()
        alarm = read_state(client).get(which.name, {}).get("alarm")
        if alarm:
            wrong = True
            print(f"log {which.name}: the notary raises the alarm: {alarm['findings'][0]['detail']}")
        if signed is None:
            print(f"log {which.name}: no checkpoint yet")
            continue
        try:
            found = proofs.check_note(signed, keys)
        except Rejected as error:
            wrong = True
            print(f"log {which.name}: NOT PROVEN: {error}")
            continue
        print("\n".join(proof_words.signed_words(found)))
    if wrong:
        raise typer.Exit(1)

"""``everbeat pki``: certificates, by a security officer's hand. Says what was done, and what is still to do.

What happens is in :mod:`everbeat.officer`, and of the CA itself in :mod:`everbeat.house_ca`; here are arguments, tables
and sentences. Imports wait until a command runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from everbeat.console import one_line_errors
from everbeat.settings import Settings

if TYPE_CHECKING:
    from everbeat.officer import Enrolment
    from security.authority import Authority
    from security.index import Issued

app = typer.Typer(no_args_is_help=True, help="Certificates: who is who, until when, and who is believed no longer.")
say = Console()

Out = Annotated[Path | None, typer.Option(help="Folder for the chain; default: the device's own, below the state.")]
_SOON = timedelta(days=90)  # when the end of a CA is worth a word


@app.command()
def init(
    replace: Annotated[
        bool, typer.Option(help="Put the CA that is here aside. Every device must be enrolled anew.")
    ] = False,
) -> None:
    """Make the CA: an offline root, and the intermediate that signs certificates."""
    with _act() as settings:
        from everbeat import house_ca

        ca = house_ca.init(settings, replace=replace)
        say.print(_authorities(ca))
        _say(f"The root's key lies in {ca.directory / 'root.key'}. Move it off this machine now and lock it away:")
        _say("everything but 'everbeat pki renew --issuer' works without it.")


@app.command()
def enrol(
    device: Annotated[str, typer.Argument(help="The device's id.")],
    csr: Annotated[
        Path | None, typer.Option(help="Its signing request (PEM or DER); default: its key is made here.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="Its chain (PEM), where a CA that was imported has issued it.")
    ] = None,
    out: Out = None,
    replace: Annotated[bool, typer.Option(help="Revoke the certificates that it has.")] = False,
) -> None:
    """Give a device its certificate, and make it known to the local hub."""
    with _act() as settings:
        from everbeat import officer

        if certificate is not None:
            made = officer.enrol_foreign(settings, device, certificate)
        else:
            made = officer.enrol(settings, device, csr, out, replace=replace)
        _say_enrolled("enrolled", made)


@app.command()
def renew(
    device: Annotated[str | None, typer.Argument(help="A device whose key is here.")] = None,
    request: Annotated[Path | None, typer.Option(help="A renewal that a device signed.")] = None,
    issuer: Annotated[bool, typer.Option("--issuer", help="The intermediate; wants the root's key.")] = False,
    root_key: Annotated[Path | None, typer.Option(help="With --issuer: the root's key, on its medium.")] = None,
    fresh_key: Annotated[
        bool, typer.Option("--fresh-key", help="With --issuer: revoke the old one, which others may know.")
    ] = False,
    late: Annotated[
        int, typer.Option(min=0, max=90, help="Allow a certificate that expired at most so many days ago, once.")
    ] = 0,
    out: Out = None,
) -> None:
    """Renew one device's certificate, or the intermediate."""
    with _act() as settings:
        from everbeat import house_ca, officer

        if (device is not None) + (request is not None) + issuer != 1:
            raise typer.BadParameter("expected a DEVICE, --request FILE or --issuer, and one of them only")
        if issuer:
            say.print(_authorities(house_ca.renew_issuer(settings, root_key, fresh_key=fresh_key)))
            if fresh_key:
                _say("Every certificate has to be issued anew: servers and demo devices at their next start,")
                _say("others by 'everbeat pki enrol DEVICE --replace'. Restart the hub and the engines now.")
            return
        grace = timedelta(days=late)
        if request is not None:
            made = officer.renew_by_request(settings, request, out, grace)
        else:
            made = officer.renew(settings, device or "", grace)
        _say_enrolled("renewed", made)


@app.command()
def revoke(
    what: Annotated[str, typer.Argument(help="A device, or a serial number (its first 6 digits or more).")],
    reason: Annotated[
        str, typer.Option(help="keyCompromise (stolen), superseded, cessationOfOperation, privilegeWithdrawn, ...")
    ] = "unspecified",
) -> None:
    """End a certificate for good: live connections and sessions are cut within seconds."""
    with _act() as settings:
        from everbeat import officer
        from security.crl import Why

        if reason not in list(Why):
            raise typer.BadParameter(f"expected a reason out of {', '.join(Why)}, got {reason!r}; nothing was revoked")
        done = officer.revoke(settings, what, Why(reason))
        say.print(_table(done, "revoked"))
        if not settings.local_hub and any(one.role == "device" for one in done):
            _say("Azure IoT Hub does not read this list. Engines refuse the device; disable it at the hub as well:")
            _say(f"az iot hub device-identity update --device-id {done[0].name} --set status=disabled")


@app.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Also what has expired.")] = False,
) -> None:
    """Who has which certificate, until when, and whether it is revoked."""
    with _act() as settings:
        from everbeat import officer

        ca, rows, doubt = officer.listed(settings)
        now_ms = _now().timestamp() * 1000
        shown = [one for one in rows if everything or one.ends_ms > now_ms or one.revoked_ms is not None]
        say.print(_authorities(ca))
        say.print(_table(shown, f"{len(shown)} certificates"))
        if doubt:
            say.print(f"No new session is opened: {doubt}", style="bold red", markup=False, highlight=False)
        if (ca.directory / "root.key").exists():
            _say(f"{ca.directory / 'root.key'} is still on this machine; it belongs locked away.")


@app.command("import")
def import_(
    root: Annotated[Path | None, typer.Option(help="The hospital's root (PEM).")] = None,
    issuer: Annotated[
        list[Path] | None, typer.Option(help="Its intermediate (PEM); may be repeated without --key.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="The intermediate's key (PEM): it signs here. Without: it is believed.")
    ] = None,
    crl: Annotated[Path | None, typer.Option(help="Its revocation lists (PEM); alone: newer ones.")] = None,
    replace: Annotated[bool, typer.Option(help="With --key: put the CA that is here aside.")] = False,
) -> None:
    """Use an existing CA: let its intermediate sign here, or believe devices that it enrolled."""
    with _act() as settings:
        from everbeat import house_ca

        if crl is None or (root is None and (issuer or key)):
            raise typer.BadParameter("expected --root, --issuer and --crl (and --key to sign here), or --crl alone")
        if root is None:
            _say(f"newer lists of {', '.join(house_ca.import_lists(settings, crl))}")
            return
        say.print(_authorities(house_ca.import_ca(settings, root, issuer or [], key, crl, replace=replace)))
        _say("Restart the hub: its TLS reads whom to let in when it starts.")


# ---------------------------------------------------------------------------------------------- small parts


@contextmanager
def _act() -> Iterator[Settings]:
    """One act: our errors as one line; what is to be told to the audit log is told, now or later."""
    from everbeat import house_ca

    with one_line_errors():
        settings = Settings.from_env()
        yield settings
        if left := house_ca.tell(settings):
            _say(f"The store does not answer: audit events wait in the CA's index until it does ({left}).")


def _say(text: str) -> None:
    say.print(text, highlight=False, markup=False, soft_wrap=True)


def _say_enrolled(what: str, made: Enrolment) -> None:
    leaf = made.certificate
    table = Table(title=f"{made.device} {what}")
    for column in ("serial", "until", "chain", "local hub"):
        table.add_column(column, overflow="fold")
    until = f"{leaf.not_valid_after_utc:%F %R}Z"
    table.add_row(f"{leaf.serial_number:x}", until, str(made.chain_path), "knows it" if made.at_hub else "not used")
    say.print(table)
    if not made.at_hub:
        _say(f"Azure IoT Hub: az iot hub device-identity create --device-id {made.device} --am x509_ca")


def _authorities(ca: Authority) -> Table:
    table = Table(title=f"CA in {ca.directory}")
    for column in ("", "name", "until"):
        table.add_column(column, overflow="fold")
    for kind, found in (("root", ca.root), *(("intermediate", c) for c in ca.chain)):
        left = found.not_valid_after_utc - _now()
        soon = f", in {left.days} days: renew it" if left < _SOON else ""
        table.add_row(kind, found.subject.rfc4514_string(), f"{found.not_valid_after_utc:%F}{soon}")
    if not ca.chain:
        table.caption = "of an older version: the root signs by itself, its key is on this machine (init --replace)"
    return table


def _table(rows: list[Issued], title: str) -> Table:
    table = Table(title=title)
    for column in ("role", "name", "serial", "until", "state"):
        table.add_column(column, overflow="fold")
    for one in rows:
        until = datetime.fromtimestamp(one.ends_ms / 1000, UTC)
        table.add_row(one.role, one.name, f"{one.serial:x}", f"{until:%F}", _state(one, until))
    return table


def _state(one: Issued, until: datetime) -> str:
    if one.revoked_ms is not None:
        return f"[red]revoked[/red] {datetime.fromtimestamp(one.revoked_ms / 1000, UTC):%F %R}Z, {one.why}"
    if until <= _now():
        return "[yellow]expired[/yellow]"
    return f"in force, {(until - _now()).days} days left"


def _now() -> datetime:
    return datetime.now(UTC)

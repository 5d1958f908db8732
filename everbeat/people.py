"""``everbeat user``: accounts, roles, grants and sessions. Every change leaves an audit event before it is made.

Whoever may run this reads the master key's file, and so could read everything anyway: it is the operator's own command.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from everbeat.console import one_line_errors
from everbeat.settings import Settings, SettingsError

if TYPE_CHECKING:
    from security.people import Account
    from web.access import People
    from web.oidc import OidcSettings

app = typer.Typer(no_args_is_help=True, help="Who may sign in, and see whom.")

Name = Annotated[str, typer.Argument(help="The account's name: a-z, 0-9, '.', '_', '-'.")]
Patients = Annotated[list[str] | None, typer.Argument(help="Patients' ids or record numbers.")]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from the first line of stdin.")]
_SEE_NOBODY = ("admin", "security-officer")
All = Annotated[bool, typer.Option("--all", help="Every patient of the house, also those to come.")]


@app.command()
def add(
    name: Name,
    role: Annotated[str, typer.Option(help="admin, security-officer, clinician, viewer or kiosk.")] = "clinician",
    shown: Annotated[str, typer.Option(help="The name that others read.")] = "",
    stdin: FromStdin = False,
) -> None:
    """Add a person. From the first account on, the web lets nobody in without one."""
    from security.passwords import hash_password
    from security.people import Account

    with _people() as people:
        draft = Account(name, role, shown)
        account = replace(draft, password=hash_password(_password(stdin), (name, shown)), changed_ms=_now_ms())
        if people.accounts.find(name) is not None:
            raise SettingsError(f"expected a name that is free, got {name!r}; nothing was changed")
        _tell(people, "person.added", name, {"role": role})
        people.accounts.add(account)
    print(f"{name} is added, {role}" + ("" if role in _SEE_NOBODY else "; whom to see: everbeat user grant"))


@app.command()
def passwd(name: Name, stdin: FromStdin = False) -> None:
    """Set a new password, and end the person's sessions."""
    from security.passwords import hash_password

    with _people() as people:
        account = _known(people, name)
        stored = hash_password(_password(stdin), (name, account.shown))
        how = lambda a: replace(a, password=stored, changed_ms=_now_ms())  # noqa: E731
        _change(people, name, "person.changed", {"what": "password"}, how)
        people.sessions.end_all(name)
    print(f"{name} has a new password; all sessions ended")


@app.command()
def role(name: Name, role: Annotated[str, typer.Argument(help="The new role.")]) -> None:
    """Give another role; sessions with the old one are over."""
    with _people() as people:
        _change(people, name, "person.changed", {"role": role}, lambda a: replace(a, role=role))
    print(f"{name} is {role}; sessions with another role are over")


@app.command()
def grant(name: Name, patients: Patients = None, every: All = False) -> None:
    """Let a person see patients."""
    with _people() as people:
        wanted = _ids(patients, every)
        _change(people, name, "person.granted", {"patients": _listed(wanted)}, lambda a: a.granted(*wanted))
    print(f"{name} may see {_told(wanted)}")


@app.command()
def revoke(name: Name, patients: Patients = None, every: All = False) -> None:
    """Take patients off a person's list; with --all, the grant of all. Open rooms close within a second."""
    with _people() as people:
        wanted = _ids(patients, every)
        _change(people, name, "person.ungranted", {"patients": _listed(wanted)}, lambda a: a.ungranted(*wanted))
    print(f"{name} has no grant any more of {_told(wanted)}")


@app.command()
def disable(name: Name, undo: Annotated[bool, typer.Option("--undo", help="Let the person in again.")] = False) -> None:
    """Let a person in no more; sessions end at once."""
    with _people() as people:
        facts = {"what": "enabled" if undo else "disabled"}
        _change(people, name, "person.changed", facts, lambda a: replace(a, disabled=not undo))
        if not undo:
            people.sessions.end_all(name)
    print(f"{name} may sign in again" if undo else f"{name} is let in no more; all sessions ended")


@app.command("list")
def list_people() -> None:
    """All accounts; of screens on a wall also when the first is signed out, with a warning days before."""
    table = Table("name", "shown", "role", "patients", "signs in by", "state", "signed in until (UTC)")
    with _people() as people:
        now_ms = _now_ms()
        for a in people.accounts.all():
            by = "password" if a.password else "identity provider"
            table.add_row(a.name, a.shown, a.role, ", ".join(sorted(a.grants)), by, "disabled" if a.disabled else "",
                          _screen_end(people, a, now_ms))  # fmt: skip
    _out(table)


SOON_S = 3 * 86_400  # somebody has to come; session.js says it on the screen from then on, too


def _screen_end(people: People, account: Account, now_ms: int) -> str:
    """When the first screen of an account that is never idle goes dark; "" for people, who sign in each day."""
    from security.people import PATIENCE

    if PATIENCE[account.role].idle_s:
        return ""
    left = [s.left_s(now_ms)[1] for s in people.sessions.of(account.name) if not s.over(account, now_ms)]
    if not left:
        return "no screen is signed in"
    days = f": in {min(left) / 86_400:.1f} days, sign in again" if min(left) < SOON_S else ""
    return _when(now_ms + int(1000 * min(left))) + days


@app.command()
def sessions(name: Name) -> None:
    """Where a person is signed in."""
    table = Table("session", "since (UTC)", "last used (UTC)", "address", "browser")
    with _people() as people:
        for s in people.sessions.of(_known(people, name).name):
            table.add_row(s.id[:12], _when(s.from_ms), _when(s.touched_ms), s.address, s.agent)
    _out(table)


@app.command()
def end(
    name: Name,
    session: Annotated[str, typer.Argument(help="The beginning of a session's id; without it, all.")] = "",
) -> None:
    """End a person's sessions; open sockets are cut within a second."""
    with _people() as people:
        ended = [s for s in people.sessions.of(_known(people, name).name) if s.id.startswith(session)]
        if ended:
            _tell(people, "session.ended", name, {"which": session or "all"})
        for found in ended:
            people.sessions.end(found)
    print(f"{len(ended)} ended")


def oidc_settings(env: Mapping[str, str] = os.environ) -> OidcSettings | None:
    """The identity provider of the environment, None without one. Raises SettingsError, SecurityError.

    EVERBEAT_OIDC_ISSUER, EVERBEAT_OIDC_CLIENT_ID and EVERBEAT_OIDC_SECRET; EVERBEAT_OIDC_CLAIM (default ``groups``);
    EVERBEAT_OIDC_ROLES: ``value=role``, with semicolons between, the first that fits counts.
    """
    from web.oidc import OidcSettings

    issuer = env.get("EVERBEAT_OIDC_ISSUER", "")
    if not issuer:
        return None
    pairs = [pair.strip().rpartition("=") for pair in env.get("EVERBEAT_OIDC_ROLES", "").split(";") if pair.strip()]
    if not all(value and role for value, _, role in pairs) or not env.get("EVERBEAT_OIDC_SECRET"):
        raise SettingsError("expected EVERBEAT_OIDC_SECRET, and EVERBEAT_OIDC_ROLES as value=role;...; not started")
    roles = {value.strip(): role.strip() for value, _, role in pairs}
    claim = env.get("EVERBEAT_OIDC_CLAIM", "groups")
    return OidcSettings(issuer, env.get("EVERBEAT_OIDC_CLIENT_ID", ""), env["EVERBEAT_OIDC_SECRET"], claim, roles)


@contextmanager
def _people() -> Iterator[People]:
    from everbeat import wiring

    with one_line_errors():
        yield wiring.people(Settings.from_env())


def _known(people: People, name: str) -> Account:
    account = people.accounts.find(name)
    if account is None:
        raise SettingsError(f"expected the name of an account, got {name!r}; nothing was changed")
    return account


def _change(
    people: People, name: str, kind: str, facts: dict[str, str], how: Callable[[Account], Account]
) -> None:  # fmt: skip
    how(_known(people, name))  # what can't be, is not told as done
    _tell(people, kind, name, facts)
    people.accounts.change(name, how)


def _tell(people: People, kind: str, about: str, facts: dict[str, str]) -> None:
    from security.audit import AuditEvent

    people.audit.write(AuditEvent(_now_ms(), f"operator:{getpass.getuser()}"[:64], kind, about, facts))


def _ids(patients: list[str] | None, every: bool) -> list[str]:
    """Patients' ids, also from their record numbers. Raises SettingsError on one that is not there."""
    from everbeat import wiring
    from security.people import EVERYBODY
    from twin_engine.registry import shown_number

    if every:
        return [EVERYBODY]
    cards = wiring.patient_store(Settings.from_env()).cards()
    found = {text: [c.id for c in cards if text in (c.id, shown_number(c))] for text in patients or ()}
    unknown = [text for text, ids in found.items() if len(ids) != 1]
    if unknown or not found:
        raise SettingsError(f"expected ids or record numbers of patients, or --all, got {unknown}; nothing was changed")
    return [ids[0] for ids in found.values()]


def _listed(ids: list[str]) -> str:
    return " ".join(ids)[:256]


def _told(ids: list[str]) -> str:
    from security.people import EVERYBODY

    return "every patient" if ids == [EVERYBODY] else ", ".join(ids)


def _password(stdin: bool) -> str:
    if stdin:
        return sys.stdin.readline().rstrip("\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


def _out(table: Table) -> None:
    from rich.console import Console

    Console().print(table)


def _when(t_ms: int) -> str:
    return f"{datetime.fromtimestamp(t_ms / 1000, UTC):%Y-%m-%d %H:%M}"


def _now_ms() -> int:
    from twin_engine.store.people import clock_ms

    return clock_ms()

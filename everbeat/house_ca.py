"""What a security officer does to the CA itself: make or import it, renew its intermediate, bring newer lists.

An act is done when its function returns, whether or not the store answers: the audit event waits in the CA's index
until :func:`tell` gets it to the log.
"""

from __future__ import annotations

import getpass
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import hashes

from everbeat.settings import Settings
from security import founding, hospital, identity
from security.audit import AuditEvent
from security.authority import ROOT_KEY, Authority, is_there
from security.errors import SecurityError
from security.identity import wall_clock_ms
from security.index import Index
from twin_engine.store.errors import StoreDown


def me() -> str:
    """Who acts, for the audit log: the account on this machine."""
    return getpass.getuser()


def existing(settings: Settings) -> Authority:
    """The CA that is here. Raises SecurityError where there is none: an officer's typing error makes no CA."""
    if not is_there(settings.ca):
        raise SecurityError(f"expected a CA in {settings.ca}, got none; nothing was done: run 'everbeat pki init'")
    return identity.load_ca(settings.ca)


def init(settings: Settings, *, replace: bool = False) -> Authority:
    """A new CA. With `replace` the old one is put aside, and every certificate has to be issued anew."""
    if replace:
        _put_aside(settings.ca)
    if is_there(settings.ca):
        raise SecurityError(
            f"expected no CA in {settings.ca}, got one; it was kept (--replace puts it aside; then every device has to "
            f"be enrolled anew)"
        )
    return _told(identity.create_ca(settings.ca), "made")


def renew_issuer(settings: Settings, root_key: Path | None, *, fresh_key: bool = False) -> Authority:
    """The intermediate for three more years: the one thing that wants the root's key."""
    ca = existing(settings)
    path = root_key or ca.directory / ROOT_KEY
    made = founding.renew_issuer(ca, path, now_ms=wall_clock_ms(), fresh_key=fresh_key)
    return _told(made, "intermediate replaced" if fresh_key else "intermediate renewed")


def import_ca(
    settings: Settings, root: Path, issuers: Sequence[Path], key: Path | None, lists: Path, *, replace: bool = False
) -> Authority:
    """A hospital's CA: with the key of its intermediate to sign here, without to be believed."""
    now_ms = wall_clock_ms()
    if key is None:
        ours = identity.load_or_create_ca(settings.ca)
        return _told(hospital.import_trust(ours, root, issuers, lists, now_ms=now_ms), f"{root.name} believed")
    if len(issuers) != 1:
        raise SecurityError(f"expected one intermediate with its key, got {len(issuers)}; nothing was imported")
    aside = _put_aside(settings.ca) if replace else None
    try:
        made = hospital.import_issuer(settings.ca, root, issuers[0], key, lists, now_ms=now_ms)
        return _told(made, "imported")
    except Exception:
        if aside is not None:
            shutil.rmtree(settings.ca, ignore_errors=True)
            aside.rename(settings.ca)
        raise


def import_lists(settings: Settings, lists: Path) -> list[str]:
    """Newer lists of CAs that are believed already."""
    ca = existing(settings)
    names = hospital.import_lists(ca, lists, now_ms=wall_clock_ms())
    _told(ca, "newer lists")
    return names


def tell(settings: Settings) -> int:
    """Bring waiting events to the audit log. How many still wait, because the store does not answer."""
    from everbeat import wiring
    from twin_engine.store.audit import AuditWriter

    if not is_there(settings.ca):
        return 0
    with Index(settings.ca) as index:
        try:
            while waiting := index.waiting():
                keys = wiring.vault(settings, "keeper")
                writer = AuditWriter(keys.client, keys.master)
                for number, event in waiting:
                    writer.write(event)
                    index.was_told(number)
        except StoreDown:
            return index.left_to_tell()
    return 0


def _told(ca: Authority, what: str) -> Authority:
    """The authority itself has changed: the audit log will say so."""
    facts = {"ca": what[:200], "root": ca.root.fingerprint(hashes.SHA256()).hex()}
    with ca.index() as index:
        index.tell(AuditEvent(wall_clock_ms(), me(), "config.changed", "pki", facts))
    return ca


def _put_aside(directory: Path) -> Path | None:
    """Where the CA lies now, if there was one."""
    if not directory.exists():
        return None
    return directory.rename(directory.with_name(f"{directory.name}.until-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"))

"""What a security officer does to certificates: make or import the CA, enrol, renew, revoke, look.

What is heavy to import waits until it is needed: a revocation shall not wait for it.

Each act is one function: settings in, what came of it out. It is done when the function returns, whether or not the
store answers: the audit event waits in the CA's index until :func:`tell` gets it to the log.
"""

from __future__ import annotations

import getpass
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from everbeat.settings import Settings
from security import authority, certificates, files, hospital, identity, listing, renewal
from security.audit import AuditEvent
from security.authority import Authority
from security.errors import SecurityError
from security.identity import DeviceIdentity, Role, is_device_id, wall_clock_ms
from security.index import Index, Issued
from security.revocation import TrustWatch, Why
from twin_engine.store.errors import StoreDown

_LEAST_PREFIX = 6  # hexadecimal digits of a serial number


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A device's new certificate, and where its chain lies."""

    device: str
    certificate: x509.Certificate
    chain_path: Path
    at_hub: bool  # whether the local hub knows it; Azure is told by other means


def me() -> str:
    """Who acts, for the audit log: the account on this machine."""
    return getpass.getuser()


def existing(settings: Settings) -> Authority:
    """The CA that is here. Raises SecurityError where there is none: an officer's typing error makes no CA."""
    if not _has_ca(settings.ca):
        raise SecurityError(f"expected a CA in {settings.ca}, got none; nothing was done: run 'everbeat pki init'")
    return identity.load_ca(settings.ca)


def init(settings: Settings, *, replace: bool = False) -> Authority:
    """A new CA. With `replace` the old one is put aside, and every certificate has to be issued anew."""
    if replace:
        _put_aside(settings.ca)
    if _has_ca(settings.ca):
        raise SecurityError(
            f"expected no CA in {settings.ca}, got one; it was kept (--replace puts it aside; then every device has to "
            f"be enrolled anew)"
        )
    return _told(identity.create_ca(settings.ca), "made")


def enrol(settings: Settings, device: str, csr: Path | None, out: Path | None, *, replace: bool = False) -> Enrolment:
    """A certificate for a device: for the key of its request, or, without one, for a key that is made here.

    A device with a certificate in force is left alone, or with `replace` its old ones are revoked as superseded.
    """
    ca, now_ms = existing(settings), wall_clock_ms()
    _need_device(device)
    before = _in_force(ca, device, now_ms)
    if before and not replace:
        raise SecurityError(
            f"expected {device} without a certificate in force, got one until {_day(before[-1])}; nothing was issued: "
            f"renew it, or enrol it with --replace, which revokes the old one"
        )
    home = out or settings.device(device)
    if csr is None:
        key = certificates.new_key()
        chain = authority.issue(ca, Role.DEVICE, device, (), key.public_key(), now_ms=now_ms, who=me())
        path = identity.store(DeviceIdentity, device, home, key, chain, ca.root).chain_path
    else:
        chain = authority.enrol(ca, device, _bytes(csr), now_ms=now_ms, who=me())
        path = _write_chain(home, device, chain, ca)
    if before:
        authority.revoke(ca, before, Why.SUPERSEDED, now_ms=now_ms, who=me())
    return _enrolled(settings, device, chain[0], path)


def enrol_foreign(settings: Settings, device: str, chain_path: Path) -> Enrolment:
    """A device whose certificate another CA made, which is believed here (:func:`import_ca`). Raises Rejected."""
    ca, now_ms = existing(settings), wall_clock_ms()
    _need_device(device)
    try:
        chain = x509.load_pem_x509_certificates(_bytes(chain_path))
    except ValueError as error:
        raise SecurityError(f"expected certificates in {chain_path}, got none; nothing was enrolled") from error
    trust = TrustWatch(ca.trust_path, ca.lists_path, wall_clock_ms)()
    trust.verify_device([c.public_bytes(Encoding.DER) for c in chain], device, now_ms)
    facts = {"serial": f"{chain[0].serial_number:x}", "by": chain[0].issuer.rfc4514_string()[:200]}
    told = AuditEvent(now_ms, me(), "device.enrolled", device, facts)
    authority.take_in(ca, chain[0], now_ms=now_ms, told=told)
    return _enrolled(settings, device, chain[0], chain_path)


def renew(settings: Settings, device: str, grace: timedelta) -> Enrolment:
    """A device whose key is here: it asks by a signed request, as any other, and takes the answer."""
    ca, now_ms, home = existing(settings), wall_clock_ms(), settings.device(device)
    asking, key = DeviceIdentity.load(home, device), certificates.new_key()
    request = renewal.make_renewal(asking, key, now_ms)
    found, chain = renewal.grant(ca, request, now_ms=now_ms, who=me(), grace=grace)
    path = identity.store(DeviceIdentity, device, home, key, chain, ca.root).chain_path
    return _enrolled(settings, device, chain[0], path, found.old)


def renew_by_request(settings: Settings, request: Path, out: Path | None, grace: timedelta) -> Enrolment:
    """The same for a request that a device sent."""
    ca, now_ms = existing(settings), wall_clock_ms()
    found, chain = renewal.grant(ca, _bytes(request), now_ms=now_ms, who=me(), grace=grace)
    path = _write_chain(out or settings.device(found.device), found.device, chain, ca)
    return _enrolled(settings, found.device, chain[0], path, found.old)


def renew_issuer(settings: Settings, root_key: Path | None, *, fresh_key: bool = False) -> Authority:
    """The intermediate for three more years: the one thing that wants the root's key."""
    ca = existing(settings)
    path = root_key or ca.directory / listing.ROOT_KEY
    made = authority.renew_issuer(ca, path, now_ms=wall_clock_ms(), fresh_key=fresh_key)
    return _told(made, "intermediate replaced" if fresh_key else "intermediate renewed")


def revoke(settings: Settings, what: str, why: Why) -> list[Issued]:
    """All certificates of a device, or the one of a serial number (or how it begins), are good no longer."""
    ca = existing(settings)
    _take_in_stored(settings, ca, what)
    with ca.index() as index:
        found = _meant(index, what)
    fresh = [one for one in found if one.revoked_ms is None]
    if not fresh:
        when = f"{datetime.fromtimestamp((found[0].revoked_ms or 0) / 1000, UTC):%F %R}Z"
        raise SecurityError(
            f"expected a certificate of {what!r} in force, got what was revoked {when}; nothing was done"
        )
    if any(one.role == "issuer" for one in fresh):
        raise SecurityError(
            "expected a leaf's serial number, got an intermediate's; nothing was done: 'everbeat pki renew --issuer "
            "--fresh-key --root-key FILE' revokes it and makes another"
        )
    authority.revoke(ca, fresh, why, now_ms=wall_clock_ms(), who=me())
    with ca.index() as index:
        return [one for one in map(index.find, (one.serial for one in fresh)) if one is not None]


def listed(settings: Settings) -> tuple[Authority, list[Issued], str]:
    """The CA, every certificate that it knows, and what is wrong with its lists ("" = nothing)."""
    ca = existing(settings)
    with ca.index() as index:
        rows = [one for one in index.all() if one.role != "issuer"]
    return ca, rows, TrustWatch(ca.trust_path, ca.lists_path, wall_clock_ms)().doubt


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

    if not _has_ca(settings.ca):
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
            return len(waiting)
    return 0


# ------------------------------------------------------------------------------------------------- small parts


def _has_ca(directory: Path) -> bool:
    names = (authority.ISSUER_KEY, listing.ROOT_KEY, authority.OLD_KEY)
    return any((directory / name).exists() for name in names)


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


def _need_device(device: str) -> None:
    if not is_device_id(device):
        raise SecurityError(f"expected a device id of 1 to 64 letters, digits, . _ -, got {device!r:.80}; nothing done")


def _in_force(ca: Authority, device: str, now_ms: int) -> list[Issued]:
    with ca.index() as index:
        return [one for one in index.of("device", device) if one.revoked_ms is None and one.ends_ms > now_ms]


def _meant(index: Index, what: str) -> list[Issued]:
    """What an officer names. Raises SecurityError where it is nothing, or more than one serial number."""
    if found := index.of("device", what):
        return found
    digits = what.lower().replace(":", "").removeprefix("0x")
    alike = [one for one in index.all() if len(digits) >= _LEAST_PREFIX and f"{one.serial:x}".startswith(digits)]
    if len(alike) != 1:
        raise SecurityError(
            f"expected a device or the serial number of one certificate, got {what!r:.80}, which fits {len(alike)}; "
            f"nothing was revoked (everbeat pki list)"
        )
    return alike


def _take_in_stored(settings: Settings, ca: Authority, device: str) -> None:
    """A device that was enrolled before there was an index: its certificate lies in its directory."""
    path = settings.device(device) / f"{device}.pem" if is_device_id(device) else None
    if path is not None and path.exists():
        authority.take_in(ca, x509.load_pem_x509_certificates(_bytes(path))[0], now_ms=wall_clock_ms())


def _write_chain(home: Path, device: str, chain: Sequence[x509.Certificate], ca: Authority) -> Path:
    files.private_dir(home)
    path = home / f"{device}.pem"
    authority.publish(path, chain)
    authority.publish(home / authority.ROOT_FILE, [ca.root, *ca.chain])
    return path


def _enrolled(
    settings: Settings, device: str, leaf: x509.Certificate, path: Path, before: x509.Certificate | None = None
) -> Enrolment:
    from device.cloud import pin_local

    if settings.local_hub:
        ders = [None if c is None else c.public_bytes(Encoding.DER) for c in (leaf, before)]
        pin_local(settings.hub, device, ders[0] or b"", ders[1])
    return Enrolment(device, leaf, path, settings.local_hub)


def _bytes(path: Path) -> bytes:
    """A small file. Raises SecurityError where it is missing or none."""
    try:
        with path.open("rb") as file:
            data = file.read(files.MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SecurityError(f"expected a file at {path}, got {error.strerror}; nothing was done") from error
    if len(data) > files.MAX_FILE_BYTES:
        raise SecurityError(f"expected at most {files.MAX_FILE_BYTES} bytes in {path}, got more; nothing was done")
    return data


def _day(one: Issued) -> str:
    return f"{datetime.fromtimestamp(one.ends_ms / 1000, UTC):%F}"

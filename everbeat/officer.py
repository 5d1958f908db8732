"""What a security officer does to certificates: enrol a device, renew, revoke, look.

Each act is one function: settings in, what came of it out. What is done to the CA itself, and how the audit log is
told, is in :mod:`everbeat.house_ca`. What is heavy to import waits until it is needed: a revocation shall not wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from everbeat.house_ca import existing, me
from everbeat.settings import Settings
from security import authority, certificates, files, identity, issuing, renewal
from security.audit import AuditEvent
from security.authority import Authority
from security.crl import Why
from security.errors import SecurityError
from security.identity import DeviceIdentity, Role, is_device_id, wall_clock_ms
from security.index import Index, Issued
from security.revocation import TrustWatch

_LEAST_PREFIX = 6  # hexadecimal digits of a serial number


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A device's new certificate, and where its chain lies."""

    device: str
    certificate: x509.Certificate
    chain_path: Path
    at_hub: bool  # whether the local hub knows it; Azure is told by other means


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
        chain = issuing.issue(ca, Role.DEVICE, device, (), key.public_key(), now_ms=now_ms, who=me())
        path = identity.store(DeviceIdentity, device, home, key, chain, ca.root).chain_path
    else:
        chain = issuing.enrol(ca, device, _bytes(csr), now_ms=now_ms, who=me())
        path = _write_chain(home, device, chain, ca)
    if before:
        issuing.revoke(ca, before, Why.SUPERSEDED, now_ms=now_ms, who=me())
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
    issuing.take_in(ca, chain[0], now_ms=now_ms, told=told)
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
    issuing.revoke(ca, fresh, why, now_ms=wall_clock_ms(), who=me())
    with ca.index() as index:
        return [one for one in map(index.find, (one.serial for one in fresh)) if one is not None]


def listed(settings: Settings) -> tuple[Authority, list[Issued], str]:
    """The CA, every certificate that it knows, and what is wrong with its lists ("" = nothing)."""
    ca = existing(settings)
    with ca.index() as index:
        rows = [one for one in index.all() if one.role != "issuer"]
    return ca, rows, TrustWatch(ca.trust_path, ca.lists_path, wall_clock_ms)().doubt


# ------------------------------------------------------------------------------------------------- small parts


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
        issuing.take_in(ca, x509.load_pem_x509_certificates(_bytes(path))[0], now_ms=wall_clock_ms())


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

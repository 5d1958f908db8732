"""Who is who: the identities that a certificate authority issues, and where they lie.

The authority (``security.authority``) signs three kinds of certificates (:class:`~security.roles.Role`): devices,
engines, servers. Each lives 30 days and is issued again on start when fewer than 10 are left (`ensure_*`), but never
to a device whose certificate was revoked: only an officer enrols it anew. Private keys are files of mode 0600
(``security.files``); a key and its chain share one file, so a crash never leaves a key with another's certificate. A
real device makes its own key and sends a request (``security.requests``). What stands in a certificate is in
``security.certificates``, verifying in ``security.trust``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, Self, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from security import certificates, files, founding, issuing
from security.authority import ROOT_FILE, Authority, is_there, publish
from security.errors import SecurityError
from security.roles import Role, is_device_id, proves
from security.trust import Trust

__all__ = [
    "Authority", "DeviceIdentity", "EngineIdentity", "Identity", "Role", "ServerIdentity", "Trust", "create_ca",
    "ensure_device", "ensure_engine", "ensure_server", "is_device_id", "issue_device", "issue_engine", "issue_server",
    "load_ca", "load_or_create_ca", "store", "wall_clock_ms",
]  # fmt: skip

RENEW_BEFORE = timedelta(days=10)
_RESERVED = frozenset({"root", "ca", "issuer", "trust", "crl", "imported"})  # names of the authority's own files


def wall_clock_ms() -> int:
    """UTC, ms since 1970: the default clock where a caller gives none."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Identity:
    """A name, its key and its chain (DER, leaf first, root left out), and where they lie as PEM. Always of one role.

    `key_path` holds the key and the chain, mode 0600; `chain_path` a public copy of the chain; `root_path` the root.
    """

    role: ClassVar[Role]
    name: str
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    chain_der: tuple[bytes, ...] = field(repr=False)
    key_path: Path
    chain_path: Path
    root_path: Path
    trust: Trust = field(repr=False)

    @classmethod
    def load(cls, directory: Path, name: str) -> Self:
        """The identity stored under `name`. Raises KeyFileError or SecurityError where it can't be used safely."""
        paths = _paths(directory, name)
        key, chain = certificates.read_pem(paths[0])
        if not proves(chain[0], cls.role, name):
            raise SecurityError(
                f"expected the {cls.role.word} {name} in {paths[0]}, got somebody else's key; it was not used "
                f"(one directory for each role)"
            )
        trust = Trust.load(paths[2]).knowing(chain[1:])
        return cls(name, key, tuple(c.public_bytes(Encoding.DER) for c in chain), *paths, trust)

    @property
    def certificate(self) -> x509.Certificate:
        """The leaf."""
        return x509.load_der_x509_certificate(self.chain_der[0])


@dataclass(frozen=True, slots=True)
class DeviceIdentity(Identity):
    """A device: signs open records and logs in at the hub."""

    role = Role.DEVICE

    @property
    def device_id(self) -> str:
        """The id that its certificate proves: CN for Azure IoT Hub, and a URI for ours."""
        return self.name


@dataclass(frozen=True, slots=True)
class EngineIdentity(Identity):
    """An engine: signs the recipient keys that devices seal to."""

    role = Role.ENGINE


@dataclass(frozen=True, slots=True)
class ServerIdentity(Identity):
    """A TLS server: the hub's MQTT, AMQP and HTTPS, the web room."""

    role = Role.SERVER


AnyIdentity = TypeVar("AnyIdentity", DeviceIdentity, EngineIdentity, ServerIdentity)


def create_ca(directory: Path, *, now_ms: int | None = None) -> Authority:
    """A new root and intermediate in `directory` (0700). Raises SecurityError where a CA is already: it is kept."""
    return founding.create_ca(directory, now_ms=_now(now_ms))


def load_ca(directory: Path, *, now_ms: int | None = None) -> Authority:
    """The CA in `directory`. Raises KeyFileError where it is missing or others could read its key."""
    return founding.load_ca(directory, now_ms=_now(now_ms))


def load_or_create_ca(directory: Path, *, now_ms: int | None = None) -> Authority:
    """The CA in `directory`, made on the first call. Of two processes at once both get the same."""
    if not is_there(directory):
        try:
            return create_ca(directory, now_ms=now_ms)
        except files.KeyFileError:
            raise
        except SecurityError:
            pass  # another process was first
    return load_ca(directory, now_ms=now_ms)


def issue_device(ca: Authority, device_id: str, directory: Path, *, now_ms: int | None = None) -> DeviceIdentity:
    """A new key and certificate for `device_id` (CN and URI), stored in `directory`, in force for 30 days."""
    return _issue(DeviceIdentity, ca, device_id, directory, (), now_ms)


def issue_engine(ca: Authority, directory: Path, *, name: str = "engine", now_ms: int | None = None) -> EngineIdentity:
    """A new key and certificate that signs recipients, and is good for nothing else."""
    return _issue(EngineIdentity, ca, name, directory, (), now_ms)


def issue_server(
    ca: Authority, name: str, hosts: Sequence[str], directory: Path, *, now_ms: int | None = None
) -> ServerIdentity:
    """A new key and certificate for a TLS server reached under `hosts` (DNS names or IP addresses)."""
    return _issue(ServerIdentity, ca, name, directory, tuple(hosts), now_ms)


def ensure_device(ca: Authority, device_id: str, directory: Path, *, now_ms: int | None = None) -> DeviceIdentity:
    """The stored identity while it is good for 10 more days, else a new one."""
    kept = _kept(DeviceIdentity, ca, device_id, directory, (), now_ms)
    return kept or issue_device(ca, device_id, directory, now_ms=now_ms)


def ensure_engine(ca: Authority, directory: Path, *, name: str = "engine", now_ms: int | None = None) -> EngineIdentity:
    """The stored identity while it is good for 10 more days, else a new one."""
    kept = _kept(EngineIdentity, ca, name, directory, (), now_ms)
    return kept or issue_engine(ca, directory, name=name, now_ms=now_ms)


def ensure_server(
    ca: Authority, name: str, hosts: Sequence[str], directory: Path, *, now_ms: int | None = None
) -> ServerIdentity:
    """The stored identity while it is good for 10 more days and covers `hosts`, else a new one."""
    kept = _kept(ServerIdentity, ca, name, directory, tuple(hosts), now_ms)
    return kept or issue_server(ca, name, hosts, directory, now_ms=now_ms)


def _issue(
    kind: type[AnyIdentity], ca: Authority, name: str, directory: Path, hosts: tuple[str, ...], now_ms: int | None
) -> AnyIdentity:
    paths, key = _paths(files.private_dir(directory), name), certificates.new_key()
    if kind.role is Role.DEVICE:
        _need_unbarred(ca, name)
    before = kind.load(directory, name).certificate if paths[0].exists() and paths[2].exists() else None
    public_key = key.public_key()
    chain = issuing.issue(ca, kind.role, name, hosts, public_key, now_ms=_now(now_ms), replaces=before)
    return store(kind, name, directory, key, chain, ca.root)


def store(
    kind: type[AnyIdentity], name: str, directory: Path, key: ec.EllipticCurvePrivateKey,
    chain: Sequence[x509.Certificate], root: x509.Certificate,
) -> AnyIdentity:  # fmt: skip
    """Put an identity on disk: the key and its chain together, then their public copy."""
    paths = _paths(files.private_dir(directory), name)
    files.write_public(paths[2], root.public_bytes(Encoding.PEM))
    files.write_private(paths[0], certificates.to_pem(key, chain))
    publish(paths[1], chain)
    return kind.load(directory, name)


def _kept(
    kind: type[AnyIdentity], ca: Authority, name: str, directory: Path, hosts: tuple[str, ...], now_ms: int | None
) -> AnyIdentity | None:
    """The stored identity, or None where it is missing, of another CA, about to expire, or lacks a host.

    A device whose certificate was revoked keeps it, and is refused everywhere. An unsafe key file is an error, not a
    reason to quietly make a new one.
    """
    if not _paths(directory, name)[0].exists() or not _paths(directory, name)[2].exists():
        return None
    found = kind.load(directory, name)
    leaf = found.certificate
    issuing.take_in(ca, leaf, now_ms=_now(now_ms))
    is_revoked = _is_barred(ca, kind.role, name)
    if is_revoked and kind.role is Role.DEVICE:
        return found
    young = leaf.not_valid_after_utc - _time(now_ms) >= RENEW_BEFORE
    if is_revoked or not young or found.trust.roots != (ca.root,) or leaf.issuer != ca.certificate.subject:
        return None
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if not set(certificates.host_names(hosts)) <= set(names):
        return None
    publish(found.chain_path, [x509.load_der_x509_certificate(der) for der in found.chain_der])
    return found


def _is_barred(ca: Authority, role: Role, name: str) -> bool:
    with ca.index() as index:
        return index.is_barred(role.word, name)


def _need_unbarred(ca: Authority, device_id: str) -> None:
    if _is_barred(ca, Role.DEVICE, device_id):
        raise SecurityError(
            f"expected {device_id} to be enrolled, got one whose certificate was revoked; no certificate was issued: "
            f"an officer may enrol it anew (everbeat pki enrol {device_id})"
        )


def _paths(directory: Path, name: str) -> tuple[Path, Path, Path]:
    if not is_device_id(name) or name.lower() in _RESERVED:
        expected = f"a name of 1 to 64 letters, digits, . _ - other than {', '.join(sorted(_RESERVED))}"
        raise SecurityError(f"expected {expected}, got {name!r:.80}; no key was touched")
    return directory / f"{name}.key", directory / f"{name}.pem", directory / ROOT_FILE


def _now(now_ms: int | None) -> int:
    return wall_clock_ms() if now_ms is None else now_ms


def _time(now_ms: int | None) -> datetime:
    return datetime.fromtimestamp(_now(now_ms) / 1000, UTC)

"""Whom we believe: checks a certificate chain against our roots, a role, an identity, a time and a revocation list.

The chain itself is checked by ``cryptography.x509.verification``; that verifier knows nothing of revocation, so serials
of revoked certificates are checked here (``security.revocation`` reads them from signed lists). Cheap checks come
first; every doubt is a :class:`~security.errors.Rejected` with the cause as its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

from security import files
from security.errors import Reason, Rejected, SecurityError
from security.roles import Role, common_name, key_id, proves, uris, usages

MAX_CHAIN = 2  # a leaf and at most one intermediate; roots are ours already
MAX_CERTIFICATE_BYTES = 2048


@dataclass(frozen=True, slots=True)
class Trust:
    """Our roots, and the serial numbers of certificates that are no longer good.

    `intermediates` are known to us and prove nothing by themselves: they fill in where a chain comes without its own.
    `doubt` is one sentence on why not everybody can be believed anew at present (a revocation list that is expired or
    not signed), or "". `unsure`: ids of the keys of the issuers whom it concerns; None = all of them.
    """

    roots: tuple[x509.Certificate, ...]
    revoked: frozenset[int] = frozenset()
    intermediates: tuple[x509.Certificate, ...] = ()
    doubt: str = ""
    unsure: frozenset[bytes] | None = None

    def __post_init__(self) -> None:
        if not self.roots:
            raise SecurityError("expected a root to trust, got none; nobody could be believed")

    @classmethod
    def load(cls, path: Path, revoked: frozenset[int] = frozenset()) -> Trust:
        """From a PEM file: what is signed by itself is a root, the rest intermediates.

        Raises SecurityError where it holds no root, or others could have written it.
        """
        try:
            found = x509.load_pem_x509_certificates(files.read_trusted(path))
        except ValueError as error:
            raise SecurityError(f"expected certificates in {path}, got none; nobody could be believed") from error
        roots = tuple(c for c in found if c.issuer == c.subject)
        return cls(roots, revoked, tuple(c for c in found if c not in roots))

    def knowing(self, intermediates: Sequence[x509.Certificate]) -> Trust:
        """The same trust, with more certificates to fill in chains."""
        new = tuple(c for c in intermediates if c not in self.intermediates and c not in self.roots)
        return replace(self, intermediates=self.intermediates + new)

    def serials(self, chain_der: Sequence[bytes]) -> frozenset[int]:
        """The serial numbers on which a verified chain may rest: the leaf's, and every issuer's that goes by its name.

        A few too many where an issuer was renewed: whoever is revoked by one of them was signed by the same key.
        """
        leaf, *rest = _parse(chain_der)
        known = [c for c in (*rest, *self.intermediates) if c.subject == leaf.issuer]
        return frozenset(c.serial_number for c in (leaf, *known))

    def verify_device(
        self, chain_der: Sequence[bytes], expected_device_id: str, now_ms: int
    ) -> ec.EllipticCurvePublicKey:
        """The public key of the device `expected_device_id`, or Rejected. `chain_der` is leaf first, root left out."""
        return self.verify(chain_der, Role.DEVICE, expected_device_id, now_ms)

    def verify_engine(self, chain_der: Sequence[bytes], now_ms: int) -> ec.EllipticCurvePublicKey:
        """The public key of one of our engines, or Rejected. No device's or server's certificate passes."""
        return self.verify(chain_der, Role.ENGINE, None, now_ms)

    def verify(
        self, chain_der: Sequence[bytes], role: Role, name: str | None, now_ms: int
    ) -> ec.EllipticCurvePublicKey:
        """The public key of `name` in `role`, or Rejected; without a name whoever the certificate names."""
        leaf, *rest = _parse(chain_der)
        now = datetime.fromtimestamp(now_ms / 1000, UTC)
        if leaf.issuer == leaf.subject:
            got = f"a self-signed one of {common_name(leaf)!r:.80}"
            raise _refused(Reason.SELF_SIGNED, "a certificate of our CA", got)
        _need_time(leaf, now)
        _need_usage(leaf, role)
        _need_identity(leaf, role, common_name(leaf) if name is None else name)
        key = _public_key(leaf)
        if self.doubt and self.unsure is None:
            raise _refused(Reason.UNSURE, "to know which certificates are revoked", self.doubt)
        chain = self._chain(leaf, rest, role, now)
        if self.doubt and self._rests_on_unsure(leaf, [*rest, *chain[1:]]):
            raise _refused(Reason.UNSURE, "to know which certificates are revoked", self.doubt)
        if any(c.serial_number in self.revoked for c in (leaf, *rest, *chain)):
            raise _refused(Reason.REVOKED, "a certificate in force", f"a revoked one of {common_name(leaf)!r:.80}")
        return key

    def _chain(
        self, leaf: x509.Certificate, rest: list[x509.Certificate], role: Role, now: datetime
    ) -> list[x509.Certificate]:
        ee = ExtensionPolicy.webpki_defaults_ee().require_present(
            x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _usage_validator(role)
        )
        policy = PolicyBuilder().store(Store(list(self.roots))).time(now).max_chain_depth(MAX_CHAIN - 1)
        policy = policy.extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=ee)
        try:
            return policy.build_client_verifier().verify(leaf, self._helpers(rest)).chain
        except VerificationError as error:
            raise _refused(
                Reason.UNTRUSTED, f"a certificate of our CA for the role {role.word}", str(error)[:120]
            ) from error

    def _rests_on_unsure(self, leaf: x509.Certificate, rest: list[x509.Certificate]) -> bool:
        """Whether any of its issuers, by whatever certificate, is one whose list can't be believed."""
        issuers = [c for c in (*rest, *self.intermediates, *self.roots) if c.subject == leaf.issuer]
        above = {c.issuer for c in issuers}
        issuers += [c for c in (*rest, *self.roots) if c.subject in above]
        return any(key_id(c) in (self.unsure or ()) for c in issuers)

    def _helpers(self, rest: list[x509.Certificate]) -> list[x509.Certificate]:
        return rest + [c for c in self.intermediates if c not in rest]


def _parse(chain_der: Sequence[bytes]) -> list[x509.Certificate]:
    if not 1 <= len(chain_der) <= MAX_CHAIN or any(len(der) > MAX_CERTIFICATE_BYTES for der in chain_der):
        sizes = [len(der) for der in chain_der[: MAX_CHAIN + 1]]
        raise _refused(
            Reason.MALFORMED, f"1 to {MAX_CHAIN} certificates of at most {MAX_CERTIFICATE_BYTES} B", f"{sizes}"
        )
    return [parse_certificate(der) for der in chain_der]


def parse_certificate(der: bytes) -> x509.Certificate:
    """The certificate with every part that the library parses lazily parsed here, so that nothing fails later.

    Raises Rejected.
    """
    try:
        found = x509.load_der_x509_certificate(der)
        found.public_key()
        _ = (found.issuer, found.subject, found.extensions, found.not_valid_before_utc, found.not_valid_after_utc)
    except UnsupportedAlgorithm as error:
        raise _refused(Reason.WRONG_KEY, "a P-256 key", str(error)[:80]) from error
    except (ValueError, TypeError, x509.InvalidVersion, x509.UnsupportedGeneralNameType, x509.DuplicateExtension) as e:
        raise _refused(Reason.MALFORMED, "X.509 certificates in DER", str(e)[:80]) from e
    return found


def _need_time(leaf: x509.Certificate, now: datetime) -> None:
    if now > leaf.not_valid_after_utc:
        raise _refused(Reason.EXPIRED, "a certificate in force", f"one that ended {leaf.not_valid_after_utc}")
    if now < leaf.not_valid_before_utc:
        raise _refused(Reason.NOT_YET_VALID, "a certificate in force", f"one from {leaf.not_valid_before_utc}")


def _need_usage(leaf: x509.Certificate, role: Role) -> None:
    found = usages(leaf)
    others = {r.value for r in Role} - {role.value}
    if role.value not in found or found & others:
        raise _refused(
            Reason.WRONG_USAGE,
            f"a certificate for the role {role.word} alone",
            f"one for {sorted(u.dotted_string for u in found)}",
        )


def _need_identity(leaf: x509.Certificate, role: Role, name: str) -> None:
    if not proves(leaf, role, name):
        got = f"that of {common_name(leaf)!r:.80} with the names {str(uris(leaf))[:120]}"
        raise _refused(Reason.WRONG_IDENTITY, f"the certificate of {name!r:.80}", got)


def _public_key(leaf: x509.Certificate) -> ec.EllipticCurvePublicKey:
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _refused(Reason.WRONG_KEY, "a P-256 key", type(key).__name__)
    return key


def _usage_validator(role: Role) -> Callable[[Policy, x509.Certificate, x509.ExtendedKeyUsage], None]:
    def validate(_policy: Policy, _certificate: x509.Certificate, usage: x509.ExtendedKeyUsage) -> None:
        if role.value not in usage:
            raise ValueError(f"expected the usage of the role {role.word}")

    return validate


def _refused(reason: Reason, expected: str, got: str) -> Rejected:
    return Rejected(reason, expected, got, "the certificate proves nothing and was refused")

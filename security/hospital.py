"""A hospital's own CA: its root becomes a root of ours, and everything that would not work later is said now.

Two ways. With its intermediate's key, that intermediate signs all certificates here (:func:`import_issuer`). Without,
devices bring certificates that the hospital made by our naming profile, and our own CA serves hub and engines
(:func:`import_trust`). Either way its lists of revoked certificates must be brought, and brought again before they end.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from security import authority, certificates, files, founding, issuing, listing
from security.authority import Authority
from security.certificates import IssuerKey
from security.crl import MAX_LISTS_BYTES, read_lists
from security.errors import Rejected, SecurityError
from security.revocation import judge_lists
from security.roles import Role
from security.trust import MAX_CERTIFICATE_BYTES, Trust

_NOTHING = "nothing was imported"
_TRIAL, _TRIAL_HOSTS = "trial", ("localhost", "127.0.0.2")


def import_issuer(directory: Path, root: Path, issuer: Path, key: Path, lists: Path, *, now_ms: int) -> Authority:
    """A CA in `directory` whose leaves are signed by the hospital's intermediate. `lists` holds its root's list.

    Raises SecurityError where a part does not fit, or a CA is there already.
    """
    files.private_dir(directory)
    top, own, secret = _one(root), _one(issuer), _key(key)
    _need_root(top, now_ms)
    _need_intermediate(own, [top], now_ms)
    if secret.public_key() != own.public_key():
        raise _unfit(f"the key of {_name(own)}", "another key")
    _need_lists(_read(lists), [top], now_ms)
    _try_out(top, own, secret, now_ms)
    if authority.is_there(directory):
        raise _unfit(f"no CA in {directory}", "one, which was kept (--replace puts it aside)")
    files.write_public(directory / authority.ROOT_LIST, _pem(_read(lists), [top]))
    if not files.create_private(directory / authority.ISSUER_KEY, certificates.to_pem(secret, [own, top])):
        raise _unfit(f"no CA in {directory}", "one, which was kept")
    made = founding.load_ca(directory, now_ms=now_ms)
    issuing.take_in(made, own, now_ms=now_ms)
    return made


def import_trust(ca: Authority, root: Path, issuers: Sequence[Path], lists: Path, *, now_ms: int) -> Authority:
    """`ca`, which from now on also believes devices of the hospital's CA. `lists` has one of each issuer of it."""
    top, below = _one(root), [_one(path) for path in issuers]
    _need_root(top, now_ms)
    for one in below:
        _need_intermediate(one, [top], now_ms)
    data = _read(lists)
    _need_lists(data, [top, *below], now_ms)
    path = ca.directory / authority.IMPORTED
    known = x509.load_pem_x509_certificates(files.read_trusted(path)) if path.exists() else []
    everybody = [*known, *(c for c in (top, *below) if c not in known)]
    _write_lists(ca, data, everybody)
    authority.publish(path, everybody)
    return _signed(ca, now_ms)


def import_lists(ca: Authority, lists: Path, *, now_ms: int) -> list[str]:
    """Newer lists of CAs that are known already. The names of those that signed them."""
    data = _read(lists)
    trust = Trust.load(ca.trust_path)
    names = {c.issuer for c in read_lists(data)}
    issuers = [c for c in (*trust.roots, *trust.intermediates) if c.subject in names]
    if not issuers or len({c.subject for c in issuers}) < len(names):
        raise _unfit("lists of CAs that are believed here", f"{len(names)} issuers, {len(issuers)} of them known")
    if any(c == ca.certificate for c in issuers):
        raise _unfit("lists of other CAs", "one of the intermediate that signs here, which writes its own")
    before = judge_lists(_read(ca.lists_path), issuers, _time(now_ms))
    found = judge_lists(data, issuers, _time(now_ms), before)
    if found.doubt:
        raise SecurityError(found.doubt)
    if ca.root in issuers:
        files.write_public(ca.directory / authority.ROOT_LIST, _pem(data, [ca.root]))
    _write_lists(ca, data, [c for c in issuers if c != ca.root])
    _signed(ca, now_ms)
    return sorted(_name(c) for c in issuers)


def _signed(ca: Authority, now_ms: int) -> Authority:
    listing.sign_lists(ca, now_ms=now_ms)
    return founding.load_ca(ca.directory, now_ms=now_ms)


def _write_lists(ca: Authority, data: bytes, issuers: Sequence[x509.Certificate]) -> None:
    """The hospital's lists: new ones take the place of those of the same issuer."""
    path = ca.directory / authority.IMPORTED_LIST
    old = read_lists(_read(path)) if path.exists() else []
    new = [c for c in read_lists(data) if c.issuer in {i.subject for i in issuers}]
    kept = [c for c in old if c.issuer not in {n.issuer for n in new}]
    files.write_public(path, b"".join(c.public_bytes(Encoding.PEM) for c in (*kept, *new)))


def _need_root(root: x509.Certificate, now_ms: int) -> None:
    if root.issuer != root.subject or not _signed_by(root, root):
        raise _unfit("a root, signed by itself", f"{_name(root)}, signed by another")
    _need_ca(root, now_ms, 1)


def _need_intermediate(own: x509.Certificate, above: Sequence[x509.Certificate], now_ms: int) -> None:
    if not any(_signed_by(own, root) for root in above):
        raise _unfit("an intermediate that the root signed (chains hold one)", f"{_name(own)}, signed by another")
    _need_ca(own, now_ms, 0)
    size = len(own.public_bytes(Encoding.DER))
    if size > MAX_CERTIFICATE_BYTES:
        raise _unfit(f"an intermediate of at most {MAX_CERTIFICATE_BYTES} bytes", f"{size}; boards send it each hour")


def _need_ca(found: x509.Certificate, now_ms: int, below: int) -> None:
    """`below`: how many CAs may stand under it."""
    now = _time(now_ms)
    if not found.not_valid_before_utc <= now < found.not_valid_after_utc:
        got = f"{_name(found)}, good from {found.not_valid_before_utc:%F} to {found.not_valid_after_utc:%F}"
        raise _unfit("a CA in force", got)
    try:
        limits = found.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = found.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as error:
        raise _unfit("a CA with basic constraints and a key usage", f"{_name(found)} without") from error
    short = limits.path_length is not None and limits.path_length < below
    if not limits.ca or short or not (usage.key_cert_sign and usage.crl_sign):
        expected = f"a CA that may sign certificates and lists, with {below} below it (path length)"
        raise _unfit(expected, f"{_name(found)}, which may not")


def _need_lists(data: bytes, issuers: Sequence[x509.Certificate], now_ms: int) -> None:
    found = judge_lists(data, issuers, _time(now_ms))
    if found.doubt:
        raise SecurityError(f"{found.doubt}: {_NOTHING}")


def _try_out(root: x509.Certificate, own: x509.Certificate, key: IssuerKey, now_ms: int) -> None:
    """A leaf in each role, signed and judged in memory: name constraints and usages show here, and not in the ward."""
    trust, now = Trust((root,), intermediates=(own,)), _time(now_ms)
    for role in (Role.DEVICE, Role.ENGINE, Role.SERVER):
        hosts = _TRIAL_HOSTS if role is Role.SERVER else ()
        leaf = certificates.create_leaf(own, key, role, _TRIAL, hosts, now, certificates.new_key().public_key())
        try:
            trust.verify([leaf.public_bytes(Encoding.DER)], role, _TRIAL, now_ms)
        except Rejected as error:
            raise _unfit(f"a CA whose {role.word} certificates can be verified", error.got) from error


def _signed_by(child: x509.Certificate, parent: x509.Certificate) -> bool:
    try:
        child.verify_directly_issued_by(parent)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _one(path: Path) -> x509.Certificate:
    try:
        found = x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise _unfit(f"a certificate in PEM in {path}", str(error)[:60]) from error
    if len(found) != 1:
        raise _unfit(f"one certificate in {path}", f"{len(found)}")
    return found[0]


def _key(path: Path) -> IssuerKey:
    try:
        key = load_pem_private_key(files.read_private(path), None)
    except TypeError as error:
        raise _unfit(f"a key without a password in {path} (openssl pkey -in ...)", "one under a password") from error
    except ValueError as error:
        raise _unfit(f"a private key in PEM in {path}", str(error)[:60]) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise _unfit("a key on a NIST curve or an RSA key", type(key).__name__)
    return key


def _pem(data: bytes, issuers: Sequence[x509.Certificate]) -> bytes:
    """Those lists in `data` that one of `issuers` signed."""
    names = {issuer.subject for issuer in issuers}
    return b"".join(c.public_bytes(Encoding.PEM) for c in read_lists(data) if c.issuer in names)


def _read(path: Path) -> bytes:
    return files.read_trusted(path, MAX_LISTS_BYTES)


def _name(found: x509.Certificate) -> str:
    return f"{found.subject.rfc4514_string()!r:.80}"


def _unfit(expected: str, got: str) -> SecurityError:
    return SecurityError(f"expected {expected}, got {got}; {_NOTHING}")


def _time(now_ms: int) -> datetime:
    return datetime.fromtimestamp(now_ms / 1000, UTC)

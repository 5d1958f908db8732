"""How an authority comes to be: made, read from its directory, and given a new intermediate."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from security import certificates, files
from security.authority import IMPORTED, ISSUER_KEY, OLD_KEY, ROOT_KEY, Authority, publish
from security.certificates import KeyAndCertificate
from security.crl import Why
from security.errors import SecurityError
from security.listing import read_optional, refresh_lists, sign_lists, time_of, write_root_list


def create_ca(directory: Path, *, now_ms: int) -> Authority:
    """A new root and intermediate in `directory` (0700). Raises SecurityError where a CA is already: it is kept."""
    files.private_dir(directory)
    if (directory / OLD_KEY).exists() or (directory / ISSUER_KEY).exists():
        raise _there(directory)
    key, root = certificates.create_root(time_of(now_ms))
    if not files.create_private(directory / ROOT_KEY, certificates.to_pem(key, [root])):
        raise _there(directory)
    return load_ca(directory, now_ms=now_ms)


def load_ca(directory: Path, *, now_ms: int) -> Authority:
    """The CA in `directory`. Raises KeyFileError where it is missing or others could read its key."""
    if not (directory / ISSUER_KEY).exists():
        if (directory / OLD_KEY).exists():
            key, chain = certificates.read_issuer(directory / OLD_KEY)
            return _published(Authority(chain[0], chain[0], key, directory), now_ms)
        if (directory / ROOT_KEY).exists():  # a crash, or another process, came between the two keys
            _create_issuer(directory, now_ms)
    key, chain = certificates.read_issuer(directory / ISSUER_KEY)
    return _published(Authority(chain[-1], chain[0], key, directory), now_ms)


def _create_issuer(directory: Path, now_ms: int) -> None:
    root_key, (root, *_) = certificates.read_issuer(directory / ROOT_KEY)
    key, certificate = certificates.create_intermediate(root, root_key, time_of(now_ms))
    files.create_private(directory / ISSUER_KEY, certificates.to_pem(key, [certificate, root]))


def _published(ca: Authority, now_ms: int) -> Authority:
    """The public files as they must be. A list that is missing, spoilt or old is signed anew."""
    brought = read_optional(ca.directory / IMPORTED)
    imported = x509.load_pem_x509_certificates(brought) if brought else []
    publish(ca.root_path, [ca.root])
    publish(ca.trust_path, [ca.root, *ca.chain, *(c for c in imported if c not in (ca.root, *ca.chain))])
    refresh_lists(ca, now_ms=now_ms)
    return ca


def renew_issuer(ca: Authority, root_key_path: Path, *, now_ms: int, fresh_key: bool = False) -> Authority:
    """A new certificate for the intermediate. Its key and name stay, so that all chains stay good.

    With `fresh_key` it is another intermediate, and the old one is revoked: every certificate has to be issued anew.
    """
    root_key, (root, *_) = certificates.read_issuer(root_key_path)
    if root != ca.root or not ca.chain:
        raise SecurityError(f"expected the key of {ca.root_path} in {root_key_path}, got another; nothing was renewed")
    old: KeyAndCertificate | None = None
    if not fresh_key and isinstance(ca.key, ec.EllipticCurvePrivateKey):
        old = (ca.key, ca.certificate)
    key, certificate = certificates.create_intermediate(root, root_key, time_of(now_ms), old)
    with ca.index() as index:
        if fresh_key:
            mine = [i.serial for i in index.all() if i.role == "issuer"]
            index.revoke(dict.fromkeys(mine), Why.CA_COMPROMISE, now_ms)
        index.add(certificate, now_ms)
        write_root_list(ca.directory, root, root_key, index, certificate.not_valid_after_utc, now_ms)
    files.write_private(ca.directory / ISSUER_KEY, certificates.to_pem(key, [certificate, root]))
    found = load_ca(ca.directory, now_ms=now_ms)
    sign_lists(found, now_ms=now_ms)
    return found


def _there(directory: Path) -> SecurityError:
    return SecurityError(f"expected no CA in {directory}, got one; it was kept, load it instead")

"""What stands in our certificates, and how a key and its chain lie in a PEM file. Knows no directories or renewal.

Profile: P-256 and SHA-256; a root for 10 years that signs intermediates only (path length 1); an intermediate for 3
years that signs leaves only (path length 0); leaves for 30 days with one extended key usage, the name as CN (Azure IoT
Hub compares it with the device id) and as a URI, a server's hosts beside it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from security import files
from security.errors import SecurityError
from security.roles import Role

ROOT_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=30)
INTERMEDIATE_LIFE = timedelta(days=3 * 365)
CLOCK_SKEW = timedelta(hours=1)  # a device's clock may lag behind the CA's
_ROOT_NAME = "Everbeat root"
IssuerKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey  # RSA: of a hospital's CA only; ours are P-256
KeyAndCertificate = tuple[ec.EllipticCurvePrivateKey, x509.Certificate]


def create_root(now: datetime) -> KeyAndCertificate:
    """A new root. Its name carries a random number, so that two CAs on one machine can be told apart."""
    key, serial = ec.generate_private_key(ec.SECP256R1()), x509.random_serial_number()
    name = _name(f"{_ROOT_NAME} {serial % 16**8:08x}")
    return key, _sign_ca(_builder(name, name, key.public_key(), key, serial, now, now + ROOT_LIFE), 1, key)


def create_intermediate(
    root: x509.Certificate, root_key: IssuerKey, now: datetime, old: KeyAndCertificate | None = None
) -> KeyAndCertificate:
    """What signs leaves. With `old` its key and name stay, so that chains with the old certificate stay good."""
    key = ec.generate_private_key(ec.SECP256R1()) if old is None else old[0]
    serial = x509.random_serial_number()
    number = serial % 16**8
    name = _name(f"Everbeat issuer {number:08x}") if old is None else old[1].subject
    end = min(now + INTERMEDIATE_LIFE, root.not_valid_after_utc)
    return key, _sign_ca(_builder(name, root.subject, key.public_key(), root_key, serial, now, end), 0, root_key)


def create_leaf(
    issuer: x509.Certificate, issuer_key: IssuerKey, role: Role, name: str, hosts: Sequence[str], now: datetime,
    public_key: ec.EllipticCurvePublicKey,
) -> x509.Certificate:  # fmt: skip
    """A certificate for `name` in one role; `hosts` are a server's DNS names and IP addresses. Ends with its issuer."""
    end = min(now + LEAF_LIFE, issuer.not_valid_after_utc)
    serial = x509.random_serial_number()
    builder = _builder(_name(name), issuer.subject, public_key, issuer_key, serial, now, end)
    names = [*host_names(hosts), x509.UniformResourceIdentifier(role.uri(name))]
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([role.value]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def new_key() -> ec.EllipticCurvePrivateKey:
    """A P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def host_names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    """Hosts as they stand in a certificate."""
    return [_host_name(host) for host in hosts]


def to_pem(key: IssuerKey, chain: Sequence[x509.Certificate]) -> bytes:
    """The key and its chain as one file, so that they are replaced together."""
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret + b"".join(c.public_bytes(Encoding.PEM) for c in chain)


def read_pem(path: Path) -> tuple[ec.EllipticCurvePrivateKey, list[x509.Certificate]]:
    """The inverse of :func:`to_pem`. Raises KeyFileError or SecurityError where the file can't be used safely."""
    key, chain = read_issuer(path)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SecurityError(f"expected a P-256 key with its own certificate in {path}, got another; it was not used")
    return key, chain


def read_issuer(path: Path) -> tuple[IssuerKey, list[x509.Certificate]]:
    """The same for what signs certificates, which may be a hospital's RSA key."""
    data = files.read_private(path)
    try:
        key, chain = load_pem_private_key(data, None), x509.load_pem_x509_certificates(data)
    except (ValueError, TypeError) as error:  # TypeError: the key is under a password
        raise SecurityError(f"expected a key and its certificate in {path}, got neither; it was not used") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) or chain[0].public_key() != key.public_key():
        raise SecurityError(f"expected a P-256 key with its own certificate in {path}, got another; it was not used")
    return key, chain


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, issuer_key: IssuerKey, serial: int,
    now: datetime, end: datetime,
) -> x509.CertificateBuilder:  # fmt: skip
    return (
        x509.CertificateBuilder(issuer, subject, public_key, serial)
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )


def _sign_ca(builder: x509.CertificateBuilder, path_length: int, key: IssuerKey) -> x509.Certificate:
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    return builder.add_extension(_key_usage(ca=True), critical=True).sign(key, hashes.SHA256())


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=ca, crl_sign=ca, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)

"""What stands in our certificates, and how a key and its chain lie in a PEM file. Knows no directories or renewal.

Profile: P-256 and SHA-256; a root for 10 years that signs leaves only; leaves for 30 days with one extended key
usage, the name as CN (Azure IoT Hub compares it with the device id) and as a URI, a server's hosts beside it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from security import files
from security.errors import SecurityError
from security.trust import Role

ROOT_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=30)
CLOCK_SKEW = timedelta(hours=1)  # a device's clock may lag behind the CA's
KeyAndCertificate = tuple[ec.EllipticCurvePrivateKey, x509.Certificate]


def create_root(now: datetime) -> KeyAndCertificate:
    """A new root. Its name carries a random number, so that two CAs on one machine can be told apart."""
    key, serial = ec.generate_private_key(ec.SECP256R1()), x509.random_serial_number()
    name = _name(f"Everbeat demo CA {serial % 16**8:08x}")
    builder = _builder(name, name, key, key, serial, now, ROOT_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return key, builder.add_extension(_key_usage(ca=True), critical=True).sign(key, hashes.SHA256())


def create_leaf(
    root: x509.Certificate, root_key: ec.EllipticCurvePrivateKey, role: Role, name: str, hosts: Sequence[str],
    now: datetime,
) -> KeyAndCertificate:  # fmt: skip
    """A new key and its certificate for `name` in one role; `hosts` are a server's DNS names and IP addresses."""
    key, serial = ec.generate_private_key(ec.SECP256R1()), x509.random_serial_number()
    builder = _builder(_name(name), root.subject, key, root_key, serial, now, LEAF_LIFE)
    names = [*host_names(hosts), x509.UniformResourceIdentifier(role.uri(name))]
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([role.value]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    return key, certificate


def host_names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    """Hosts as they stand in a certificate."""
    return [_host_name(host) for host in hosts]


def to_pem(key: ec.EllipticCurvePrivateKey, chain: Sequence[x509.Certificate]) -> bytes:
    """The key and its chain as one file, so that they are replaced together."""
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret + b"".join(c.public_bytes(Encoding.PEM) for c in chain)


def read_pem(path: Path) -> tuple[ec.EllipticCurvePrivateKey, list[x509.Certificate]]:
    """The inverse of :func:`to_pem`. Raises KeyFileError or SecurityError where the file can't be used safely."""
    data = files.read_private(path)
    try:
        key, chain = load_pem_private_key(data, None), x509.load_pem_x509_certificates(data)
    except (ValueError, TypeError) as error:  # TypeError: the key is under a password
        raise SecurityError(f"expected a key and its certificate in {path}, got neither; it was not used") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or chain[0].public_key() != key.public_key():
        raise SecurityError(f"expected a P-256 key with its own certificate in {path}, got another; it was not used")
    return key, chain


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey,
    serial: int, now: datetime, life: timedelta,
) -> x509.CertificateBuilder:  # fmt: skip
    return (
        x509.CertificateBuilder(issuer, subject, key.public_key(), serial)
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )


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

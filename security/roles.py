"""What a certificate says of its holder: the role, the name, the key. Whether it is true, ``security.trust`` knows.

Three roles that never stand in for each other: a device (signs open records, logs in at the hub), an engine (signs
recipient keys), a server (TLS).
"""

from __future__ import annotations

import re
from enum import Enum

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# A subset of what Azure IoT Hub allows (128 characters of letters, digits and - + . % _ # * ? ! ( ) , : = @ $ '):
# only what needs no escaping in a topic, a URL, a file name or our key derivation, and fits a CN (64, X.520).
_DEVICE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)

# Nobody else's: 2.25 is the arc of UUIDs (ITU-T X.667), here of a random one.
ENGINE_USAGE = x509.ObjectIdentifier("2.25.269605908484197801247714836621998848142")


class Role(Enum):
    """What a certificate is good for: its extended key usage, and the URI form of its holder's name."""

    DEVICE = ExtendedKeyUsageOID.CLIENT_AUTH
    ENGINE = ENGINE_USAGE
    SERVER = ExtendedKeyUsageOID.SERVER_AUTH

    @property
    def word(self) -> str:
        """device, engine or server."""
        return self.name.lower()

    def uri(self, name: str) -> str:
        """The subject alternative name of `name` in this role."""
        return f"urn:everbeat:{self.word}:{name}"


def is_device_id(text: object) -> bool:
    """True for 1 to 64 ASCII letters, digits, dots, hyphens and underscores that start with a letter or digit."""
    return isinstance(text, str) and _DEVICE_ID.fullmatch(text) is not None


def key_id(certificate: x509.Certificate) -> bytes:
    """A short name of the certificate's key, whatever certificate it is in."""
    return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest


def common_name(certificate: x509.Certificate) -> str:
    """The subject's only CN, or "" where there is none or more than one."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


def role_of(certificate: x509.Certificate) -> str:
    """device, engine or server; issuer for a CA's; other."""
    try:
        if certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return "issuer"
    except x509.ExtensionNotFound:
        pass
    return next((role.word for role in Role if role.value in usages(certificate)), "other")


def proves(leaf: x509.Certificate, role: Role, name: str) -> bool:
    """True where the certificate is made out to `name` in `role`: CN, URI and usage. Whoever signed it."""
    return (
        is_device_id(name)
        and common_name(leaf) == name
        and uris(leaf) == [role.uri(name)]
        and role.value in usages(leaf)
    )


def usages(leaf: x509.Certificate) -> set[x509.ObjectIdentifier]:
    """Its extended key usages; empty where it names none."""
    try:
        return set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return set()


def uris(leaf: x509.Certificate) -> list[str]:
    """Its subject alternative names that are URIs."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return list(names.get_values_for_type(x509.UniformResourceIdentifier))

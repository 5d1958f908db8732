"""Signing requests: what a device that made its own key sends to the CA (PKCS #10, RFC 2986).

Only the key and the name are taken from a request. What stands in the certificate is the CA's own profile, so that
nobody asks for more than a name: a request with other names than the device's own is refused, not trimmed.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from security.errors import Reason, Rejected
from security.roles import Role, is_device_id

MAX_REQUEST_BYTES = 4096
_NOTHING = "no certificate was issued"
_ODD = (x509.InvalidVersion, x509.UnsupportedGeneralNameType, x509.DuplicateExtension)


def make_csr(key: ec.EllipticCurvePrivateKey, device_id: str) -> bytes:
    """A request for `device_id` as DER, signed by the key that it is for."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device_id)])
    return x509.CertificateSigningRequestBuilder(name).sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def read_csr(data: bytes, device_id: str) -> ec.EllipticCurvePublicKey:
    """The key in a request (PEM or DER) that was made by its holder for `device_id`. Raises Rejected."""
    request = _parse(data)
    names = [str(a.value) for a in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if not is_device_id(device_id) or names != [device_id] or _other_names(request, device_id):
        got = f"one of {names!r:.80} with {_other_names(request, device_id)!r:.80} beside it"
        raise Rejected(Reason.WRONG_IDENTITY, f"a request of the device {device_id!r:.80} alone", got, _NOTHING)
    key = request.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Rejected(Reason.WRONG_KEY, "a P-256 key", type(key).__name__, _NOTHING)
    if not request.is_signature_valid:
        got = "a signature that does not match"
        raise Rejected(Reason.FORGED, "a request signed by its own key", got, _NOTHING)
    return key


def _parse(data: bytes) -> x509.CertificateSigningRequest:
    if len(data) > MAX_REQUEST_BYTES:
        raise _malformed(f"{len(data)} bytes")
    try:
        is_pem = data.lstrip().startswith(b"-----BEGIN")
        found = x509.load_pem_x509_csr(data) if is_pem else x509.load_der_x509_csr(data)
        found.public_key()
        _ = (found.subject, found.extensions, found.is_signature_valid)
    except UnsupportedAlgorithm as error:
        raise Rejected(Reason.WRONG_KEY, "a P-256 key", str(error)[:80], _NOTHING) from error
    except (ValueError, TypeError, InvalidSignature, *_ODD) as error:
        raise _malformed(str(error)[:80] or type(error).__name__) from error
    return found


def _other_names(request: x509.CertificateSigningRequest, device_id: str) -> list[str]:
    """Alternative names that are not the device's own."""
    try:
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    own = x509.UniformResourceIdentifier(Role.DEVICE.uri(device_id))
    return [str(name.value) for name in names if name != own]


def _malformed(got: str) -> Rejected:
    return Rejected(Reason.MALFORMED, f"a signing request of at most {MAX_REQUEST_BYTES} bytes", got, _NOTHING)

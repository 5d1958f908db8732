"""A device's next certificate, asked for and brought over the hub while the present one is still good.

Ten days before its certificate ends the device makes a new key and reports a request (``security.renewal``) in its
twin, every five minutes anew, since a request is good for ten. Whoever keeps the CA (``everbeat registrar``) answers in
the twin's desired properties. The answer proves itself by the CA's signature over the new key, so neither the hub nor
its service key can give a device another name or another key. The new key is in memory until its certificate comes; a
device that was started again meanwhile asks for another one, and an answer to the old question is no answer.
"""

from __future__ import annotations

import base64
import binascii

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from security import certificates, files
from security.authority import publish
from security.errors import Reason, Rejected
from security.identity import RENEW_BEFORE, DeviceIdentity
from security.renewal import check_answer, make_renewal

REQUEST, ANSWER = "renewal", "certificate"  # in the twin, below ``everbeat``: reported, desired
ASK_EVERY_MS = 300_000
_MAX_CHAIN = 4  # certificates of an answer
_PART, _MAX_PARTS = 4000, 4  # letters of a part of a request


class Renewing:
    """One device's wish for a certificate. Writes to disk in :meth:`take` alone."""

    def __init__(self, identity: DeviceIdentity) -> None:
        self._identity = identity
        self._due_ms = int((identity.certificate.not_valid_after_utc - RENEW_BEFORE).timestamp() * 1000)
        self._key: ec.EllipticCurvePrivateKey | None = None
        self._asked_ms = -ASK_EVERY_MS
        self._refused: object = None

    def ask(self, now_ms: int) -> list[str] | None:
        """A request to report now (base64, in parts below the 4 KB of a text in Azure's twins); None: not due."""
        if now_ms < self._due_ms or 0 <= now_ms - self._asked_ms < ASK_EVERY_MS:
            return None
        self._key, self._asked_ms = self._key or certificates.new_key(), now_ms
        text = base64.b64encode(make_renewal(self._identity, self._key, now_ms)).decode()
        return [text[at : at + _PART] for at in range(0, len(text), _PART)]

    def take(self, answer: object, now_ms: int) -> bool:
        """True where `answer` is the certificate that was asked for: it is on disk now, for the next start.

        False where nothing was asked, where it is what the device has or has refused already (a twin keeps old
        answers), or ends no later: the issuer ends, and another start would help nobody. Raises Rejected on anything
        else, KeyFileError or OSError where it can't be stored.
        """
        if self._key is None or answer == self._refused:
            return False
        self._refused = answer
        chain = parse_answer(answer)
        if chain[0] == self._identity.chain_der[0]:
            return False
        found = check_answer(self._identity, self._key, chain, now_ms)
        if found[0].not_valid_after_utc <= self._identity.certificate.not_valid_after_utc:
            return False
        self._refused = None  # it is good: where it can't be stored now, perhaps later
        files.write_private(self._identity.key_path, certificates.to_pem(self._key, found))
        publish(self._identity.chain_path, found)
        self._key, self._due_ms = None, int((found[0].not_valid_after_utc - RENEW_BEFORE).timestamp() * 1000)
        return True


def make_answer(chain: list[x509.Certificate]) -> list[str]:
    """The desired property that answers: each certificate as base64 of its DER, the leaf first."""
    return [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in chain]


def parse_answer(answer: object) -> list[bytes]:
    """The inverse of :func:`make_answer`. Raises Rejected."""
    try:
        if not isinstance(answer, list) or not 1 <= len(answer) <= _MAX_CHAIN:
            raise ValueError(type(answer).__name__)
        return [base64.b64decode(one, validate=True) for one in answer]
    except (TypeError, ValueError, binascii.Error) as error:
        got = f"something else ({str(error)[:60]})"
        raise Rejected(Reason.MALFORMED, "certificates in base64", got, "the old one is used on") from error


def parse_request(reported: object) -> bytes:
    """What :meth:`Renewing.ask` gave, as bytes; empty where nothing is asked. Raises Rejected."""
    if not reported:
        return b""
    try:
        if not isinstance(reported, list) or len(reported) > _MAX_PARTS or any(len(part) > _PART for part in reported):
            raise ValueError(type(reported).__name__)
        return base64.b64decode("".join(reported), validate=True)
    except (TypeError, ValueError) as error:
        got = f"something else ({str(error)[:60]})"
        raise Rejected(Reason.MALFORMED, "a renewal in base64", got, "no certificate was issued") from error

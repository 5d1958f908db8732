"""The certificate authority as it lies in its directory: a root, an intermediate that signs leaves, and what is public.

::

    root.key       the root's; may be moved off the machine: only a renewal of the intermediate wants it
    issuer.key     the intermediate's key and chain
    index.sqlite   what was issued and revoked (security/index.py)
    root.pem, trust.pem, crl.pem
                   for everybody to read: the root; roots and intermediates; the lists of all of them
    root.crl, imported.crl, imported.pem
                   parts of the last two
    ca.key         of an older version: a root that signs leaves itself. It goes on working as it is

How it comes to be is in :mod:`security.founding`, what it signs in :mod:`security.issuing`, its lists of what
is revoked in :mod:`security.listing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from security import files
from security.certificates import IssuerKey
from security.index import Index
from security.trust import Trust

ROOT_FILE, TRUST_FILE, LISTS_FILE = "root.pem", "trust.pem", "crl.pem"
ROOT_KEY, ISSUER_KEY, OLD_KEY = "root.key", "issuer.key", "ca.key"
ROOT_LIST, IMPORTED_LIST, IMPORTED = "root.crl", "imported.crl", "imported.pem"


@dataclass(frozen=True, slots=True)
class Authority:
    """What issues certificates. `certificate` signs leaves; in an old directory it is the root."""

    root: x509.Certificate
    certificate: x509.Certificate
    key: IssuerKey = field(repr=False)
    directory: Path

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """What follows a leaf in its chain: the intermediate."""
        return () if self.certificate == self.root else (self.certificate,)

    @property
    def root_path(self) -> Path:
        """The root as PEM."""
        return self.directory / ROOT_FILE

    @property
    def trust_path(self) -> Path:
        """Everybody who may have signed a certificate that is believed here, as PEM."""
        return self.directory / TRUST_FILE

    @property
    def lists_path(self) -> Path:
        """The lists of what they revoked, as PEM."""
        return self.directory / LISTS_FILE

    @property
    def trust(self) -> Trust:
        """Trust in this authority alone; what is revoked is for :class:`~security.revocation.TrustWatch` to see."""
        return Trust((self.root,), intermediates=self.chain)

    def index(self) -> Index:
        """Its memory."""
        return Index(self.directory)


def is_there(directory: Path) -> bool:
    """Whether a CA lies in `directory`, as much of it as a crash may have left."""
    return any((directory / name).exists() for name in (ISSUER_KEY, ROOT_KEY, OLD_KEY))


def publish(path: Path, chain: Sequence[x509.Certificate]) -> None:
    """Writes a PEM file that anybody may read, where it is not so already."""
    data = b"".join(c.public_bytes(Encoding.PEM) for c in chain)
    if not path.exists() or path.read_bytes() != data:
        files.write_public(path, data)

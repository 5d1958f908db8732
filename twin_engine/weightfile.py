"""The weights on disk: files of named arrays, metadata that names each by its hash, a signature over the metadata.

A folder holds ``metadata.json``, ``metadata.sig`` (``security.signing``: 96 bytes over the metadata's exact bytes) and
safetensors files, each named by an object with ``file`` and ``sha256`` in the metadata. So one believed key vouches for
every number, and nothing is looked at before it is proven: first the signature, then the format, then each file's hash
on the very bytes that are parsed. What the arrays mean is elsewhere (``trained``).

Who is believed by default: the keys in the package (``weights/signers.txt``). A training writes unsigned drafts,
which only the laboratory reads, and signs when all is written; half a training is never taken for a whole one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from security import files, signing
from security.errors import SecurityError

WEIGHTS = Path(__file__).parent / "weights"
SIGNERS = WEIGHTS / "signers.txt"
METADATA, SIGNATURE, SUFFIX = "metadata.json", "metadata.sig", ".safetensors"
FORMAT = 2
Tensors = dict[str, NDArray[Any]]


class ModelError(RuntimeError):
    """The weights are missing, altered, or not of this program; nothing can be synthesised with them."""


def packaged_signers() -> dict[bytes, str]:
    """The keys that the package believes: raw public key -> whose it is. Raises ModelError."""
    try:
        return signing.signers_from_text(SIGNERS.read_text() if SIGNERS.exists() else "", str(SIGNERS))
    except (SecurityError, OSError, ValueError) as error:
        raise ModelError(f"expected a list of signers at {SIGNERS}, got {error}; no weights are used") from error


def check(metadata: bytes, signature: bytes, signers: signing.Signers) -> str:
    """Who signed these exact bytes. Raises ModelError where that is nobody in `signers`, or they were changed."""
    try:
        return signing.check(metadata, signature, signers)
    except SecurityError as error:
        raise ModelError(f"weights: {error}") from error


def read_metadata(folder: Path, signers: signing.Signers | None = None) -> dict[str, Any]:
    """The proven metadata in `folder`; `signers` are believed (the package's where None).

    Raises ModelError where there is none, it is not signed, was changed, was signed by somebody else, or is of
    another format. The files it names are checked as they are read (:func:`read_tensors`).
    """
    data, signature = _bytes(folder / METADATA), _bytes(folder / SIGNATURE)
    check(data, signature, packaged_signers() if signers is None else signers)
    return _parsed(data, folder / METADATA)


def read_draft(folder: Path) -> dict[str, Any]:
    """The metadata in `folder` whoever wrote it: for a training that goes on, never for serving. Raises ModelError."""
    return _parsed(_bytes(folder / METADATA), folder / METADATA)


def write_draft(folder: Path, metadata: Mapping[str, Any]) -> None:
    """Write metadata without a signature; one that was there is taken away first. Files named in it come before."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SIGNATURE).unlink(missing_ok=True)
    text = json.dumps({**metadata, "format": FORMAT}, indent=1, ensure_ascii=False) + "\n"
    files.write_public(folder / METADATA, text.encode())


def sign_draft(folder: Path, key: Ed25519PrivateKey) -> None:
    """Sign what lies in `folder`, after checking that every file named in its metadata is there with its hash."""
    data = _bytes(folder / METADATA)
    for file, sha256 in files_of(_parsed(data, folder / METADATA)).items():
        _proven(folder, file, sha256)
    files.write_public(folder / SIGNATURE, signing.sign(data, key))


def files_of(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Every file that the metadata names -> its SHA-256: each object in it with a ``file`` and a ``sha256``."""
    found: dict[str, str] = {}
    todo: list[Any] = [metadata]
    while todo:
        part = todo.pop()
        if isinstance(part, Mapping):
            if "file" in part and "sha256" in part:
                found[str(part["file"])] = str(part["sha256"])
            todo += part.values()
        elif isinstance(part, list):
            todo += part
    return found


def read_tensors(folder: Path, file: str, sha256: str) -> Tensors:
    """The arrays in `file`, by name. Raises ModelError where its bytes have another hash or are no safetensors."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    data = _proven(folder, file, sha256)
    try:
        return dict(load(data))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"expected safetensors in {folder / file}, got {error}; retrain them") from error


def write_tensors(folder: Path, file: str, tensors: Mapping[str, NDArray[Any]]) -> str:
    """Write arrays (any shape; their types are kept), all or nothing; returns the SHA-256 of the file's bytes."""
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    blob = save({name: np.asarray(tensors[name], order="C") for name in sorted(tensors)})
    files.write_public(folder / _plain(file), blob)
    return hashlib.sha256(blob).hexdigest()


def _proven(folder: Path, file: str, sha256: str) -> bytes:
    path = folder / _plain(file)
    data = _bytes(path)
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise ModelError(f"expected SHA-256 {sha256} of {path}, got {digest}; the weights are not used")
    return data


def _plain(file: str) -> str:
    """A name without folders: what is signed lies beside its metadata."""
    if Path(file).name != file or not file.endswith(SUFFIX):
        raise ModelError(f"expected the name of a {SUFFIX} file, got {file!r:.80}; it is not touched")
    return file


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"expected {path}, got {error.strerror}; no weights are used, run `everbeat train`") from error


def _parsed(data: bytes, path: Path) -> dict[str, Any]:
    try:
        metadata = json.loads(data)
    except ValueError as error:
        raise ModelError(f"expected model metadata at {path}, got {error}; run `everbeat train`") from error
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise ModelError(f"expected model metadata of format {FORMAT} at {path}, got another; run `everbeat train`")
    return metadata

"""The one byte form of everything we sign, MAC or persist: deterministic CBOR (RFC 8949 section 4.2).

Decoding is strict: only integers, byte and text strings, arrays, maps, booleans and null; no tags, no indefinite
lengths, no duplicate keys, no trailing bytes, and the bytes must be exactly those that encoding would give. So
one value has one form, and hostile input reaches no tag decoder (regular expressions, cycles, big decimals).
"""

from __future__ import annotations

from typing import Any, NoReturn

import cbor2

from security.errors import Reason, Rejected

_MAX_DEPTH = 4


class _RefuseTags(dict[int, Any]):
    """Stands in for every semantic decoder that cbor2 knows."""

    def __missing__(self, tag: int) -> Any:
        return _refuse_tag


def _refuse_tag(*_: object) -> NoReturn:
    raise ValueError("a tag")


def encode(value: object) -> bytes:
    """Deterministic CBOR of `value`."""
    return bytes(cbor2.dumps(value, canonical=True))


def decode(data: bytes, what: str) -> Any:
    """The value in `data`. Raises Rejected("malformed") on any other bytes than :func:`encode` gives.

    The caller bounds the length of `data` first. `what` names it in the message ("an open record").
    """
    try:
        value = cbor2.loads(
            data,
            semantic_decoders=_RefuseTags(),
            max_depth=_MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
        if encode(value) == data:
            return value
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise _malformed(what, str(error)[:80]) from error
    raise _malformed(what, "another encoding of it")


def _malformed(what: str, got: str) -> Rejected:
    return Rejected(Reason.MALFORMED, f"{what} in deterministic CBOR", got, "it was refused")

"""AMQP 1.0 types (OASIS standard of 29 October 2012, part 1): values to bytes and back. Pure.

Python's own types stand for AMQP's where they fit: None, bool, bytes (binary), str (string), int (long), float
(double), list, dict, UUID. The others are marked by a class. Decoding is bounded by the bytes given: it goes no
deeper than _MAX_DEPTH, makes nothing larger than its input, and raises DecodeError on anything else.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from typing import Final

from device.hub.settings import HubError

_MAX_DEPTH = 16
_MAX_ITEMS = 4096


class DecodeError(HubError):
    """Bytes that are no AMQP 1.0 value."""


class Symbol(str):
    """ASCII from a constrained domain, section 1.6.21."""


class Ubyte(int):
    """Section 1.6.3."""


class Ushort(int):
    """Section 1.6.4."""


class Uint(int):
    """Section 1.6.5."""


class Ulong(int):
    """Section 1.6.6."""


class Int(int):
    """Section 1.6.9."""


class Timestamp(int):
    """Ms since 1970 UTC, section 1.6.17."""


class Strings(list[str]):
    """An array of strings, or of symbols, section 1.6.24."""


class Described:
    """A value with the descriptor that says what it is, section 1.1.2."""

    __slots__ = ("descriptor", "value")

    def __init__(self, descriptor: object, value: object) -> None:
        self.descriptor, self.value = descriptor, value


# ------------------------------------------------------------------------------------------------- encoding


def encode(value: object) -> bytes:
    """The value's bytes. Raises TypeError on a type that is not AMQP's."""
    if value is None:
        return b"\x40"
    for kind, encoder in _ENCODERS:
        if isinstance(value, kind):
            return encoder(value)
    raise TypeError(f"expected an AMQP value, got {type(value).__name__}; nothing was sent")


def _fixed(code: int, form: str) -> Callable[[object], bytes]:
    packer = struct.Struct(f"!B{form}")
    return lambda value: packer.pack(code, value)


def _variable(short: int, long: int, data: bytes) -> bytes:
    if len(data) < 256:
        return struct.pack("!BB", short, len(data)) + data
    return struct.pack("!BI", long, len(data)) + data


def _ulong(value: object) -> bytes:
    assert isinstance(value, int)  # noqa: S101
    return struct.pack("!BB", 0x53, value) if 0 <= value < 256 else struct.pack("!BQ", 0x80, value)


def _binary(value: object) -> bytes:
    assert isinstance(value, bytes)  # noqa: S101
    return _variable(0xA0, 0xB0, value)


def _uuid(value: object) -> bytes:
    assert isinstance(value, uuid.UUID)  # noqa: S101
    return b"\x98" + value.bytes


def _list(value: object) -> bytes:
    assert isinstance(value, list)  # noqa: S101
    body = b"".join(map(encode, value))
    return struct.pack("!BII", 0xD0, len(body) + 4, len(value)) + body


def _map(value: object) -> bytes:
    assert isinstance(value, dict)  # noqa: S101
    body = b"".join(encode(k) + encode(v) for k, v in value.items())
    return struct.pack("!BII", 0xD1, len(body) + 4, 2 * len(value)) + body


def _array(value: object) -> bytes:
    assert isinstance(value, Strings)  # noqa: S101
    code = 0xB3 if value and isinstance(value[0], Symbol) else 0xB1
    texts = [text.encode() for text in value]
    body = b"".join(struct.pack("!I", len(text)) + text for text in texts)
    return struct.pack("!BIIB", 0xF0, len(body) + 5, len(value), code) + body


def _described(value: object) -> bytes:
    assert isinstance(value, Described)  # noqa: S101
    return b"\x00" + encode(value.descriptor) + encode(value.value)


# A subclass before its base
_ENCODERS: Final[tuple[tuple[type, Callable[[object], bytes]], ...]] = (
    (bool, lambda v: b"\x41" if v else b"\x42"),
    (Described, _described),
    (Ubyte, _fixed(0x50, "B")),
    (Ushort, _fixed(0x60, "H")),
    (Uint, _fixed(0x70, "I")),
    (Ulong, _ulong),
    (Int, _fixed(0x71, "i")),
    (Timestamp, _fixed(0x83, "q")),
    (int, _fixed(0x81, "q")),
    (float, _fixed(0x82, "d")),
    (Symbol, lambda v: _variable(0xA3, 0xB3, str(v).encode("ascii"))),
    (str, lambda v: _variable(0xA1, 0xB1, str(v).encode())),
    (bytes, _binary),
    (uuid.UUID, _uuid),
    (Strings, _array),
    (list, _list),
    (dict, _map),
)


# ------------------------------------------------------------------------------------------------- decoding

_CONSTANTS: Final[dict[int, object]] = {0x40: None, 0x41: True, 0x42: False, 0x43: 0, 0x44: 0}
_FIXED: Final = {
    code: struct.Struct(f"!{form}")
    for code, form in {
        0x50: "B", 0x51: "b", 0x52: "B", 0x53: "B", 0x54: "b", 0x55: "b", 0x56: "?", 0x60: "H", 0x61: "h",
        0x70: "I", 0x71: "i", 0x72: "f", 0x80: "Q", 0x81: "q", 0x82: "d", 0x83: "q",
    }.items()
}  # fmt: skip
_OPAQUE: Final = {0x73: 4, 0x74: 4, 0x84: 8, 0x94: 16}  # char and decimals: stepped over, read as bytes
_SHORT, _LONG = struct.Struct("!B"), struct.Struct("!I")


def decode(data: bytes, at: int = 0) -> tuple[object, int]:
    """The value that starts at `at`, and where the next one starts. Raises DecodeError."""
    try:
        return _decode(data, at, None, 0)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise DecodeError(f"expected an AMQP value, got bytes that do not decode ({error}); refused") from error


def _decode(data: bytes, at: int, code: int | None, depth: int) -> tuple[object, int]:
    if depth > _MAX_DEPTH:
        raise DecodeError(f"expected at most {_MAX_DEPTH} levels, got more; refused")
    if code is None:
        code, at = data[at], at + 1
    if code == 0x00:
        descriptor, at = _decode(data, at, None, depth + 1)
        value, at = _decode(data, at, None, depth + 1)
        return Described(descriptor, value), at
    if code in _CONSTANTS:
        return _CONSTANTS[code], at
    if code == 0x45:
        return [], at
    if (fixed := _FIXED.get(code)) is not None:
        return fixed.unpack_from(data, at)[0], at + fixed.size
    if code == 0x98:
        return uuid.UUID(bytes=_slice(data, at, 16)), at + 16
    if code in _OPAQUE:
        return _slice(data, at, _OPAQUE[code]), at + _OPAQUE[code]
    return _decode_sized(data, at, code, depth)


def _decode_sized(data: bytes, at: int, code: int, depth: int) -> tuple[object, int]:
    """Binary, text, list, map, array: section 1.2.2 to 1.2.4. The upper half of the code tells the size's width."""
    family, width = code & 0xE0, _LONG if code & 0x10 else _SHORT
    if code not in (0xA0, 0xA1, 0xA3, 0xB0, 0xB1, 0xB3, 0xC0, 0xC1, 0xD0, 0xD1, 0xE0, 0xF0):
        raise DecodeError(f"expected a known type, got code {code:#x}; refused")
    size, start = width.unpack_from(data, at)[0], at + width.size
    body = _slice(data, start, size)
    if family == 0xA0:
        kind = code & 0x0F
        text: object = body if kind == 0 else body.decode() if kind == 1 else Symbol(body.decode("ascii"))
        return text, start + size
    count, inner = width.unpack_from(body)[0], width.size
    if count > min(len(body), _MAX_ITEMS):
        raise DecodeError(f"expected at most {min(len(body), _MAX_ITEMS)} items, got {count}; refused")
    element = body[inner] if family == 0xE0 and count else None
    inner += element is not None
    items = list[object]()
    for _ in range(count):
        item, inner = _decode(body, inner, element, depth + 1)
        items.append(item)
    return (_pairs(items) if code in (0xC1, 0xD1) else items), start + size


def _pairs(items: list[object]) -> dict[object, object]:
    if len(items) % 2:
        raise DecodeError(f"expected pairs in a map, got {len(items)} items; refused")
    try:
        return dict(zip(items[::2], items[1::2], strict=True))
    except TypeError as error:
        raise DecodeError("expected plain keys in a map, got a list or map; refused") from error


def _slice(data: bytes, at: int, size: int) -> bytes:
    part = data[at : at + size]
    if len(part) != size:
        raise DecodeError(f"expected {size} bytes more, got {len(part)}; refused")
    return part

"""The envelope's header: ``ver(1) | flags(1) | sid(8) | seq(4)``, then ciphertext and tag; big-endian.

The header is the associated data of the seal, so none of its bits can be changed. Reading it proves nothing.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from security.errors import Reason, Rejected

VERSION = 1
SID_BYTES = 8
MAX_EPOCH = MAX_TIME_MS = 2**52  # exact in JSON, and what a twin of Azure IoT Hub may hold
MAX_ENVELOPE_BYTES = 256 * 1024  # what Azure IoT Hub takes at once
_HEADER = struct.Struct(">BB8sI")
HEADER_BYTES = _HEADER.size  # 14
_BACKFILL, _OPEN = 1, 2  # flags; the other bits must be 0
_KNOWN_FLAGS = _BACKFILL | _OPEN


class Lane(IntEnum):
    """Which of a device's two streams. Backfill is never treated as the present."""

    LIVE = 0
    BACKFILL = 1


_LANES = tuple(Lane)  # by number


class Header(NamedTuple):
    """The first 14 bytes of an envelope or open record."""

    version: int
    lane: Lane
    is_open: bool
    sid: bytes
    seq: int

    def pack(self) -> bytes:
        """The 14 bytes."""
        flags = (_BACKFILL if self.lane is Lane.BACKFILL else 0) | (_OPEN if self.is_open else 0)
        return _HEADER.pack(self.version, flags, self.sid, self.seq)


def parse_header(data: bytes) -> Header:
    """The header in front of `data`. Raises Rejected("malformed") on what cannot be an envelope of version 1."""
    if not HEADER_BYTES < len(data) <= MAX_ENVELOPE_BYTES:
        raise malformed(f"an envelope of {HEADER_BYTES + 1} to {MAX_ENVELOPE_BYTES} bytes", f"{len(data)} bytes")
    version, flags, sid, seq = _HEADER.unpack_from(data)
    if version != VERSION or flags & ~_KNOWN_FLAGS:
        raise malformed(f"envelope version {VERSION}", f"version {version} with flags {flags:#04x}")
    return Header(version, _LANES[flags & _BACKFILL], bool(flags & _OPEN), sid, seq)


def malformed(expected: str, got: str) -> Rejected:
    """The refusal of bytes that are not of our form."""
    return Rejected(Reason.MALFORMED, expected, got, "the message was refused and changed nothing")

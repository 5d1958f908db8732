"""Receipts: the engine's word to a device that messages are proven and on disk, MACed under the session's own key.

Cumulative: a newer receipt says all that an older one said, so losing or repeating one does no harm, and a device
frees only what a receipt names.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from security import canonical
from security.errors import Reason, Rejected, SecurityError
from security.wire import MAX_TIME_MS, SID_BYTES

MAX_MESSAGES = 2**20  # of a session; no receipt names a later one
MAX_EXTRA = 32  # ranges in a receipt; a desired property stays small (Azure: 32 KiB a twin)
_MAC_BYTES = 32
_DOMAIN = b"everbeat/1 receipt|"
Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """Every message <= `upto` (-1: none) and of the inclusive ranges `extra` beyond it is stored."""

    sid: bytes
    lane: int
    upto: int
    extra: Ranges
    t_ms: int  # the engine's clock

    def covers(self, seq: int) -> bool:
        """True where message `seq` is stored."""
        return seq <= self.upto or any(first <= seq <= last for first, last in self.extra)

    @property
    def newest(self) -> int:
        """The highest sequence number that it names; -1 where none."""
        return self.extra[-1][1] if self.extra else self.upto


def make_receipt(receipt: Receipt, key: bytes) -> dict[str, object]:
    """JSON-able and MACed. More than MAX_EXTRA ranges are cut: a receipt may say less than the truth, never more."""
    cut = Receipt(receipt.sid, int(receipt.lane), receipt.upto, receipt.extra[:MAX_EXTRA], receipt.t_ms)
    if not _plausible(cut):
        raise SecurityError(f"expected increasing, separate ranges beyond upto, got {cut}; no receipt was made")
    return {
        "sid": cut.sid.hex(),
        "lane": cut.lane,
        "upto": cut.upto,
        "extra": [list(pair) for pair in cut.extra],
        "t_ms": cut.t_ms,
        "mac": _mac(cut, key).hex(),
    }


def check_receipt(data: object, sid: bytes, lane: int, key: bytes) -> Receipt:
    """The receipt in `data`. Raises Rejected unless it is the engine's word on this very session."""
    receipt, mac = _parse(data)
    if receipt.sid != sid or receipt.lane != lane:
        raise _refused(Reason.UNKNOWN_SESSION, f"a receipt for session {sid.hex()}", f"one for {receipt.sid.hex()}")
    if not hmac.compare_digest(mac, _mac(receipt, key)):
        raise _refused(Reason.FORGED, "a receipt made by the engine", "one with a wrong MAC")
    return receipt


def _parse(data: object) -> tuple[Receipt, bytes]:
    try:
        if not isinstance(data, Mapping):
            raise TypeError(type(data).__name__)
        sid, mac, extra = data["sid"], data["mac"], data["extra"]
        if not isinstance(extra, (list, tuple)) or len(extra) > MAX_EXTRA:  # an empty text is a sequence too
            raise ValueError(f"at most {MAX_EXTRA} ranges")
        if len(sid) != 2 * SID_BYTES or len(mac) != 2 * _MAC_BYTES:
            raise ValueError("a sid and a MAC in hex")
        ranges = tuple((first, last) for first, last in extra)
        receipt = Receipt(bytes.fromhex(sid), data["lane"], data["upto"], ranges, data["t_ms"])
        mac_bytes = bytes.fromhex(mac)
    except (KeyError, TypeError, ValueError) as error:
        raise _refused(Reason.MALFORMED, "a receipt", f"something else ({str(error)[:60]})") from error
    if not _plausible(receipt):
        raise _refused(Reason.MALFORMED, "increasing, separate ranges beyond upto", "others")
    return receipt, mac_bytes


def _plausible(r: Receipt) -> bool:
    if not all(type(n) is int for n in (r.lane, r.upto, r.t_ms, *(n for pair in r.extra for n in pair))):
        return False
    before = r.upto
    for first, last in r.extra:
        if not before + 1 < first <= last:
            return False
        before = last
    named = len(r.sid) == SID_BYTES and r.lane in (0, 1)
    return named and r.upto >= -1 and before < MAX_MESSAGES and 0 <= r.t_ms < MAX_TIME_MS


def _mac(r: Receipt, key: bytes) -> bytes:
    fields = [r.sid, r.lane, r.upto, [list(pair) for pair in r.extra], r.t_ms]
    return hmac.digest(key, _DOMAIN + canonical.encode(fields), "sha256")


def _refused(reason: Reason, expected: str, got: str) -> Rejected:
    return Rejected(reason, expected, got, "nothing was freed from the spool")

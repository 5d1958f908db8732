"""What to send next on one lane, and when again: bookkeeping without I/O or clock.

Envelopes go out in the order in which they were sealed. One that has no receipt `resend_s` after it was sent goes out
again, byte for byte, then after twice that time, and so on; after a reconnection all without a receipt do. A session's
open record goes before its first envelope, and again whenever an envelope is sent again and the session has never had
a receipt, or still has none for it after `LAST_TRIES` journeys (an engine that lost its memory needs it).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

LAST_TRIES = 3
MAX_PATIENCE = 16  # an engine that is away for long is asked ever more rarely, down to once in this many `resend_s`


@dataclass(slots=True)
class Journeys:
    """Which envelopes of a lane are under way. Times are seconds of any steady clock."""

    resend_s: float
    cursor: int = 0  # the newest envelope sent in this round
    introduced: set[bytes] = field(default_factory=set)  # sessions whose open record went out in this round
    receipted: set[bytes] = field(default_factory=set)  # sessions that ever had a receipt, in this boot
    _sent: dict[int, tuple[float, int]] = field(default_factory=dict)  # id -> (when, times); oldest first

    def restart(self) -> None:
        """After a reconnection: everything without a receipt is to be sent again."""
        self.cursor = 0
        self.introduced.clear()
        self._sent.clear()

    def overdue(self, now_s: float) -> int | None:
        """An envelope that was sent long enough ago without a receipt, or None."""
        for envelope_id, (sent_s, times) in self._sent.items():
            return envelope_id if now_s >= self._due_s(sent_s, times) else None
        return None

    def wait_s(self, now_s: float) -> float:
        """How long until the next one is overdue."""
        for sent_s, times in self._sent.values():
            return max(0.0, self._due_s(sent_s, times) - now_s)
        return self.resend_s

    def _due_s(self, sent_s: float, times: int) -> float:
        return sent_s + self.resend_s * min(1 << (times - 1), MAX_PATIENCE)

    def needs_introduction(self, envelope_id: int, sid: bytes) -> bool:
        """True where the session's open record goes before this envelope."""
        _, times = self._sent.get(envelope_id, (0.0, 0))
        if times and (sid not in self.receipted or times % LAST_TRIES == 0):
            return True
        return sid not in self.introduced and (sid not in self.receipted or times > 0)

    def sent(self, envelope_id: int, sid: bytes, now_s: float) -> None:
        """The hub has taken it."""
        _, times = self._sent.pop(envelope_id, (0.0, 0))
        self._sent[envelope_id] = (now_s, times + 1)
        self.introduced.add(sid)
        self.cursor = max(self.cursor, envelope_id)

    def gone(self, envelope_ids: Iterable[int]) -> None:
        """They are receipted, or dropped."""
        for envelope_id in envelope_ids:
            self._sent.pop(envelope_id, None)

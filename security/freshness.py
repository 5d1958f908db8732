"""How old a session may be: when it may be opened, which frames it may hold, and until when they may come.

All times are ms since 1970. A device's own clock says when it opened a session and when it closed a frame; the hub's
clock says when a message came. The device's clock may be wrong by a day (a board whose battery died), so it is only
compared with itself, or with much room. Rules, and why they refuse nothing honest:

1. A session is opened at most 14 days ago and at most a day ahead: a recipient key lives a week, and what was sealed to
   it may wait in a spool for another.
2. A frame is closed within an hour (and a minute) of its session's opening, both by the device's clock, in both lanes:
   a device rotates after an hour, and a frame sealed earlier and sent later still bears the time of its sealing.
3. A session ends when no frame of it can come any more: an hour and 14 days after it was opened, by the hub's clock.
   Then its keys are forgotten; its name is kept for good, so that its open record opens nothing again.
4. A boot speaks before the next one: a session of a lower epoch that was opened more than an hour after one of a higher
   epoch is a copy's, or a counter's that was set back. Late is no fault: a spool brings earlier boots after later ones,
   with their own times. Should a clock that ran ahead be set right, the earlier boot's sessions are refused until the
   later boot's have passed them, and kept in the spool meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable

from security.errors import Reason, Rejected
from security.session import ROTATE_AFTER_MS

DAY_MS = 24 * 3600 * 1000
LATE_MS = 14 * DAY_MS
AHEAD_MS = DAY_MS
SLACK_MS = 60_000  # a frame bears the time of its newest reading, which may be a moment after its closing
OVERTAKE_MS = ROTATE_AFTER_MS
_OPENED, _READ = "no session was opened and its messages will not be read", "no value on any screen comes from it"


def check_opened(created_ms: int, now_ms: int) -> None:
    """Rule 1. Raises Rejected("too-old") or ("ahead")."""
    if created_ms < now_ms - LATE_MS:
        got = f"one of {(now_ms - created_ms) / DAY_MS:.1f} days ago"
        raise Rejected(Reason.TOO_OLD, f"a session opened within {LATE_MS // DAY_MS} days", got, _OPENED)
    if created_ms > now_ms + AHEAD_MS:
        got = f"one opened {(created_ms - now_ms) / DAY_MS:.1f} days ahead"
        raise Rejected(Reason.AHEAD, "a session opened before now; set the device's clock right", got, _OPENED)


def check_frame(opened_ms: int, closed_ms: int) -> None:
    """Rule 2. Raises Rejected("spent")."""
    if closed_ms > opened_ms + ROTATE_AFTER_MS + SLACK_MS:
        got = f"one of {(closed_ms - opened_ms) / 60_000:.0f} min after its opening"
        raise Rejected(Reason.SPENT, "a frame of the hour after its session was opened", got, _READ)


def ends_ms(opened_ms: int) -> int:
    """Rule 3: by the hub's clock."""
    return opened_ms + ROTATE_AFTER_MS + LATE_MS


def check_arrival(opened_ms: int, now_ms: int) -> None:
    """Rule 3. Raises Rejected("spent")."""
    if now_ms > ends_ms(opened_ms):
        got = f"one {(now_ms - ends_ms(opened_ms)) / DAY_MS:.1f} days after it"
        raise Rejected(Reason.SPENT, "a message before its session's end", got, _READ)


def check_boot(epoch: int, created_ms: int, known: Iterable[tuple[int, int]]) -> None:
    """Rule 4; `known`: (epoch, opened) of the device's other sessions. Raises Rejected("rolled-back")."""
    later = max((opened_ms for other, opened_ms in known if other > epoch), default=created_ms)
    if created_ms > later + OVERTAKE_MS:
        got = f"one of boot {epoch}, opened {(created_ms - later) / 60_000:.0f} min after all of the next boot"
        raise Rejected(Reason.ROLLED_BACK, "boots that follow each other", got, _OPENED)

"""Which commands a device believes: proven, of a session that it has open, each number once and in order, not late.

Nobody's clock is asked. The engine names the last message of the session that it had proven; the device knows by its
own uptime when it sealed the one after it. So a command that was held back is found out, whoever held it back, and
however wrong a clock is. Memory: two sessions a lane, a few numbers for each, and what was sealed in the last minutes.
Called from the one thread that seals (``device/lanes.py``). See ADR 0019.
"""

from __future__ import annotations

import hmac
from collections import deque
from dataclasses import dataclass, field

from device.commands import MAX_INTERVAL_S
from security.commands import DESIRED, Command, named_session
from security.envelope import Sealer
from security.errors import Reason, Rejected

MAX_LIFE_MS = 60_000  # however long the engine says
QUIET_MS = 10_000 + round(1000 * MAX_INTERVAL_S)  # a device that can seal has sealed again after this
KEPT_SESSIONS = 2  # of a lane: an hourly change of session may cross a command
_KEPT_SEALS = 8192
_STATUS: dict[str, int] = {Reason.REPLAYED: 409, Reason.STALE: 410, Reason.UNKNOWN_SESSION: 410}  # any other: 401
Said = dict[str, object]


class NotBelieved(Exception):
    """A command was refused and changed nothing: the status and what is answered."""

    def __init__(self, status: int, said: Said, cause: Rejected) -> None:
        super().__init__(str(cause))
        self.status, self.said, self.reason = status, said, cause.reason


@dataclass(slots=True)
class _Session:
    """What is known of the commands of one session."""

    sealer: Sealer
    highest: dict[str, int] = field(default_factory=dict)  # of methods under "", of each setting under its name
    last: tuple[bytes, int, Said] | None = None  # the last method's MAC, and what it came to


@dataclass(frozen=True, slots=True)
class Heard:
    """A command that is believed, to be carried out now."""

    command: Command
    payload: Said
    session: _Session

    def answer(self, status: int, payload: Said) -> Said:
        """What the device says to it, with its proof; kept, should the same command come again."""
        if self.command.kind != DESIRED:
            self.session.last = (self.command.mac, status, payload)
        return self.session.sealer.make_answer(self.command, status, payload)


class Orders:
    """The device's memory of its sessions and their commands. One boot."""

    def __init__(self) -> None:
        self._sessions: dict[bytes, _Session] = {}  # in the order in which they were opened
        self._seals = deque[tuple[int, bytes, int]](maxlen=_KEPT_SEALS)  # uptime in ms, session, number

    def opened(self, sealer: Sealer, uptime_ms: int) -> None:
        """A new session: commands of it are believed from now on, and of the oldest of its lane no more."""
        self._sessions[sealer.sid] = _Session(sealer)
        alike = [sid for sid, one in self._sessions.items() if one.sealer.lane == sealer.lane]
        for sid in alike[:-KEPT_SESSIONS]:
            del self._sessions[sid]
        self.sealed(sealer.sid, -1, uptime_ms)

    def sealed(self, sid: bytes, number: int, uptime_ms: int) -> None:
        """Message `number` of a session was sealed."""
        self._seals.append((uptime_ms, sid, number))
        while uptime_ms - self._seals[0][0] > MAX_LIFE_MS + 2 * QUIET_MS:
            self._seals.popleft()

    def forget(self) -> None:
        """Another recipient key: who commanded until now commands no more."""
        self._sessions.clear()

    def hear(self, kind: str, name: str, data: object, uptime_ms: int) -> Heard:
        """The command in `data`, once. Raises NotBelieved."""
        session = self._sessions.get(named_session(data) or b"")
        try:
            if session is None:
                raise _unknown(data)
            command = session.sealer.check_command(data, kind, name)
        except Rejected as error:
            raise NotBelieved(_STATUS.get(error.reason, 401), {"error": str(error)}, error) from error
        try:
            self._take_number(session, command)
            if kind != DESIRED:
                self._need_fresh(command, uptime_ms)
            return Heard(command, command.payload, session)
        except Rejected as error:
            raise self._refused(session, command, error) from error

    def _take_number(self, session: _Session, command: Command) -> None:
        slot = command.name if command.kind == DESIRED else ""
        highest = session.highest.get(slot, -1)
        if command.number <= highest:
            got = f"number {command.number} of session {command.sid.hex()}"
            raise Rejected(Reason.REPLAYED, f"a command above number {highest}", got, "nothing was done")
        session.highest[slot] = command.number

    def _need_fresh(self, command: Command, uptime_ms: int) -> None:
        """Raises Rejected where what the engine had not seen yet was sealed longer ago than the command lives."""
        life_ms = min(command.life_ms, MAX_LIFE_MS)
        seals = list(self._seals)
        at = next((n for n in reversed(range(len(seals))) if seals[n][1:] == (command.sid, command.after)), None)
        if at is None:
            raise _late(f"one from before, or after, all that was sealed lately (message {command.after})")
        since_ms = seals[at + 1][0] if at + 1 < len(seals) else seals[at][0] + QUIET_MS
        if uptime_ms - since_ms > life_ms:
            raise _late(f"one that was {(uptime_ms - since_ms) / 1000:.0f} s under way (at most {life_ms / 1000:g} s)")

    def _refused(self, session: _Session, command: Command, error: Rejected) -> NotBelieved:
        """A refusal that the engine can prove. The last command again gets the answer that it got."""
        said: Said = {"error": str(error)}
        mac, was, told = session.last or (b"", 0, {})
        if error.reason == Reason.REPLAYED and hmac.compare_digest(mac, command.mac):
            said |= {"was": was, "said": told}
        status = _STATUS.get(error.reason, 401)
        return NotBelieved(status, session.sealer.make_answer(command, status, said), error)


def _unknown(data: object) -> Rejected:
    sid = named_session(data)
    if sid is None:
        return Rejected(Reason.MALFORMED, "a command with the engine's proof", "one without", "nothing was done")
    expected = "a command of a session that this device has open"
    return Rejected(Reason.UNKNOWN_SESSION, expected, f"one of session {sid.hex()}", "nothing was done; ask again")


def _late(got: str) -> Rejected:
    return Rejected(Reason.STALE, "a command that comes at once", got, "nothing was done; ask again")

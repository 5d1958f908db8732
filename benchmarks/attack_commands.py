"""Attacks on commands and their answers, for ``benchmarks.attacks``: the attacker is the hub, and sees everything.

The engine's end is the session as its gate opened it; the device's is its memory of sessions (``device/orders.py``).
Each function returns whether the attack succeeded, or an honest command did not count after it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from device.orders import NotBelieved, Orders
from security.commands import METHOD, Command
from security.envelope import Sealer
from security.errors import Rejected
from security.session import Opener

NOW_MS, LIFE_MS = 1_780_000_000_000, 30_000
Told = tuple[Command, dict[str, Any]]


@dataclass
class Line:
    """One session's commands: the engine makes them, the device hears them. Two seconds a message."""

    sealer: Sealer
    opener: Opener
    random: random.Random
    orders: Orders = field(default_factory=Orders)
    uptime_ms: int = 0
    number: int = -1
    past: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.orders.opened(self.sealer, 0)
        self.after = -1

    def seal(self) -> None:
        """The device seals one more message."""
        self.uptime_ms += 2000
        self.after = (self.after + 1) % 2**20
        self.orders.sealed(self.sealer.sid, self.after, self.uptime_ms)

    def tell(self, connected: bool = False) -> Told:
        """What the engine says next."""
        self.number += 1
        body = json.dumps({"signal": "emg", "connected": connected})
        wanted = Command(self.opener.sid, self.opener.device, METHOD, "sensor", self.number, self.after, NOW_MS,
                         NOW_MS + LIFE_MS, body)  # fmt: skip
        command, sent = self.opener.make_command(wanted)
        self.past = [*self.past[-50:], sent]
        return command, sent

    def obeys(self, sent: object, name: str = "sensor") -> dict[str, Any] | None:
        """The device's answer where it does what it is told; None where it refuses."""
        try:
            return self.orders.hear(METHOD, name, sent, self.uptime_ms).answer(200, {"did": name})
        except NotBelieved:
            return None

    def believes(self, said: object, status: int, command: Command) -> bool:
        """Whether the engine takes an answer for the device's."""
        try:
            self.opener.check_answer(said, status, command)
        except Rejected:
            return False
        return True

    def honest(self) -> bool:
        """Whether one more true command is carried out and its answer believed."""
        self.seal()
        command, sent = self.tell(True)
        said = self.obeys(sent)
        return said is not None and self.believes(said, 200, command)


Attack = Callable[[Line, Line], bool]


def _forged(line: Line, _: Line) -> bool:
    made = {**line.tell()[1], "mac": line.random.randbytes(32).hex()}
    return line.obeys(made) is not None


def _altered(line: Line, _: Line) -> bool:
    _, sent = line.tell()
    name = line.random.choice(["n", "after", "issued_ms", "expires_ms", "body", "name"])
    if name == "name":
        return line.obeys(sent, "tamper") is not None
    other = sent["body"].replace("false", "true") if name == "body" else sent[name] + line.random.choice([-1, 1, 1000])
    return line.obeys(sent | {name: other}) is not None or line.obeys(sent) is None


def _repeated(line: Line, _: Line) -> bool:
    _, sent = line.tell()
    return line.obeys(sent) is None or line.obeys(line.random.choice(line.past)) is not None


def _reordered(line: Line, _: Line) -> bool:
    (_, one), (_, two) = line.tell(), line.tell()
    return line.obeys(two) is None or line.obeys(one) is not None


def _delayed(line: Line, _: Line) -> bool:
    """Held back until the device has sealed what the engine had not seen, and its life is over."""
    _, sent = line.tell()
    line.seal()
    line.uptime_ms += LIFE_MS + line.random.randrange(1, 100_000)
    return line.obeys(sent) is not None


def _foreign(line: Line, other: Line) -> bool:
    """A true command of another session, lane, suite or device, as it is and under this one's name."""
    _, sent = other.tell()
    return line.obeys(sent) is not None or line.obeys(sent | {"sid": line.sealer.sid.hex()}) is not None


def _rekeyed(line: Line, _: Line) -> bool:
    """Made before the device was given another key, told after it."""
    _, sent = line.tell()
    line.orders.forget()
    done = line.obeys(sent) is not None
    line.orders.opened(line.sealer, line.uptime_ms)  # for the trials to come
    line.seal()
    return done


def _invented(line: Line, _: Line) -> bool:
    command, sent = line.tell()
    said = {"sid": sent["sid"], "n": sent["n"], "body": '{"did": "sensor"}', "mac": line.random.randbytes(32).hex()}
    return line.believes(said, 200, command) or line.believes(said | {"mac": sent["mac"]}, 200, command)


def _swapped(line: Line, _: Line) -> bool:
    """An answer shown for another command, or with another status."""
    (one, sent_one), (two, sent_two) = line.tell(), line.tell()
    said_one, said_two = line.obeys(sent_one), line.obeys(sent_two)
    renamed = {**(said_one or {}), "n": two.number}
    fooled = [line.believes(said_one, 200, two), line.believes(renamed, 200, two), line.believes(said_two, 200, one),
              line.believes(said_one, 400, one), line.believes(said_one, 200, replace(one, mac=two.mac))]  # fmt: skip
    return any(fooled) or not line.believes(said_one, 200, one)


COMMANDS: dict[str, Attack] = {
    "forged command": _forged,
    "altered command": _altered,
    "repeated command": _repeated,
    "reordered command": _reordered,
    "delayed command": _delayed,
    "other's command": _foreign,
    "command of before": _rekeyed,
    "invented answer": _invented,
    "swapped answer": _swapped,
}

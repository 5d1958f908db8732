"""Attacks messages, commands and answers, trial by trial, and counts what was caught and what was wrongly refused.

Every trial is one attack on a random session (of all suites, two devices, two lanes), and then an honest message of the
same session, which must count: so an attack that breaks the session shows up as a false reject. An attack is caught
where it counts nothing: it is refused, or, being a copy of what counted already, it is passed over.

    python -m benchmarks.attacks [--trials 100000] [--seed 1]
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.attack_commands import COMMANDS, Line
from device.frame import Block, Frame, FrameError, Source, encode, quantise
from security.envelope import Lane, Recipient, Sealer, open_session, sign_recipient
from security.errors import Rejected
from security.identity import Authority, DeviceIdentity, create_ca, issue_device, issue_engine
from security.keys import RecipientKey, create_recipient_key
from security.suite import STRONGEST_FIRST
from security.wire import HEADER_BYTES
from twin_engine.prove import Gate

NOW_MS = 1_780_000_000_000
DEVICES = ("ward-1", "ward-2")
RENEW_AFTER = 20_000  # messages of a session, then a new one is opened


@dataclass
class Link:
    """One session: what was sealed in it, and how to seal more."""

    device: str
    lane: Lane
    record: bytes
    sealer: Sealer
    sent: list[bytes] = field(default_factory=list)

    def seal(self) -> bytes:
        """An honest message."""
        block = Block("gsr_uS", NOW_MS - 1000, 250_000, -4, quantise([4.0, 4.1, 4.2, 4.1], -4))
        number = self.sealer.next_seq
        return self.sealer.seal(encode(Frame(NOW_MS, NOW_MS, self.sealer.epoch, number, Source.SENSOR, (block,))))


@dataclass
class Result:
    """What came of all trials."""

    trials: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    honest: int = 0
    false_rejects: int = 0

    @property
    def caught(self) -> int:
        """Attacks that counted nothing."""
        return sum(self.trials.values()) - sum(self.missed.values())


class Arena:
    """An engine's gate, two devices with a session for each suite and lane, and an attacker who sees everything."""

    def __init__(self, home: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.ca: Authority = create_ca(home / "ca", now_ms=NOW_MS)
        engine = issue_engine(self.ca, home / "e", now_ms=NOW_MS)
        self.keys: dict[tuple[str, bytes], RecipientKey] = {}
        self.identities: dict[str, DeviceIdentity] = {}
        self._open: dict[tuple[str, str], Callable[[Lane], Link]] = {}
        for device in DEVICES:
            identity = self.identities[device] = issue_device(self.ca, device, home / "d", now_ms=NOW_MS)
            for name in STRONGEST_FIRST:  # a key for each suite, since under one key nobody steps down
                kid, key = create_recipient_key()
                self.keys[device, kid] = key
                recipient = sign_recipient(
                    engine, key.public_key().public_bytes_raw(), device_id=device, now_ms=NOW_MS,
                    suites=STRONGEST_FIRST, xwing_key=key.xwing_public,
                )  # fmt: skip
                self._open[device, name] = self._opening(identity, recipient, name)
        self.lines: dict[bytes, Line] = {}
        self.steady_s = 0.0
        self.gate = Gate(self.ca.trust, {}, STRONGEST_FIRST, lambda: self.steady_s)
        self.links = [self.opened(*pair, lane) for pair in self._open for lane in Lane]

    def _opening(self, identity: DeviceIdentity, recipient: Recipient, name: str) -> Callable[[Lane], Link]:
        def opening(lane: Lane) -> Link:
            record, sealer = open_session(identity, recipient, epoch=3, lane=lane, now_ms=NOW_MS, suites=(name,))
            return Link(identity.device_id, lane, record, sealer)

        return opening

    def opened(self, device: str, name: str, lane: Lane) -> Link:
        """A new session, known to the gate."""
        link = self._open[device, name](lane)
        self.counts(link.record, device)
        return link

    def counts(self, body: bytes, device: str) -> bool:
        """Whether the gate counts a message that the hub took from `device`."""
        self.steady_s += 1  # so that open records are looked at, and not turned away for being many
        try:
            return self.gate.check("1-0", device, body, NOW_MS, lambda kid: self.keys.get((device, kid))) is not None
        except (Rejected, FrameError):
            return False

    def line(self, link: Link) -> Line:
        """The commands of a session: the device's ear, and the session as the gate opened it."""
        sid = link.sealer.sid
        if sid not in self.lines:
            session = self.gate.session(link.device, sid)
            if session is None:
                raise LookupError(f"expected an open session {sid.hex()} at the gate, got none")
            self.lines[sid] = Line(link.sealer, session.opener, self.random)
        return self.lines[sid]

    def honest(self, link: Link) -> bool:
        """Whether one more true message counts."""
        body = link.seal()
        link.sent = [*link.sent[-50:], body]
        return self.counts(body, link.device)

    def other(self, link: Link) -> Link:
        """Another session."""
        return self.random.choice([one for one in self.links if one is not link])

    def flipped(self, body: bytes) -> bytes:
        """One bit turned."""
        altered, bit = bytearray(body), self.random.randrange(8 * len(body))
        altered[bit // 8] ^= 1 << bit % 8
        return bytes(altered)


def _replay(arena: Arena, link: Link) -> bool:
    return arena.counts(arena.random.choice(link.sent), link.device)


def _duplicate(arena: Arena, link: Link) -> bool:
    body = link.seal()
    first, again = arena.counts(body, link.device), arena.counts(body, link.device)
    return not first or again


def _reorder(arena: Arena, link: Link) -> bool:
    """Two messages under each other's numbers; then both come, the later first, and must count once each."""
    one, two = link.seal(), link.seal()
    at = slice(HEADER_BYTES - 4, HEADER_BYTES)
    swapped = [a[: at.start] + b[at] + a[at.stop :] for a, b in ((one, two), (two, one))]
    fooled = sum(arena.counts(body, link.device) for body in swapped) > 0  # both are tried
    came = [arena.counts(body, link.device) for body in (two, one, two, one)]
    return fooled or came != [True, True, False, False]


def _forged(arena: Arena, link: Link) -> bool:
    body = link.sent[-1][:10] + arena.random.randbytes(4 + arena.random.randrange(16, 400))
    return arena.counts(body, link.device)


def _tampered(arena: Arena, link: Link) -> bool:
    body = link.seal()
    return arena.counts(arena.flipped(body), link.device) or not arena.counts(body, link.device)


def _true_number(arena: Arena, link: Link) -> bool:
    """A forgery under the next number comes before the true message, which must still count."""
    body = link.seal()
    forged = body[:HEADER_BYTES] + arena.random.randbytes(len(body) - HEADER_BYTES)
    return arena.counts(forged, link.device) or not arena.counts(body, link.device)


def _wrong_identity(arena: Arena, link: Link) -> bool:
    """A true, unseen message, shown by the other device, as it is and as a session of its own."""
    body, thief = link.seal(), next(name for name in DEVICES if name != link.device)
    stolen = arena.counts(body, thief) or arena.counts(link.record, thief) or arena.counts(body, thief)
    return stolen or not arena.counts(body, link.device)


def _other_session(arena: Arena, link: Link) -> bool:
    """A true message of another session (other lane, suite or device), under this one's name."""
    body = arena.other(link).sent[-1]
    renamed = link.sent[-1][:10] + link.sealer.next_seq.to_bytes(4, "big") + body[HEADER_BYTES:]
    return arena.counts(renamed, link.device) or arena.counts(link.sent[-1][:10] + body[10:], link.device)


def _other_lane(arena: Arena, link: Link) -> bool:
    body = link.seal()
    moved = body[:1] + bytes([body[1] ^ 1]) + body[2:]
    return arena.counts(moved, link.device) or not arena.counts(body, link.device)


def _replayed_opening(arena: Arena, link: Link) -> bool:
    """The open record again, then a message that counted: a session that began anew would count it."""
    arena.counts(link.record, link.device)
    return arena.counts(arena.random.choice(link.sent), link.device)


def _tampered_opening(arena: Arena, link: Link) -> bool:
    """One bit of an open record; nothing sealed in a session that never was may count."""
    name = next(n for (device, n), _ in arena._open.items() if device == link.device and n == link.sealer.suite)
    new = arena._open[link.device, name](link.lane)
    arena.counts(arena.flipped(new.record), link.device)
    return arena.counts(new.seal(), link.device)


def _renamed_suite(arena: Arena, link: Link) -> bool:
    """An open record that names another suite, then a message sealed by the first."""
    new = arena._open[link.device, link.sealer.suite](link.lane)
    other = arena.random.choice([name for name in STRONGEST_FIRST if name != link.sealer.suite])
    field_ = b"esuitea"
    arena.counts(new.record.replace(field_ + link.sealer.suite.encode(), field_ + other.encode(), 1), link.device)
    return arena.counts(new.seal(), link.device)


def _told(attack: str) -> Callable[[Arena, Link], bool]:
    """An attack on a command or an answer; after it an honest command must be carried out, and its answer believed."""

    def run_one(arena: Arena, link: Link) -> bool:
        line = arena.line(link)
        return COMMANDS[attack](line, arena.line(arena.other(link))) or not line.honest()

    return run_one


# Each returns whether the attack succeeded. Those that verify or make signatures are drawn less often.
ATTACKS: dict[str, tuple[Callable[[Arena, Link], bool], int]] = {
    "replay": (_replay, 12),
    "duplicate": (_duplicate, 12),
    "reorder": (_reorder, 12),
    "forged": (_forged, 12),
    "tampered": (_tampered, 12),
    "true number": (_true_number, 12),
    "wrong identity": (_wrong_identity, 12),
    "other session": (_other_session, 8),
    "other lane": (_other_lane, 4),
    "replayed opening": (_replayed_opening, 2),
    "tampered opening": (_tampered_opening, 1),
    "renamed suite": (_renamed_suite, 1),
    **{name: (_told(name), 4) for name in COMMANDS},
}


def run(trials: int, seed: int = 1) -> Result:
    """`trials` attacks, each followed by an honest message."""
    with tempfile.TemporaryDirectory() as home:
        arena, result = Arena(Path(home), seed), Result()
        for link in arena.links:
            arena.honest(link)
        names, weights = list(ATTACKS), [weight for _, weight in ATTACKS.values()]
        for name in arena.random.choices(names, weights, k=trials):
            at = arena.random.randrange(len(arena.links))
            _try(arena, arena.links[at], name, result)
            if arena.links[at].sealer.next_seq > RENEW_AFTER:
                old = arena.links[at]
                arena.links[at] = arena.opened(old.device, old.sealer.suite, old.lane)
                arena.honest(arena.links[at])
        return result


def _try(arena: Arena, link: Link, name: str, result: Result) -> None:
    result.trials[name] += 1
    result.missed[name] += ATTACKS[name][0](arena, link)
    result.honest += 1
    result.false_rejects += not arena.honest(link)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    begun_s = time.perf_counter()
    result = run(given.trials, given.seed)
    for name, count in result.trials.items():
        print(f"{name:18} {count:8d} trials  {count - result.missed[name]:8d} caught")
    total = sum(result.trials.values())
    print(f"{'all':18} {total:8d} trials  {result.caught:8d} caught  {100 * result.caught / total:.3f} %")
    print(f"honest messages {result.honest}, false rejects {result.false_rejects}")
    print(f"seed {given.seed}, {time.perf_counter() - begun_s:.0f} s")


if __name__ == "__main__":
    main()

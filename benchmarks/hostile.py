"""What one hostile open record costs an engine, by the stage at which it is refused; and what an honest one costs.

The attacker has a device's place at the hub (else nothing arrives), and what each row says. Prints the best of several
runs in µs, and what a device can cost at most by the limit of its rate.

    python -m benchmarks.hostile
"""

from __future__ import annotations

import tempfile
import timeit
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from security.envelope import Lane, open_session, sign_recipient
from security.errors import Rejected
from security.identity import DeviceIdentity, create_ca, issue_device, issue_engine
from security.keys import RecipientKey, create_recipient_key
from security.suite import STRONGEST_FIRST
from twin_engine.admission import OPENS_BURST, OPENS_PER_S
from twin_engine.prove import Gate

NOW_MS = 1_780_000_000_000
DEVICE = "ward-1"
CALLS, RUNS = 200, 5


class Bench:
    """A gate whose clock runs fast enough that nothing is throttled unless it should be."""

    def __init__(self, home: Path) -> None:
        self.ca = create_ca(home / "ca", now_ms=NOW_MS)
        self.device = issue_device(self.ca, DEVICE, home / "d", now_ms=NOW_MS)
        self.engine = issue_engine(self.ca, home / "e", now_ms=NOW_MS)
        self.rogue = issue_device(create_ca(home / "rogue", now_ms=NOW_MS), DEVICE, home / "r", now_ms=NOW_MS)
        self.kid, self.key = create_recipient_key()
        self.other = RecipientKey(create_recipient_key()[1].point, create_recipient_key()[1].xwing)
        self.now_s, self.step_s = 0.0, 10.0

    def steady_s(self) -> float:
        """A monotonic clock."""
        self.now_s += self.step_s
        return self.now_s

    def gate(self, suites: tuple[str, ...] = STRONGEST_FIRST) -> Gate:
        """With nothing in its memory."""
        return Gate(self.ca.trust, {}, suites, self.steady_s)

    def record(self, name: str, identity: DeviceIdentity | None = None) -> bytes:
        """An open record of a suite."""
        recipient = sign_recipient(
            self.engine, self.key.public_key().public_bytes_raw(), device_id=DEVICE, now_ms=NOW_MS,
            suites=STRONGEST_FIRST, xwing_key=self.key.xwing_public,
        )  # fmt: skip
        signer = identity or self.device
        believed = DeviceIdentity(
            signer.name, signer.key, signer.chain_der, signer.key_path, signer.chain_path, signer.root_path,
            self.ca.trust,
        )  # fmt: skip
        return open_session(believed, recipient, epoch=1, lane=Lane.LIVE, now_ms=NOW_MS, suites=(name,))[0]


def cost_us(gate: Gate, body: bytes, key: RecipientKey | None, again: Callable[[Gate], None] | None = None) -> float:
    """Of one check, the best of several runs. `again` undoes what it did."""

    def once() -> None:
        with suppress(Rejected):
            gate.check("1-0", DEVICE, body, NOW_MS, lambda _: key)
        if again:
            again(gate)

    once()
    return min(timeit.repeat(once, number=CALLS, repeat=RUNS)) / CALLS * 1e6


def _forget_chains(gate: Gate) -> None:
    gate._admission.chains._known.clear()


def _forget_sessions(gate: Gate) -> None:
    gate._sessions.clear()
    gate._admission._open.clear()


def rows(bench: Bench) -> dict[str, float]:
    """Stage -> µs."""
    true = {name: bench.record(name) for name in STRONGEST_FIRST}
    spoiled = true["C"][:-1] + bytes([true["C"][-1] ^ 1])
    found = {"random bytes under the header of an open record": (bench.gate(), true["C"][:14] + bytes(600), bench.key)}
    found["another device's name"] = (bench.gate(), true["C"].replace(b"ward-1", b"ward-9"), bench.key)
    found["a suite that the house does not take"] = (bench.gate(("C",)), true["B"], bench.key)
    found["a certificate of another CA"] = (bench.gate(), bench.record("C", bench.rogue), bench.key)
    found["a true chain, known, and a wrong signature"] = (bench.gate(), spoiled, bench.key)
    found["signed by the device, for a key that is gone"] = (bench.gate(), true["C"], None)
    for name, record in true.items():
        found[f"signed by the device, secret for another key, suite {name}"] = (bench.gate(), record, bench.other)
    made = {name: cost_us(*what) for name, what in found.items()}
    made["a true chain, not known, and a wrong signature"] = cost_us(bench.gate(), spoiled, bench.key, _forget_chains)
    for name, record in true.items():
        made[f"honest, suite {name}"] = cost_us(bench.gate(), record, bench.key, _forget_sessions)
    made["honest, sent again"] = cost_us(bench.gate(), true["C"], bench.key)
    bench.step_s = 0.0
    full = bench.gate()
    for _ in range(OPENS_BURST):
        with suppress(Rejected):
            full.check("1-0", DEVICE, b"\1\2" + bytes(200), NOW_MS, lambda _: None)
    made["one too many of this device"] = cost_us(full, true["C"], bench.key)
    return made


def main() -> None:
    """Measures and prints a table."""
    with tempfile.TemporaryDirectory() as home:
        measured = rows(Bench(Path(home)))
    for name, microseconds in sorted(measured.items(), key=lambda row: row[1]):
        print(f"{microseconds:9.1f} µs  {name}")
    worst_us = max(us for name, us in measured.items() if not name.startswith("honest"))
    burst_ms, share = OPENS_BURST * worst_us / 1e3, OPENS_PER_S * worst_us / 1e4
    print(f"a device at most: {OPENS_BURST} at once ({burst_ms:.0f} ms), then {OPENS_PER_S:g} a second", end=" ")
    print(f"({share:.3f} % of a core)")


if __name__ == "__main__":
    main()

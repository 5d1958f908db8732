"""How much of its memory Redis uses, and what an operator must know before it is full.

Full means: Redis refuses every write (``noeviction``), so nothing is acknowledged, everything waits, and devices keep
what they have. It never throws a record away. Nobody makes room by himself then: who trims must be able to write, too.
"""

from __future__ import annotations

from dataclasses import dataclass

from twin_engine.store.connection import Client, translated

WARN_PERCENT = 75
KEEPS_ALL = "noeviction"


@dataclass(frozen=True, slots=True)
class Memory:
    """In bytes. `bound` is Redis' own limit; 0 where it has none, then the machine's memory is what counts."""

    used: int
    bound: int
    machine: int
    policy: str

    @property
    def percent(self) -> float:
        """Used, of what there is."""
        whole = self.bound or self.machine
        return 100.0 * self.used / whole if whole else 0.0


def read_memory(client: Client) -> Memory:
    """Raises StoreDown, and NotPermitted where the user may not ask (+info)."""
    with translated():
        facts = client.info("memory")
    bound, machine = int(facts.get("maxmemory", 0)), int(facts.get("total_system_memory", 0))
    return Memory(int(facts["used_memory"]), bound, machine, str(facts.get("maxmemory_policy", "")))


def memory_warnings(memory: Memory) -> list[str]:
    """What is wrong, in words for an operator."""
    said = []
    if memory.policy != KEEPS_ALL:
        said.append(
            f"expected Redis with maxmemory-policy {KEEPS_ALL}, got {memory.policy!r}: when it is full it throws away "
            "records and keys that were acknowledged; set it now"
        )
    if memory.percent >= WARN_PERCENT:
        of = "its maxmemory" if memory.bound else "the machine's memory, and has no maxmemory"
        said.append(
            f"Redis uses {memory.used >> 20} MiB, {memory.percent:.0f} % of {of}: when it is full nothing more is "
            "taken or shown; give it more (EVERBEAT_REDIS_MEMORY_MB, or maxmemory of your own Redis)"
        )
    return said

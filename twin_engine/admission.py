"""Which sessions may be opened, and which are over: the memory behind the rules of ``security.freshness``.

For each device: so many new sessions at a time, no step down to a weaker suite under one key, and boots in their order.
The names of sessions that are over are kept for good, so that their open records never open them again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import cbor2

from security import freshness
from security.chains import ChainCache
from security.errors import Reason, Rejected
from security.rate import Buckets
from security.session import Opener
from security.suite import stronger
from security.wire import Lane

OPENS_PER_S, OPENS_BURST = 1.0, 512  # new sessions of a device: an hour's each, and 14 days' at once after an outage
_EXPIRED = "expired"


class Admission:
    """Of one shard. `suites`: what this house takes; `steady_s`: a monotonic clock."""

    def __init__(self, suites: Collection[str], steady_s: Callable[[], float]) -> None:
        self.suites = suites
        self.chains = ChainCache()
        self._buckets = Buckets(OPENS_PER_S, OPENS_BURST, steady_s)
        self._open: dict[str, dict[bytes, Opener]] = {}
        self._boots: dict[str, dict[int, int]] = {}  # device -> epoch -> when its newest session was opened
        self._over = set[bytes]()  # names, for good
        self._buried: dict[bytes, bytes] = {}  # over since the last commit

    def knock(self, device: str) -> None:
        """Before anything is read of a new open record. Raises TooMany."""
        self._buckets.take(device)

    def check(self, new: Opener) -> None:
        """A session that was proven to be its device's. Raises Rejected where it comes out of order or steps down."""
        freshness.check_boot(new.epoch, new.opened_ms, self._boots.get(new.device, {}).items())
        for name in stronger(new.suite):
            alike = (o for o in self._open.get(new.device, {}).values() if (o.kid, o.suite) == (new.kid, name))
            if name in self.suites and any(alike):
                raise Rejected(
                    Reason.WEAK_SUITE,
                    f"suite {name}, with which {new.device} sealed to this key before",
                    f"suite {new.suite}",
                    "no session was opened and its messages will not be read",
                )

    def note(self, name: bytes, opener: Opener) -> None:
        """A session that is open from now on."""
        self._open.setdefault(opener.device, {})[name] = opener
        self._note_boot(opener.device, opener.epoch, opener.opened_ms)

    def alike(self, opener: Opener) -> list[Opener]:
        """The open sessions of its device and lane, oldest first."""
        found = [o for o in self._open.get(opener.device, {}).values() if o.lane == opener.lane]
        return sorted(found, key=lambda one: (one.epoch, one.opened_ms))

    def newest(self, device: str) -> bytes | None:
        """The name of its open session of the latest boot, of the live lane first, that was opened last."""
        found = self._open.get(device, {})
        return max(found, key=lambda name: _age(found[name]), default=None)

    def ended(self, now_ms: int) -> list[bytes]:
        """Names of open sessions of which nothing can come any more."""
        every = ((name, opener) for device in self._open.values() for name, opener in device.items())
        return [name for name, opener in every if now_ms > freshness.ends_ms(opener.opened_ms)]

    def bury(self, name: bytes) -> None:
        """The session is over for good: its keys go, its name and its boot's stay."""
        device = _device(name)
        self._open[device].pop(name)
        self._over.add(name)
        self._buried[name] = cbor2.dumps([_EXPIRED, *max(self._boots[device].items())])

    def is_over(self, name: bytes) -> bool:
        """Whether the session is over for good."""
        return name in self._over

    def take_buried(self) -> dict[bytes, bytes]:
        """name -> what to store in place of the session, with the next commit."""
        out, self._buried = self._buried, {}
        return out

    def recall(self, name: bytes, stored: list[object]) -> bool:
        """Takes what :meth:`take_buried` gave. False where it is something else."""
        match stored:
            case [str(kind), int(epoch), int(opened_ms)] if kind == _EXPIRED:
                self._over.add(name)
                self._note_boot(_device(name), epoch, opened_ms)
                return True
        return False

    def _note_boot(self, device: str, epoch: int, opened_ms: int) -> None:
        boots = self._boots.setdefault(device, {})
        boots[epoch] = max(opened_ms, boots.get(epoch, opened_ms))


def _age(opener: Opener) -> tuple[int, bool, int]:
    return opener.epoch, opener.lane is Lane.LIVE, opener.opened_ms


def _device(name: bytes) -> str:
    return name.split(b"|")[0].decode()

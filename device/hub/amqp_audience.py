"""Who reads which partition in which consumer group, and who must give way: Event Hubs' rule of epochs. Pure.

A reader with an epoch reads alone: it drives out all others of the group, unless one of them has a higher epoch.
A reader without one shares the partition with others of its kind, and is refused while somebody reads with an epoch.
"""

from __future__ import annotations

from collections import defaultdict

from device.hub.amqp_frames import AmqpError
from device.hub.amqp_nodes import Address
from device.hub.amqp_reader import Reader

STOLEN = "amqp:link:stolen"


class Audience:
    """The readers of all connections."""

    def __init__(self) -> None:
        self._readers: defaultdict[Address, set[Reader]] = defaultdict(set)

    def check(self, address: Address, epoch: int | None) -> None:
        """Raises AmqpError where a reader with a higher epoch is at work."""
        held = max((r.epoch for r in self._readers.get(address, ()) if r.epoch is not None), default=None)
        if held is not None and (epoch is None or epoch < held):
            raise AmqpError(STOLEN, f"expected an epoch of {held} or more, got {epoch}; another reader is at work")

    def enter(self, address: Address, reader: Reader) -> None:
        """Count the reader in, and drive out whom its epoch drives out. Call :meth:`check` first."""
        if reader.epoch is not None:
            for other in tuple(self._readers.get(address, ())):
                self.leave(address, other)
                other.detach(AmqpError(STOLEN, f"a reader with epoch {reader.epoch} has taken the partition"))
        self._readers[address].add(reader)

    def leave(self, address: Address, reader: Reader) -> None:
        """The reader is gone, or was never there."""
        readers = self._readers.get(address, set())
        readers.discard(reader)
        if not readers:
            self._readers.pop(address, None)

"""Orders on their way down to devices: what the engine left, until it was carried out.

An order stays in the stream until :meth:`OrderQueue.done`; a downlink that dies takes it up again. A method's answer
goes into the raw stream of the device's shard in the same transaction; the engine believes it by its own proof.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Literal, cast

from device.downlink import Order, Outcome
from twin_engine.store import keys, raw
from twin_engine.store.connection import Client, translated

_COUNT = 500
COMMAND_LIFE_S = 30
Kind = Literal["method", "desired", "receipt"]


class OrderQueue:
    """Implements :class:`device.downlink.Outbox`. One downlink at a time."""

    def __init__(self, client: Client, shards: int) -> None:
        self._client = client
        self._shards = shards
        self._after = "0-0"

    def take(self, block_ms: int) -> Sequence[Order]:
        """Orders not taken yet by this process, oldest first; waits up to `block_ms`. Raises StoreDown."""
        with translated():
            reply = self._client.xread({keys.ORDERS: self._after}, count=_COUNT, block=max(1, block_ms))
        entries = [entry for batches in (reply or {}).values() for batch in batches for entry in batch]
        if entries:
            self._after = entries[-1][0].decode()
        orders = [_order(entry_id, fields) for entry_id, fields in entries]
        late = [order for order in orders if order.kind == "method" and _age_s(order) > COMMAND_LIFE_S]
        for order in late:  # nobody expects a button pressed an hour ago to act now
            self.done(order, Outcome(504, {}, f"not carried out: older than {COMMAND_LIFE_S} s"))
        return [order for order in orders if order not in late]

    def done(self, order: Order, outcome: Outcome) -> None:
        """Carried out, or given up: forget it, and let the twin know how a method ended. Raises StoreDown."""
        with translated():
            batch = self._client.pipeline(transaction=True)
            if order.kind == "method":
                (route,) = self._client.hmget(keys.ROUTE, [order.device])
                shard = keys.read_route(route)[0] or keys.shard_of(order.device, self._shards)
                answer = {"sid": order.payload.get("sid"), "n": order.payload.get("n"), "answer": outcome.payload}
                fields = raw.answer_fields(order.device, order.name, answer, outcome.status, time.time_ns() // 10**6)
                batch.xadd(keys.raw(shard), fields)
            batch.xdel(keys.ORDERS, order.id)
            batch.execute()


def _age_s(order: Order) -> float:
    return time.time() - keys.written(order.id)[0] / 1000


def _order(entry_id: bytes, fields: dict[bytes, bytes]) -> Order:
    text = {name.decode(): value.decode() for name, value in fields.items()}
    kind = cast(Kind, text["kind"])
    return Order(entry_id.decode(), text["device"], kind, text["name"], json.loads(text["payload"]))

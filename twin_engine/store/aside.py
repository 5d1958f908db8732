"""Twin streams that were written while the store's clock ran ahead, set aside so that the true time has one again.

A stream's ids are the store's clock and never go back. Once that was ahead, everything would go on under the latest id
until the true time has caught up: nobody finds the present in the history, and nothing grows old. So the whole stream
gets another name, and a new one begins. What was written under times up to that moment is still found in the history;
what bears later times is kept as long as history is, and shown as nothing.
"""

from __future__ import annotations

import redis

from twin_engine.messages import BEHIND_MS
from twin_engine.store import keys
from twin_engine.store.connection import Client, translated
from twin_engine.store.errors import NotOwner


def set_aside(client: Client, shard: str, patients: list[str], token: int, now_ms: int) -> list[str]:
    """Of whom the stream was set aside: its newest id lies clearly after `now_ms`, and after the store's own clock.

    Raises NotOwner where `token` is not the newest of the shard. May be repeated.
    """
    with translated():
        seconds, _ = client.time()
        limit_ms = max(now_ms, int(seconds) * 1000) + BEHIND_MS
        newest = {patient: client.xrevrange(keys.twin(shard, patient), count=1) for patient in patients}
    ahead = [p for p, found in newest.items() if found and keys.written(found[0][0].decode())[0] > limit_ms]
    return [patient for patient in ahead if _rename(client, shard, patient, token, now_ms)]


def stretches(client: Client, shard: str, patient: str) -> list[tuple[str, int]]:
    """(key, until when it is history, ms) of what was set aside, oldest first."""
    with translated():
        found = client.hgetall(keys.aside(shard, patient))
    return sorted(((key.decode(), int(until_ms)) for key, until_ms in found.items()), key=lambda pair: pair[1])


def names(client: Client, shard: str, patient: str) -> list[str]:
    """Every key under which something of hers is set aside, for whoever destroys it."""
    return [keys.aside(shard, patient), *(key for key, _ in stretches(client, shard, patient))]


def _rename(client: Client, shard: str, patient: str, token: int, now_ms: int) -> bool:
    key, index = keys.twin(shard, patient), keys.aside(shard, patient)
    put = keys.twin_aside(shard, patient, now_ms)
    with translated(), client.pipeline(transaction=True) as batch:
        batch.watch(keys.fence(shard), key)
        if int(batch.get(keys.fence(shard)) or 0) != token:
            raise NotOwner(f"expected to own shard {shard}, but a newer owner has taken it; nothing was set aside")
        if not batch.exists(key):
            return False
        batch.multi()
        batch.rename(key, put)
        batch.hset(index, put, now_ms)
        batch.pexpire(put, keys.HISTORY_MS)
        batch.pexpire(index, keys.HISTORY_MS)
        try:
            batch.execute()
        except redis.WatchError:
            return False  # she is being erased, or the shard changes hands: the next round sees
    return True

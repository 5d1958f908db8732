"""What people want done, on its way to the engine: a stream a shard, beside the raw stream.

Whoever writes here can write nowhere else, and whoever writes raw records can't write here: the stream's name is the
proof of where an act came from. An act is wrapped like a data key (a new patient has none yet; her secret is made when
her admission is written down) under the shard's name, so that none can be moved to another shard's stream, and none can
be read once she was erased. What is wanted of somebody who was never admitted is sealed by the master key alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from security.errors import Rejected
from security.keyhome import name_of, refused
from security.keys import MasterKey
from twin_engine.records import Act, ActRefused
from twin_engine.store import keys
from twin_engine.store.connection import Client, translated
from twin_engine.store.errors import Erased

MAX_ACT_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class RawAct:
    """An entry of the acts stream, still sealed. `t_ms` is the store's own clock when it was written."""

    id: str
    sealed: bytes
    t_ms: int

    def open(self, master: MasterKey, shard: str) -> Act:
        """What somebody wants done. Raises ActRefused where it was not sealed for this shard, or says nothing."""
        if len(self.sealed) > MAX_ACT_BYTES:
            text = f"expected at most {MAX_ACT_BYTES} bytes of an act, got {len(self.sealed)}; left out"
            raise ActRefused("malformed", text)
        try:
            return Act.from_bytes(master.unwrap(self.sealed, context(shard)))
        except Rejected as error:
            raise ActRefused(str(error.reason), str(error)) from error


def write_act(client: Client, master: MasterKey, shard: str, act: Act) -> None:
    """Leave an act for the engine that owns `shard`; on disk when it returns. Raises StoreDown, Erased, ValueError."""
    body = act.to_bytes()
    try:
        sealed = master.wrap(body, context(shard), _owner(master, act))
    except Rejected as error:
        raise Erased(str(error)) from error
    if len(sealed) > MAX_ACT_BYTES:
        raise ValueError(f"expected an act of at most {MAX_ACT_BYTES} bytes, got {len(sealed)}; nothing was written")
    with translated():
        client.xadd(keys.acts(shard), {"b": sealed})


def _owner(master: MasterKey, act: Act) -> str | None:
    """The patient under whose secret an act lies. Raises Rejected("erased")."""
    home = master.home
    if home is None:
        return None
    if act.kind == "admit":
        home.create_secret(act.patient)
    home.look()
    stone = home.tombstone(act.patient)
    if stone is not None:
        raise refused(act.patient, stone)
    return act.patient if home.secret(name_of(act.patient)) else None


def parse(entry_id: bytes, fields: dict[bytes, bytes]) -> RawAct:
    """An entry of the acts stream. Raises KeyError where it holds nothing."""
    name = entry_id.decode()
    return RawAct(name, fields[b"b"], keys.written(name)[0])


def context(shard: str) -> bytes:
    """Of a sealed act."""
    return b"act|" + shard.encode()

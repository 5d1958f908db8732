"""Where every process leaves its audit events: one stream, sealed under the master key, written before it is answered.

They wait there until the log's keeper gives each its place in the audit log. Whoever may append here can't read it.
"""

from __future__ import annotations

from security.audit import AuditEvent
from security.keys import MasterKey
from twin_engine.store import keys
from twin_engine.store.connection import Client, translated

CONTEXT = b"audit"


class AuditWriter:
    """Appends events. `client` speaks as a user who may write to the stream."""

    def __init__(self, client: Client, master: MasterKey) -> None:
        self._client, self._master = client, master

    def write(self, event: AuditEvent) -> None:
        """Leave one event; on disk when it returns. Raises StoreDown."""
        with translated():
            self._client.xadd(keys.AUDIT_IN, {"b": self._master.wrap(event.to_bytes(), CONTEXT)})


def open_event(master: MasterKey, fields: dict[bytes, bytes]) -> AuditEvent:
    """An entry of the stream. Raises Rejected where it was not sealed by this house, KeyError where it holds none."""
    return AuditEvent.from_bytes(master.unwrap(fields[b"b"], CONTEXT))

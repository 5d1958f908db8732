"""What the web reads: the twin stream of a patient, newest last, and where wishes are left: acts.

The web sees only this protocol; :mod:`twin_engine.store.reader` fills it from Redis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from twin_engine.registry import PatientCard
from twin_engine.store.history import Past, View
from twin_engine.store.log_feed import Held
from twin_engine.store.log_records import LogRecord

__all__ = ["Entry", "Feed", "Held", "LogRecord", "Logs", "Past", "PatientCard", "View"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What one commit of the engine made for one patient."""

    id: str  # grows from entry to entry
    frame: bytes  # wire message of kind LIVE; empty where the commit made no sample
    revision: bytes = b""  # wire message of kind REVISION, or empty
    status: dict[str, Any] | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    frame_ms: int = 0  # device clock at which the newest frame in it was closed; 0 where there is none


class Logs(Protocol):
    """The tamper-evident logs, by patient. Every method may raise StoreDown.

    A record is known by device and time of arrival, and no patient is named in it: ask for a device only for the time
    in which it was hers (:meth:`held`).
    """

    def state(self, patient: str) -> dict[str, Any]:
        """What the notary last said of the patient's log (docs/operations.md); empty where it never did."""
        ...

    def held(self, patient: str, t0_ms: int, t1_ms: int) -> list[Held]:
        """Which devices were hers from t0 to t1, each from when to when within it."""
        ...

    def records(self, patient: str, device: str, t0_ms: int, t1_ms: int, limit: int = ...) -> list[LogRecord]:
        """The log's records of a device that arrived from t0 to t1, oldest first."""
        ...

    def newest(self, patient: str, device: str, t0_ms: int, t1_ms: int, limit: int) -> list[LogRecord]:
        """The last `limit` of them, newest first."""
        ...

    def bundle(self, patient: str, wanted: Sequence[LogRecord], since_ms: int | None = None) -> dict[str, Any]:
        """A proof of them for ``everbeat verify --proof``. Raises StoreCorrupt where the store can't prove."""
        ...


class Feed(Protocol):
    """Every method may raise :class:`twin_engine.store.errors.StoreDown`."""

    @property
    def logs(self) -> Logs:
        """The logs of what was stored."""
        ...

    def recent(self, patient: str, seconds: float) -> list[Entry]:
        """Entries of the last `seconds`, oldest first."""
        ...

    def history(self, patient: str, t0_s: float, t1_s: float, view: View = "live", coarse: bool = False) -> Past:
        """Samples and events of [t0, t1], as shown ("live") or as best known now ("best"); `coarse`: to a second."""
        ...

    def follow(self, last: dict[str, str], block_ms: int) -> list[tuple[str, Entry]]:
        """(patient, entry) newer than the given ids, oldest first; waits up to `block_ms` for the first."""
        ...

    def act(self, patient: str, kind: str, body: dict[str, Any], who: str) -> None:
        """Leave what `who` wants done (:mod:`twin_engine.records` has the kinds). An event tells what came of it;

        of kind ``command`` where a device was told something.

        Raises ValueError where the body is no JSON, or too long; then nothing was left.
        """
        ...

    def patients(self) -> list[PatientCard]:
        """All patients, by bed."""
        ...

"""What one round of an engine makes of its twins: messages are folded, and what came of it waits to be written.

Lives for one round. What is folded into whom, and when a round is committed, is said in :mod:`twin_engine.pipeline`.
Here is how: the second half of a live frame's fold (:mod:`twin_engine.rehearse`) is done for all patients together, and
at the end each patient's story is put into the form in which it goes to the browser and to rest.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from twin_engine import codec
from twin_engine.messages import Event, FrameKind, Message, Output, Readings, Samples, Tick, encode_wires
from twin_engine.rehearse import rehearse
from twin_engine.status import event_json, status
from twin_engine.store.commit import TwinWrite
from twin_engine.synthesise import Forecaster
from twin_engine.twin import Twin, fold

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Story:
    """What one round made for one patient."""

    made: list[Output] = field(default_factory=list)
    frame_ms: int = 0
    changed: bool = False
    unrehearsed: bool = False  # a live frame was folded, and its second half is still to come


class Stories:
    """The shard's twins during one round, and what it made of them."""

    def __init__(self, twins: dict[str, Twin], forecaster: Forecaster) -> None:
        """`twins`: by patient; they are replaced there as they are folded."""
        self._twins, self._forecaster = twins, forecaster
        self._stories: dict[str, _Story] = {}

    @property
    def patients(self) -> Set[str]:
        """Those into whose twins anything was folded, or of whom there is anything to tell."""
        return self._stories.keys()

    @property
    def changed(self) -> bool:
        """Whether anything was made that must be written: time that passes and makes nothing need not be."""
        return any(story.changed for story in self._stories.values())

    def fold(self, patient: str, message: Message, untold: str = "") -> None:
        """One message, into the twin of a patient who has one.

        `untold`: a kind of event that the fold tells too, but who tells it here knows more.
        """
        story = self._stories.setdefault(patient, _Story())
        self._twins[patient], made = fold(self._twins[patient], message, self._forecaster)
        if untold:
            made = replace(made, events=tuple(event for event in made.events if event.kind != untold))
        story.changed |= not isinstance(message, Tick)
        self.add(patient, made)

    def hear(self, patient: str, readings: Readings, device_ms: int) -> None:
        """A proven frame that was closed at `device_ms` of the device's own clock."""
        if readings.live and patient in self._stories and self._stories[patient].unrehearsed:
            self.rehearse()  # between any two frames, however many one round holds
        self.fold(patient, readings)
        story = self._stories[patient]
        story.unrehearsed |= readings.live  # an old frame in the same round takes no second half away
        story.frame_ms = max(story.frame_ms, device_ms if readings.live else 0)

    def add(self, patient: str, made: Output) -> None:
        """What was made for a patient, or is to be told of her, beside the fold."""
        if made.samples or made.revisions or made.events:
            story = self._stories.setdefault(patient, _Story())
            story.changed = True
            story.made.append(made)

    def rehearse(self) -> None:
        """The second half of the folds of live frames, for all their patients together."""
        waiting = {patient: self._twins[patient] for patient, story in self._stories.items() if story.unrehearsed}
        for patient in waiting:
            self._stories[patient].unrehearsed = False
        for patient, (twin, made) in self._rehearsed(waiting).items():
            self._twins[patient] = twin
            if made.events:
                self._stories[patient].made.append(made)

    def _rehearsed(self, waiting: dict[str, Twin]) -> dict[str, tuple[Twin, Output]]:
        """Those that were due; where one of them has a fault, the others go on without it."""
        try:
            return rehearse(waiting, self._forecaster)
        except Exception:
            if len(waiting) == 1:
                log.exception("no shadow forecasts for the twin of %s: a fault; the others go on", *waiting)
                return {}
        return {name: made for one in waiting for name, made in self._rehearsed({one: waiting[one]}).items()}

    def events(self, patient: str) -> list[Event]:
        """What is to be told of one patient, in the order in which it was made."""
        return [event for made in self._story(patient).made for event in made.events]

    def written(self, patient: str, now_ms: int, counts: Mapping[str, int]) -> list[TwinWrite]:
        """What goes to the browser and to rest for one patient: one entry, or more where the wire needs more."""
        story, twin = self._story(patient), self._twins[patient]
        events = [event_json(event) for event in self.events(patient)]
        facts = status(twin) | {"t": now_ms / 1e3, "counters": dict(counts)}
        snapshot = codec.dump(twin) if story.changed else None
        live = _wires(FrameKind.LIVE, now_ms, [s for made in story.made for s in made.samples])
        revised = _wires(FrameKind.REVISION, now_ms, [s for made in story.made for s in made.revisions])
        *first, (frame, revision) = zip_longest(live, revised, fillvalue=b"")
        writes = [TwinWrite(patient, one, other, None, [], story.frame_ms, None) for one, other in first]
        return [*writes, TwinWrite(patient, frame, revision, facts, events, story.frame_ms, snapshot)]

    def _story(self, patient: str) -> _Story:
        """Hers, or that of a round in which nothing happened to her."""
        return self._stories.get(patient, _Story())


def _wires(kind: FrameKind, now_ms: int, samples: list[Samples]) -> list[bytes]:
    """Wire messages, one at least; an empty one where there is no sample."""
    return encode_wires(kind, now_ms / 1e3, samples) if samples else [b""]

"""The engine's story, one shard: read, open and prove, deduplicate, log, align, judge, synthesise, fold, commit.

One round takes what the raw stream and the acts stream hold after the cursor, in the order in which it was written,
folds it, lets the clock tick, and commits everything at once: samples, snapshots, leaves, sessions, cards, receipts and
the cursor. A round that fails is forgotten whole; the engine
reads its state back from the store and goes on. Synthesis happens inside the fold (:mod:`twin_engine.twin`).
"""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections.abc import Callable, Sequence, Set

from device.frame import FrameError
from security.envelope import parse_header
from security.errors import Reason, Rejected
from security.identity import EngineIdentity, Trust
from security.keys import MasterKey
from security.rate import TooMany
from security.replay import Fragmented
from security.suite import STRONGEST_FIRST
from twin_engine import codec
from twin_engine.alarms import Alarms
from twin_engine.align import DeviceClock, readings_of, split_by_patient
from twin_engine.book import Book
from twin_engine.commanding import Commands
from twin_engine.limits import limits_by_signal
from twin_engine.messages import (
    Acted,
    Assigned,
    Output,
    Recorded,
    Refused,
    Released,
    SetBack,
    Tick,
    set_back_ms,
)
from twin_engine.pace import Pace
from twin_engine.prove import Gate, Proven, Session, is_live
from twin_engine.recipients import Recipients
from twin_engine.records import ACTED, Act, ActRefused, Turn
from twin_engine.status import event_json
from twin_engine.store.acts import RawAct
from twin_engine.store.commit import Commit, DeadLetter, Order, TwinWrite
from twin_engine.store.errors import Erased, NotOwner, StoreDown, StoreError
from twin_engine.store.heads import OLDER
from twin_engine.store.ledger import Line
from twin_engine.store.raw import RawAnswer, RawEvent, RawRecord
from twin_engine.store.shard import READ_COUNT, Read, ShardStore
from twin_engine.stories import Stories
from twin_engine.synthesise import Forecaster
from twin_engine.told import told
from twin_engine.twin import TICKS_US, Twin

log = logging.getLogger(__name__)

TICK_MS = TICKS_US[1] // 1000
HASTE_MS = TICKS_US[0] // 1000  # for twins whose frames come more often than ticks
STATUS_MS = 1000
BELIEF_MS = 500  # between two looks at who was revoked
RENEW_MS = 1500
TRIM_MS = 60_000
EXPIRE_MS = 600_000
RETURN_MS = 5_000  # between two looks at whether somebody who could not be read can be again
ROUND_S = 1.0  # well below the lease, so that an engine with a long backlog keeps its shard and its viewers
_MAX_KIND = 20  # characters of what somebody wanted that are told


class _Returned(Exception):
    """A patient who could not be read can be read again."""


class Engine:
    """The one owner of a shard. `clock_ms` is the wall clock (UTC); what is due when goes by `steady_s`.

    `trust` may be asked again and again, and is: who is revoked meanwhile is cut.
    """

    def __init__(
        self,
        store: ShardStore,
        forecaster: Forecaster,
        *,
        trust: Trust | Callable[[], Trust],
        identity: EngineIdentity,
        master: MasterKey,
        clock_ms: Callable[[], int],
        steady_s: Callable[[], float] = time.monotonic,
        suites: Sequence[str] = STRONGEST_FIRST,
    ) -> None:
        self._store, self._forecaster = store, forecaster
        self._trust: Callable[[], Trust] = trust if callable(trust) else lambda: trust
        self._identity, self._master = identity, master
        self._clock_ms, self._steady_s = clock_ms, steady_s
        self._suites = suites
        self._twins: dict[str, Twin] = {}
        self._due_ms: dict[str, int] = {}
        self._faulty = set[str]()  # patients whose last round could not be written
        self._pace = Pace(TICK_MS / 1e3, steady_s())

    def run(self, stop: threading.Event) -> None:
        """Own the shard until `stop`; wait for it, lose it, take it again as need be."""
        while not stop.is_set():
            try:
                if not self._store.acquire():
                    stop.wait(0.25)
                    continue
                self._resume()
                while not stop.is_set():
                    self._round()
                self._store.release()
            except (NotOwner, Erased, _Returned) as error:  # who was erased is swept away when the shard is taken again
                log.warning("%s", error)
            except Rejected as error:
                if error.reason not in (Reason.ERASED, Reason.UNSAFE_KEY):
                    raise
                log.warning("%s", error)  # erased a moment ago, or her key can't be used any more: the same
            except StoreDown as error:
                log.warning("%s; trying again in a second", error)
                stop.wait(1.0)

    def _resume(self) -> None:
        """Everything as the last commit left it."""
        at = self._store.cursor()
        self._cursor, self._acts, self._tick_us, self._counts = at.id, at.acts, at.tick_us, dict(at.counts)
        self._gate = Gate(self._trust(), self._store.sessions(), self._suites, self._steady_s)
        self._recipients = Recipients(self._master, self._identity, self._store.recipients(), self._suites)
        self._commands = Commands(self._gate, self._recipients.patient_of)
        self._book = Book(self._store)
        self._clocks: dict[str, DeviceClock] = {}
        self._put_back = dict[str, str]()  # patient -> what is wrong with the state that lay in the store, until told
        self._hub = (self._clock_ms(), self._now_ms())  # its clock at a moment of the steady one
        self._oldest_ms: int | None = None
        self._twins = {p: self._stored_twin(p) for p in self._book.everybody() if self._store.is_readable(p)}
        self._left_out = {p for p in self._store.patients() if not self._store.is_readable(p)}
        for patient in sorted(self._left_out):
            log.error("nothing of %s can be read: she is left out until her key is back; the others go on", patient)
        log.info("owner of shard %s from %s: %d twins", self._store.shard, self._cursor, len(self._twins))

    def _stored_twin(self, patient: str) -> Twin:
        """As it was put to rest. One that another version wrote, or that is not the newest, starts anew: it learns
        again, nothing is invented, and its limits are those of the card.
        """
        try:
            wrong = self._store.put_back(patient)
            if wrong is not None:
                self._put_back[patient] = wrong
                log.error("the stored twin of %s is not the last one that was written (%s)", patient, wrong or "older")
            snapshot = None if wrong == OLDER else self._store.snapshot(patient)
            if snapshot is not None:
                return codec.load(Twin, snapshot)
        except (ValueError, Rejected, zlib.error) as error:
            log.warning("twin of %s starts anew: %s", patient, error)
        return self._new_twin(patient)

    def _new_twin(self, patient: str) -> Twin:
        """A twin that knows her limits and nothing else."""
        card = self._book.cards.get(patient)
        return Twin(patient) if card is None else Twin(patient, alarms=Alarms(limits=limits_by_signal(card)))

    # ------------------------------------------------------------------------------------------- one round

    def _round(self) -> None:
        """Read, fold, tick, commit."""
        self._chores()
        hasty = {patient for patient, twin in self._twins.items() if twin.tick_us < TICKS_US[1]}
        next_ms = min(self._due_ms.get(name, 0) for name in (("tick", "haste") if hasty else ("tick",)))
        records = self._store.read(self._cursor, self._acts, min(TICK_MS, max(1, next_ms - self._now_ms())))
        began_s = self._steady_s()
        work = Commit(self._cursor, self._tick_us, oldest_ms=self._oldest_ms)
        stories = Stories(self._twins, self._forecaster)
        self._follow_clock(work, stories)
        self._cut_revoked(stories)
        self._tell_unanswered(stories)
        for patient, wrong in self._put_back.items():
            event = told(self._clock_ms(), "put-back", "alarm", variant=wrong)
            stories.add(patient, Output(events=(event,)))
        taken = self._take_in(records, began_s, work, stories)
        now_ms = self._clock_ms()
        stories.rehearse()
        everyone, haste = self._is_due("tick", TICK_MS), self._is_due("haste", HASTE_MS)
        if (everyone or (haste and hasty)) and taken == len(records) < READ_COUNT:  # what waits is not silence
            self._tick(self._twins.keys() if everyone else hasty, now_ms, work, stories)
        self._commit(work, stories, now_ms, bool(records))
        self._put_back.clear()
        if records or stories.patients:
            now_s = self._steady_s()
            if line := self._pace.note(now_s - began_s, now_s):
                log.info("shard %s: %s", self._store.shard, line)

    def _take_in(self, records: list[Read], began_s: float, work: Commit, stories: Stories) -> int:
        """How many records this round took: what would take too long is read again, after a commit and a renewal."""
        for count, read in enumerate(records, 1):
            if read.is_act:
                self._act(read, work, stories)
                self._acts = work.acts = read.id
            else:
                self._record(read, work, stories)
                self._cursor = work.cursor = read.id
            if self._steady_s() - began_s > ROUND_S:
                return count
        return len(records)

    def _chores(self) -> None:
        """What is done now and then."""
        if self._is_due("renew", RENEW_MS):
            self._store.renew()
        if self._is_due("trim", TRIM_MS):
            now_ms = self._clock_ms()
            self._oldest_ms = self._store.trim(now_ms, self._cursor, self._acts, self._now_ms())
            self._store.set_aside(now_ms)
        if self._is_due("expire", EXPIRE_MS) and (over := self._gate.expire(self._hub_now_ms())):
            self._count("sessions_expired", over)
        if self._is_due("return", RETURN_MS) and any(self._store.is_readable(p) for p in self._left_out):
            raise _Returned("expected some patients' keys to be missing, and they are back; reading everything anew")

    def _follow_clock(self, work: Commit, stories: Stories) -> None:
        """Where the clock lies clearly behind what was reached, it was ahead and was set right: all begins anew there.

        Also at a start, where the one who ran before was ahead. Every other step is the clock's own to believe
        (:mod:`twin_engine.steady`).
        """
        now_ms = self._clock_ms()
        step_ms = set_back_ms(now_ms, self._tick_us // 1000)
        if not step_ms:
            for patient, twin in list(self._twins.items()):  # left out, or put back, when the others began anew
                if own_ms := set_back_ms(now_ms, twin.now_us // 1000):
                    self._begin_anew(patient, SetBack(now_ms, own_ms), stories)
            return
        log.error("shard %s: the clock was ahead by %.0f s; its twins begin anew", self._store.shard, step_ms / 1e3)
        self._store.set_aside(now_ms)
        self._tick_us = work.tick_us = now_ms * 1000
        self._count("clock_set_back", 1)
        self._clocks.clear()
        self._book.set_back(now_ms, step_ms, work)
        for patient in list(self._twins):
            self._begin_anew(patient, SetBack(now_ms, step_ms), stories)

    def _begin_anew(self, patient: str, message: SetBack, stories: Stories) -> None:
        try:
            stories.fold(patient, message)
        except Exception:
            log.exception("the twin of %s can't go back: a fault; it learns anew", patient)
            self._twins[patient] = self._new_twin(patient)

    def _cut_revoked(self, stories: Stories) -> None:
        """Sessions of certificates that were revoked end now, and the patient's story says so."""
        if not self._is_due("belief", BELIEF_MS):
            return
        for device in sorted(self._gate.believe(self._trust())):
            self._count("revoked", 1)
            log.warning("the certificate of %s was revoked: its sessions are closed, what it sends is refused", device)
            patient = self._book.current(device)
            if patient in self._twins:
                stories.fold(patient, Refused(device, Reason.REVOKED.value, "its certificate", self._clock_ms()))

    def _tell_unanswered(self, stories: Stories) -> None:
        """Commands that no device has answered."""
        if self._is_due("answers", STATUS_MS):
            for patient, result in self._commands.overdue(self._clock_ms()):
                if patient in self._twins:
                    stories.fold(patient, result)

    def _is_due(self, name: str, every_ms: int) -> bool:
        """Whether it is time for something; if so, sets its next time. A wall clock that jumps changes nothing here."""
        now_ms = self._now_ms()
        if now_ms < self._due_ms.setdefault(name, now_ms):
            return False
        self._due_ms[name] = now_ms + every_ms
        return True

    def _hub_now_ms(self) -> int:
        """The hub's clock, by which it is judged what may come; a clock of ours that is ahead ends nothing for good."""
        hub_ms, then_ms = self._hub
        return min(self._clock_ms(), hub_ms + self._now_ms() - then_ms)

    def _now_ms(self) -> int:
        return int(self._steady_s() * 1000)

    def _commit(self, work: Commit, stories: Stories, now_ms: int, had_records: bool) -> None:
        """Everything of this round in one transaction; nothing, where there is nothing to say."""
        beat = self._is_due("status", STATUS_MS)
        if not (had_records or stories.changed or beat or work.orders):
            return
        for device, sid in self._gate.take_outdated():
            work.orders.append(Order(device, "receipt", sid.hex(), {}))
        frozen, touched = self._gate.take_changed()
        owners = [self._owner(name, session) for name, session in zip(frozen, touched, strict=True)]
        work.sessions = {name: (owner, blob) for owner, (name, blob) in zip(owners, frozen.items(), strict=True)}
        for name, left in self._gate.take_buried().items():  # of sessions that are over: no secret, so anybody's key
            if keyholder := self._book.keyholder(name.split(b"|")[0].decode()):
                work.sessions[name] = (keyholder, left)
        for session in touched:
            receipt = session.opener.make_receipt(session.seen.upto, session.seen.extra, now_ms)
            work.orders.append(Order(session.opener.device, "receipt", session.opener.sid.hex(), receipt))
        patients = stories.patients | (self._told_of() if beat else set())
        work.twins = [w for patient in sorted(patients) for w in self._written(patient, stories, now_ms)]
        work.counts = dict(self._counts)
        self._store.commit(work)

    def _written(self, patient: str, stories: Stories, now_ms: int) -> list[TwinWrite]:
        """What one patient's round comes to. A fault leaves out her samples and is told; the others go on."""
        try:
            writes = stories.written(patient, now_ms, self._counts)
        except Exception:
            log.exception("what was made for %s can't be written: a fault; it is left out, the others go on", patient)
            self._count("faults", 1)
            lines = stories.events(patient)
            if patient not in self._faulty:  # one that lasts is told once, and not every second
                lines.append(told(now_ms, "fault", "alarm"))
            self._faulty.add(patient)
            return [TwinWrite(patient, b"", b"", None, [event_json(line) for line in lines], 0, None)]
        self._faulty.discard(patient)
        return writes

    # ---------------------------------------------------------------------------------------- into the fold

    def _record(self, read: Read, work: Commit, stories: Stories) -> None:
        """One raw record. What can't be used goes to the dead letters with its reason, and the story is told."""
        device = read.fields.get(b"device", b"").decode(errors="replace")
        try:
            if not isinstance(read.record, RawRecord):
                raise FrameError("expected an event or an answer, got another kind of record; left out")
            verdict = self._take(read.record, work, stories)
            if verdict:
                work.ledger.append(Line(read.id, verdict=verdict))
        except StoreError:
            raise  # no fault of the record: the round is forgotten, and it comes again
        except TooMany as error:
            self._count("throttled", 1)
            if error.first:  # told once a spell: a flood of records must not become one of words
                self._refuse(read, device, error, work, stories)
            else:
                work.ledger.append(Line(read.id, verdict="throttled"))
        except Exception as error:  # noqa: BLE001 - the edge: whatever one record does, the shard must go on
            self._refuse(read, device, error, work, stories)

    def _refuse(self, read: Read, device: str, error: Exception, work: Commit, stories: Stories) -> None:
        """A dead letter, a counter, a line in the story."""
        reason = _reason(error)
        self._count("refused", 1)
        work.dead.append(DeadLetter(read.id, device, reason, str(error), read.fields.get(b"body", b"")))
        if not work.ledger or work.ledger[-1].record != read.id:  # else it was proven, and failed after that
            work.ledger.append(Line(read.id, verdict="dead"))
        log.warning("refused a message of %s (%s): %s", device, reason, error)
        patient = self._book.current(device)
        if patient in self._twins:
            stories.fold(patient, Refused(device, reason, str(error), self._clock_ms()))

    def _act(self, read: Read, work: Commit, stories: Stories) -> None:
        """One act of a person. One that can't be carried out is a dead letter and a warning; the shard goes on."""
        act = None
        try:
            if not isinstance(read.record, RawAct):
                raise ActRefused("malformed", "expected an act of a person, got another kind of entry; left out")
            act = read.record.open(self._master, self._store.shard)
            turn = self._book.carry_out(act, read.record.t_ms, work)
            if act.kind == "command":
                work.orders.append(self._commands.order(act, read.record.t_ms, self._clock_ms()))
            self._count("acts", 1)
            self._tell_act(act, turn, work, stories)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - the edge: whatever one act does, the shard must go on
            reason = _reason(error)
            self._count("acts_refused", 1)
            about = "" if act is None else act.patient
            work.dead.append(DeadLetter(read.id, "", reason, str(error), read.fields.get(b"b", b"")))
            log.warning("refused an act on %s (%s): %s", about or "nobody known", reason, error)
            if act is not None and about in self._twins:
                said = {"act": act.kind[:_MAX_KIND], "reason": reason, "detail": str(error)}
                event = told(self._clock_ms(), "act-refused", "warning", who=act.who, variant="record", **said)
                stories.add(about, Output(events=(event,)))

    def _tell_act(self, act: Act, turn: Turn, work: Commit, stories: Stories) -> None:
        """What was carried out, to the twin, and in its story."""
        if act.patient not in self._twins:
            self._twins[act.patient] = self._new_twin(act.patient)
        for device in turn.released:
            stories.fold(act.patient, Released(device, act.t_ms), untold="released")
        if turn.assigned:
            stories.fold(act.patient, Assigned(turn.assigned, act.patient, act.t_ms), untold="assigned")
            self._hand_out_key(turn.assigned, work)
        if act.kind in ("admit", "limits"):
            stories.fold(act.patient, Recorded(limits_by_signal(turn.card), act.t_ms))
        if act.kind in ACTED:
            stories.fold(act.patient, Acted(act.kind, act.body, act.who, act.t_ms))
        lines = [told(act.t_ms, line.kind, "info", who=act.who, **line.facts) for line in turn.told]
        stories.add(act.patient, Output(events=tuple(lines)))

    def _take(self, record: RawRecord, work: Commit, stories: Stories) -> str:
        """Why the record has no entry in the log; empty where it has one."""
        match record:
            case RawEvent():
                self._hub = (record.enqueued_ms, self._now_ms())
                sealed = (record.id, record.device, record.body, record.enqueued_ms)
                proven = self._gate.check(*sealed, lambda kid: self._recipients.private(record.device, kid))
                if proven is not None:
                    self._proven(record, proven, work, stories)
                    return ""
                if parse_header(record.body).is_open:
                    return "open"
                self._count("duplicates", 1)
                return "duplicate"
            case RawAnswer():
                heard = self._commands.hear(record)
                if heard is None or heard[1].doubt:
                    self._count("answers_refused", 1)
                if heard is not None and heard[0] in self._twins:
                    stories.fold(*heard)
        return "answer"

    def _proven(self, record: RawEvent, proven: Proven, work: Commit, stories: Stories) -> None:
        """Log it, put it into event time, and fold it into the twin of whom it belongs to."""
        work.ledger.append(Line(record.id, proven.entry))
        frame = proven.frame
        readings = sum(c is not None for block in frame.blocks for c in block.counts)
        self._count("stored", readings)
        self._count("frames", 1)
        clock = self._clocks.get(record.device, DeviceClock())
        if is_live(proven.session):
            clock = self._clocks[record.device] = clock.learn(frame.epoch, frame.device_time_ms, record.enqueued_ms)
        live = is_live(proven.session) and clock.is_live(frame.device_time_ms, record.enqueued_ms)
        offset_ms = clock.corrected_ms(frame.device_time_ms, record.enqueued_ms) - frame.device_time_ms
        whole = readings_of(record.device, frame, offset_ms, live)
        for patient, part in split_by_patient(whole, self._book.history(record.device)).items():
            if patient is None or patient not in self._twins:
                self._count("unassigned", sum(len(block.values) for block in part.channels))
                continue
            stories.hear(patient, part, frame.device_time_ms)

    def _hand_out_key(self, device: str, work: Commit) -> None:
        """A signed recipient key for the device, sent down as a desired property."""
        recipient, kid, wrapped = self._recipients.create(device, self._clock_ms(), self._book.keyholder(device))
        work.recipients[kid] = wrapped
        work.orders.append(Order(device, "desired", "recipient", {"recipient": recipient.to_json()}))

    def _tick(self, patients: Set[str], now_ms: int, work: Commit, stories: Stories) -> None:
        """Time passes for these twins; keys that grow old are replaced."""
        self._tick_us = work.tick_us = max(self._tick_us, now_ms * 1000)
        for patient in sorted(self._book.measured() & patients):
            try:
                stories.fold(patient, Tick(self._tick_us))
            except Exception:
                log.exception("no time passes for the twin of %s: a fault; the others go on", patient)
        for device in self._recipients.due(now_ms):
            if self._book.current(device) is not None:
                self._hand_out_key(device, work)

    def _owner(self, name: bytes, session: Session) -> str:
        """The patient under whose key a session is put to rest: she for whom its device was given its key."""
        return self._recipients.patient_of(session.opener.kid) or self._book.keyholder(name.split(b"|")[0].decode())

    def _told_of(self) -> set[str]:
        """Patients of whom there is a word every second: who is here, or measured. Time passes only for the latter."""
        return (self._book.here() | self._book.measured()) & self._twins.keys()

    def _count(self, name: str, by: int) -> None:
        self._counts[name] = self._counts.get(name, 0) + by


def _reason(error: Exception) -> str:
    """A short code. What is no fault of the message is one of ours, and shows its traceback in the log."""
    if isinstance(error, (Rejected, ActRefused)):
        return error.reason
    if isinstance(error, (FrameError, Fragmented, ValueError)):
        return "malformed"
    log.exception("a record could not be folded")
    return "fault"

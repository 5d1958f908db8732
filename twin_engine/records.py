"""What people do to a patient's record, as values and rules: an act comes in, the new card and what happened go out.

Nothing here does I/O. An act that can't be carried out raises :class:`ActRefused` and has changed nothing. Whether a
device is free is not known here: who carries acts out (:mod:`twin_engine.book`) asks before it believes an assignment.

===========  ================================================  ==================================================
kind         body                                              what it does
===========  ================================================  ==================================================
admit        pseudonym, bed; any of :data:`FACTS`, ``device``  begins a stay; a discharged patient is admitted again
edit         some of :data:`FACTS`                             corrects the card
transfer     bed                                               moves her
discharge    nothing                                           ends the stay and releases her devices
assign       device                                            the device speaks for her from now on
release      device                                            the device speaks for nobody from now on
exchange     old, new                                          both at once
limits       signal, and what differs; or ``reset: true``      her own alarm limits of a signal
ack          alarm (an id, a list of ids, or ``all``)          for the fold: :class:`twin_engine.messages.Acted`
pause        seconds, 1 to 120                                 the same
resume       nothing                                           the same
command      device, name, payload; ``lasting``: a setting     the device is told (:mod:`twin_engine.commanding`)
===========  ================================================  ==================================================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from security.commands import MAX_BODY_BYTES, MAX_COMMAND_NAME
from security.identity import is_device_id
from twin_engine import limits
from twin_engine.alarms import MAX_ACKNOWLEDGED
from twin_engine.facts import FACTS, ActRefused, fact, number, only, shown
from twin_engine.registry import PAUSE_S, PatientCard

__all__ = ["ACTED", "FACTS", "Act", "ActRefused", "Told", "Turn", "carry_out"]

ACTED = ("ack", "pause", "resume")  # these change no record
EARLIEST_MS, AHEAD_MS = 60_000, 5_000  # how far an act's time may lie before and after that of its entry
_MAX_TEXT = 80  # characters of a patient, a kind and a person


@dataclass(frozen=True, slots=True)
class Act:
    """What `who` wants done to a patient. `t_ms` is the clock of whoever wrote it down, UTC."""

    patient: str
    kind: str
    body: Mapping[str, Any]
    who: str
    t_ms: int

    def to_bytes(self) -> bytes:
        """For the store. Raises TypeError or ValueError where the body is no JSON."""
        return json.dumps(asdict(self) | {"body": dict(self.body)}, allow_nan=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Act:
        """The inverse of :meth:`to_bytes`. Raises ActRefused on anything else."""
        try:
            made = cls(**json.loads(data))
        except (ValueError, TypeError, RecursionError) as error:
            raise ActRefused(
                "malformed", f"expected an act of a person, got other bytes ({error}); left out"
            ) from error
        texts = {"patient": made.patient, "kind": made.kind, "who": made.who}
        wrong = [name for name, text in texts.items() if not isinstance(text, str) or len(text) > _MAX_TEXT]
        if wrong or not made.patient or not isinstance(made.body, dict) or type(made.t_ms) is not int:
            raise ActRefused("malformed", "expected patient, kind, body, who and time of an act, got others; left out")
        return made


@dataclass(frozen=True, slots=True)
class Told:
    """A line for the twin's story."""

    kind: str
    facts: Mapping[str, str] = field(default_factory=dict)  # for its sentence (:mod:`twin_engine.told`)


@dataclass(frozen=True, slots=True)
class Turn:
    """What an act comes to. `card` is the new one; a device in `released` spoke for her until now."""

    card: PatientCard
    released: tuple[str, ...] = ()
    assigned: str = ""
    told: tuple[Told, ...] = ()


def carry_out(act: Act, card: PatientCard | None, devices: tuple[str, ...], entry_ms: int) -> Turn:
    """The act on the patient's present card (None: unknown) and the devices that speak for her. Raises ActRefused.

    `entry_ms` is the store's own clock when the act was written down: nobody acts in the future or long ago.
    """
    if not entry_ms - EARLIEST_MS <= act.t_ms <= entry_ms + AHEAD_MS:
        off_s = (act.t_ms - entry_ms) / 1000
        text = f"expected an act of now, got one {off_s:.0f} s off; nothing changed, set the clocks right"
        raise ActRefused("bad-time", text)
    if act.kind == "admit":
        return _admit(act, card)
    if act.kind not in _RULES:
        raise ActRefused("unknown-act", f"expected one of {', '.join(_KINDS)}, got {shown(act.kind)}; nothing changed")
    if card is None:
        raise ActRefused("unknown-patient", f"expected an admitted patient, got {shown(act.patient)}; nothing changed")
    if not card.present:
        raise ActRefused(
            "discharged", f"expected a patient who is here, but she was discharged; {act.kind} changed nothing"
        )
    return _RULES[act.kind](act, card, devices)


def _admit(act: Act, card: PatientCard | None) -> Turn:
    """A new stay. To admit again who is here, with the same facts, changes nothing."""
    only(act.body, (*FACTS, "device"))
    facts: dict[str, Any] = {name: fact(name, value) for name, value in act.body.items() if name != "device"}
    device = _device(act.body, "device") if act.body.get("device") else ""
    if card is not None and card.present:
        if all(getattr(card, name) == value for name, value in facts.items()) and device in ("", card.device):
            return Turn(card)
        raise ActRefused(
            "already-here", "expected a patient who is not here yet, got one who is; edit her card instead"
        )
    if card is None:
        if not is_device_id(act.patient):  # the same letters serve: they stand in keys and in addresses of pages
            raise ActRefused("malformed", f"expected an opaque id, got {shown(act.patient)}; nobody was admitted")
        missing = [name for name in ("pseudonym", "bed") if not facts.get(name)]
        if missing:
            raise ActRefused("malformed", f"expected a pseudonym and a bed, got no {missing[0]}; nobody was admitted")
        card = PatientCard(act.patient, "", 0, "")
    admitted = replace(card, **facts, device="", limits={}, admitted_ms=act.t_ms, discharged_ms=None)
    told = (Told("admitted", {"bed": admitted.bed}),)
    return Turn(replace(admitted, device=device), (), device, told + _came(device))


def _edit(act: Act, card: PatientCard, _devices: tuple[str, ...]) -> Turn:
    only(act.body, FACTS)
    facts: dict[str, Any] = {name: fact(name, value) for name, value in act.body.items()}
    changed = sorted(name for name, value in facts.items() if getattr(card, name) != value)
    if not changed:
        return Turn(card)
    # which facts, not what they say: the story is read by more people than the card
    told = Told("edited", {"fields": ", ".join(changed)})
    return Turn(replace(card, **facts), told=(told,))


def _transfer(act: Act, card: PatientCard, _devices: tuple[str, ...]) -> Turn:
    only(act.body, ("bed",))
    bed = str(fact("bed", act.body.get("bed")))
    if bed == card.bed:
        return Turn(card)
    told = Told("transferred", {"from": card.bed, "to": bed})
    return Turn(replace(card, bed=bed), told=(told,))


def _discharge(act: Act, card: PatientCard, devices: tuple[str, ...]) -> Turn:
    only(act.body, ())
    gone = replace(card, device="", discharged_ms=act.t_ms)
    told = Told("discharged", {"bed": card.bed})
    return Turn(gone, devices, "", (*_left(*devices), told))


def _assign(act: Act, card: PatientCard, devices: tuple[str, ...]) -> Turn:
    """To assign again what speaks for her already changes nothing: its key and its past stay."""
    only(act.body, ("device",))
    device = _device(act.body, "device")
    if device in devices:
        return Turn(card)
    return Turn(replace(card, device=device), (), device, _came(device))


def _release(act: Act, card: PatientCard, devices: tuple[str, ...]) -> Turn:
    only(act.body, ("device",))
    device = _own(_device(act.body, "device"), devices)
    return Turn(_without(card, device, devices), (device,), "", _left(device))


def _exchange(act: Act, card: PatientCard, devices: tuple[str, ...]) -> Turn:
    only(act.body, ("old", "new"))
    old, new = _own(_device(act.body, "old"), devices), _device(act.body, "new")
    if old == new:
        raise ActRefused("malformed", f"expected two devices, got {old} twice; nothing changed")
    return Turn(replace(card, device=new), (old,), new, _left(old) + _came(new))


def _limits(act: Act, card: PatientCard, _devices: tuple[str, ...]) -> Turn:
    own, facts = limits.changed(act.body, card)
    return Turn(replace(card, limits=own), told=(Told("limits-changed", facts),))


def _acted(act: Act, card: PatientCard, _devices: tuple[str, ...]) -> Turn:
    """Only its form: what it does is the fold's."""
    wanted = {"ack": ("alarm",), "pause": ("seconds",), "resume": ()}[act.kind]
    only(act.body, wanted)
    if act.kind == "ack":
        _alarm_ids(act.body.get("alarm"))
    if act.kind == "pause":
        number("seconds", act.body.get("seconds"), "malformed", *PAUSE_S)
    return Turn(card)


def _command(act: Act, card: PatientCard, devices: tuple[str, ...]) -> Turn:
    """Only its form, and that the device is hers: what the device makes of it is its own."""
    only(act.body, ("device", "name", "payload", "lasting"))
    device, name, payload = (act.body.get(part) for part in ("device", "name", "payload"))
    _own(_device(act.body, "device"), devices)
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= MAX_COMMAND_NAME
        or not name.isascii()
        or not name.isprintable()
    ):
        raise ActRefused("malformed", f"expected the name of a command, got {shown(name)}; nothing was sent")
    if not isinstance(payload, dict) or len(json.dumps(payload)) > MAX_BODY_BYTES:
        raise ActRefused(
            "malformed", f"expected a payload of {MAX_BODY_BYTES} bytes at most, got another; nothing was sent"
        )
    if type(act.body.get("lasting", False)) is not bool:
        raise ActRefused("malformed", "expected lasting to be true or false, got another; nothing was sent")
    facts = {"variant": "set", "device": str(device), "command": name, "status": ""}
    return Turn(card, told=(Told("command", facts),) if act.body.get("lasting") else ())


def _alarm_ids(wanted: object) -> None:
    ids = wanted if isinstance(wanted, list) else [wanted]
    if not 0 < len(ids) <= MAX_ACKNOWLEDGED or not all(isinstance(name, str) and name for name in ids):
        raise ActRefused(
            "malformed",
            f"expected an alarm's id, 1 to {MAX_ACKNOWLEDGED} of them, or 'all', got others; nothing was acknowledged",
        )


_RULES: dict[str, Callable[[Act, PatientCard, tuple[str, ...]], Turn]] = {
    "edit": _edit,
    "transfer": _transfer,
    "discharge": _discharge,
    "assign": _assign,
    "release": _release,
    "exchange": _exchange,
    "limits": _limits,
    "command": _command,
    **dict.fromkeys(ACTED, _acted),
}
_KINDS = ("admit", *_RULES)


def _device(body: Mapping[str, Any], name: str) -> str:
    device = body.get(name)
    if not is_device_id(device):
        raise ActRefused("malformed", f"expected a device's id as {name}, got {shown(device)}; nothing changed")
    return str(device)


def _own(device: str, devices: tuple[str, ...]) -> str:
    if device not in devices:
        raise ActRefused("not-hers", f"expected a device that speaks for this patient, got {device}; nothing changed")
    return device


def _without(card: PatientCard, device: str, devices: tuple[str, ...]) -> PatientCard:
    """The card after a release: it names another of her devices, if there is one."""
    left = [other for other in devices if other != device]
    return card if card.device in left else replace(card, device=left[-1] if left else "")


def _came(device: str) -> tuple[Told, ...]:
    told = Told("assigned", {"device": device})
    return (told,) if device else ()


def _left(*devices: str) -> tuple[Told, ...]:
    return tuple(Told("released", {"device": device}) for device in devices)

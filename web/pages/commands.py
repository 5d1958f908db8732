"""The command bar: which buttons there are, what each sends to the device, and how each looks while it waits.

A button's words are in the catalogue: ``command.<id>``, ``command.<id>.out`` while its signal is unplugged, and
``command.<id>.title``.

One row a button. A row with a `signal` plugs that signal out and in; its state is what the device reports, not what
was pressed. Any other row is answered by the first event of one of its `kinds`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from web.words import Translate


@dataclass(frozen=True, slots=True)
class Button:
    """One button of the demo bar."""

    id: str
    method: str  # the device's direct method
    signal: str = ""  # channels whose id starts with this
    kinds: tuple[str, ...] = ("command",)
    demo: bool = False  # in a demo alone


@dataclass(frozen=True, slots=True)
class Face:
    """What a button shows now."""

    label: str
    pending: bool  # sent, not yet answered
    disabled: bool
    note: str  # "" or why the last press failed


BUTTONS = (
    Button("btn-emg", "sensor", "emg", demo=True),
    Button("btn-gsr", "sensor", "gsr", demo=True),
    Button("btn-tamper", "tamper", kinds=("refused",), demo=True),
    Button("btn-identify", "identify"),
)
_BY_ID = {b.id: b for b in BUTTONS}


def button(button_id: str) -> Button:
    """The row of that id; KeyError where there is none."""
    return _BY_ID[button_id]


def is_out(row: Button, live: dict[str, Any]) -> bool:
    """Whether the row's signal is unplugged, by the device's own word."""
    return bool(row.signal) and any(str(c).startswith(row.signal) for c in live.get("unplugged", ()))


def payload(row: Button, live: dict[str, Any]) -> dict[str, object]:
    """What the method is given: for a signal, the opposite of its present state."""
    return {"signal": row.signal, "connected": is_out(row, live)} if row.signal else {}


def expectation(row: Button, live: dict[str, Any], now_s: float) -> dict[str, object]:
    """What would answer this press; the page's TwinLink watches for it."""
    answer = payload(row, live) if row.signal else {"kinds": list(row.kinds)}
    return {**answer, "method": row.method, "t": now_s}


def face(row: Button, live: dict[str, Any], asked: dict[str, Any], t: Translate) -> Face:
    """What the button shows in the words of `t`, given the live state and the commands that were sent."""
    pending = row.id in live.get("pending", ()) or _not_yet_seen(row, live, asked)
    missing = bool(row.signal) and not any(str(c).startswith(row.signal) for c in live.get("signals", ()))
    own = t(f"command.{row.id}")
    note = t("command.no_answer", label=own) if row.id in live.get("failed", ()) else ""
    label = t(f"command.{row.id}.out") if is_out(row, live) else own
    disabled = pending or missing or not live.get("connected", False)
    return Face(t("command.waiting") if pending else label, pending, disabled, note)


def _not_yet_seen(row: Button, live: dict[str, Any], asked: dict[str, Any]) -> bool:
    """A press that the page's link has not looked at yet is pending, too."""
    return row.id in asked and asked[row.id].get("t", 0) > live.get("seen", 0)

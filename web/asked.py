"""What a request for history asks for, checked: whose, from when to when, in which view, for which screen.

A request that is not clear is answered with what was expected and what was got (:class:`Refused`), never with a guess.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from twin_engine.registry import PatientCard, shown_number
from twin_engine.store.feed import Feed, Past, View

MAX_SPAN_S = 6 * 3600.0
MAX_WHOLE_S = 600.0  # longest stretch that is given sample by sample
MAX_POINTS = 4000
_MAX_CHANNELS = 64
_WHOLE_WIRE = 60_000  # blocks that one wire message can count


class Refused(Exception):
    """The request can't be answered. `status` is HTTP's; the text says expected, got, consequence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Asked:
    """A checked request. `points`: most samples a channel, 0 = all. `channels`: empty = all."""

    card: PatientCard
    t0_s: float
    t1_s: float
    view: View
    channels: frozenset[str]
    points: int
    zone: ZoneInfo

    @property
    def span_s(self) -> float:
        """How long the stretch is."""
        return self.t1_s - self.t0_s

    def past(self, feed: Feed, view: View, coarse: bool = False) -> Past:
        """What is stored of it, of the channels that were asked for. Raises StoreError."""
        past = feed.history(self.card.id, self.t0_s, self.t1_s, view, coarse)
        if not self.channels:
            return past
        return replace(past, samples={c: s for c, s in past.samples.items() if c in self.channels})


def asked(card: PatientCard | None, patient: str, args: Mapping[str, str], number_needed: bool = False) -> Asked:
    """The request of `args` about `card`. Raises :class:`Refused`: 404, 409 (another's number) or 400."""
    if card is None:
        raise Refused(404, f"expected a patient who is monitored here, got {patient[:64]!r}; nothing was read")
    _check_number(card, args.get("number"), number_needed)
    t0_s, t1_s = _time(args, "from"), _time(args, "to")
    if not t0_s < t1_s:
        raise Refused(400, f"expected from < to, got {t0_s:.3f} and {t1_s:.3f}; nothing was read")
    if t1_s - t0_s > MAX_SPAN_S:
        raise Refused(400, f"expected at most {MAX_SPAN_S:.0f} s, got {t1_s - t0_s:.0f} s; nothing was read")
    channels = frozenset(c for c in args.get("channels", "").split(",") if c)
    if len(channels) > _MAX_CHANNELS:
        raise Refused(400, f"expected at most {_MAX_CHANNELS} channels, got {len(channels)}; nothing was read")
    return Asked(card, t0_s, t1_s, _view(args), channels, _points(args), _zone(args))


def slice_us(span_s: float, points: int, channels: int) -> int:
    """How long a slice of time is so that a channel has about `points` samples and all fit into one message."""
    fit = max(4, min(points, _WHOLE_WIRE // max(1, channels)))
    slice_s = span_s / (fit / 4)
    return max(1, round(slice_s * 1e6)) if slice_s < 1 else math.ceil(slice_s) * 1_000_000


def _check_number(card: PatientCard, number: str | None, needed: bool) -> None:
    if number is None and needed:
        raise Refused(400, "expected number=, the record's number as on the screen, got none; nothing was given out")
    if number is not None and number != shown_number(card):
        raise Refused(409, "expected this patient's record number, got another one; nothing was given out")


def _time(args: Mapping[str, str], name: str) -> float:
    try:
        value = float(args[name])
    except (KeyError, ValueError):
        value = math.nan
    if not 0 <= value <= time.time() + 86_400:
        raise Refused(400, f"expected {name}= in Unix seconds, got {args.get(name, '')[:40]!r}; nothing was read")
    return value


def _view(args: Mapping[str, str]) -> View:
    view = args.get("view", "best")
    if view == "live":
        return "live"
    if view != "best":
        raise Refused(400, f"expected view=live or view=best, got {view[:40]!r}; nothing was read")
    return "best"


def _points(args: Mapping[str, str]) -> int:
    text = args.get("points", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) <= MAX_POINTS):
        raise Refused(400, f"expected points= from 0 (all) to {MAX_POINTS}, got {text[:40]!r}; nothing was read")
    return int(text)


def _zone(args: Mapping[str, str]) -> ZoneInfo:
    name = args.get("zone", "UTC")
    try:
        return ZoneInfo(name[:64])
    except (ValueError, OSError, KeyError) as error:
        raise Refused(
            400, f"expected a time zone such as Europe/Madrid, got {name[:40]!r}; nothing was read"
        ) from error

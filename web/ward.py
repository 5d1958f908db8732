"""One patient in one row: what the ward's page is told of each twin, and what of it is new. Pure.

A row is small on purpose: a hundred of them go to each viewer once a second, and only what changed
(:func:`changes`). Vitals and the sparkline are positional; `channels` says what they are. Provenance travels as the
wire's number (twin_engine/messages.py), 5 where a channel was never shown. Values are in the signal's own unit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from twin_engine.messages import Provenance
from twin_engine.registry import PatientCard

Row = dict[str, Any]
Point = tuple[float, float | None, int]  # Unix s, value or None, provenance

PROVENANCE = {p.name.lower(): int(p) for p in Provenance}
NEVER = 5
VITALS = 4
SPARK_POINTS, SPARK_STEP_S = 60, 0.9
QUIET_FRAMES, QUIET_LEAST_S = 3, 10.0  # a device that sent nothing for longer than this is said to be quiet
STEP, SLACK = 0.25, 0.06  # confidence is sorted in quarters; a row changes its quarter only when clearly beyond
_FIRST = ("hr_bpm", "spo2_pct", "resp_rpm", "emg_activity_mV", "gsr_uS", "skin_temp_C")
_ALARM_FIELDS = ("id", "kind", "channel", "signal", "priority", "since_s", "over_s", "acked_by", "text", "facts")
_UNACKNOWLEDGED, _SILENT, _ACKNOWLEDGED, _UNSURE, _CALM = 40, 30, 20, 10, 0


class Spark:
    """The last minute of a patient's most important channel, one point a second."""

    def __init__(self) -> None:
        self.channel = ""
        self.points: deque[Point] = deque(maxlen=SPARK_POINTS)

    def add(self, status: Mapping[str, Any]) -> None:
        """Take the newest status; one that comes too early after the last point is left out."""
        channels = status.get("channels", {})
        channel = next(iter(vitals_of(channels)), "")
        if channel != self.channel:
            self.channel = channel
            self.points.clear()
        t_s = float(status.get("t", 0.0))
        if self.points and t_s < self.points[-1][0] - SPARK_POINTS:
            self.points.clear()  # the engine's clock was set back
        if channel and (not self.points or t_s - self.points[-1][0] >= SPARK_STEP_S):
            value, provenance, *_ = _vital(channels[channel])
            self.points.append((t_s, value, provenance))


def vitals_of(channels: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Up to four channels that speak for the patient: heart, oxygen, breath, then what else the body and room have."""
    known = [c for c, info in channels.items() if info.get("kind") != "wave"]
    ordered = sorted(known, key=lambda c: (channels[c].get("region") == "room", _rank(c), c))
    first = list({c.partition(".")[0]: c for c in reversed(ordered)}.values())[::-1]  # one of each signal
    return sorted([*first, *(c for c in ordered if c not in first)][:VITALS], key=ordered.index)


def _rank(channel: str) -> int:
    signal = channel.partition(".")[0]
    return _FIRST.index(signal) if signal in _FIRST else len(_FIRST)


def summary(card: PatientCard, status: Mapping[str, Any] | None, silent: Mapping[str, Any] | None, spark: Spark) -> Row:
    """Everything a row shows of one patient. `silent`: the relay's notice, None while the engine speaks."""
    status = status or {}
    channels = status.get("channels", {})
    shown = vitals_of(channels)
    return {
        "card": {"pseudonym": card.pseudonym, "number": card.number or card.id, "born": card.birth_year,
                 "bed": card.bed},
        "alarm": top_alarm(status.get("alarms", ())),
        "audio": (status.get("audio") or {}).get("paused_until_s"),
        "sure": worst(channels),
        "channels": shown,
        "labels": [str(channels[c].get("label", c)) for c in shown],
        "v": [_vital(channels[c]) for c in shown],
        "spark": spark.channel,
        "points": list(spark.points),
        "source": sorted({str(d.get("source", "")) for d in _devices(status)}),
        "device": device_state(card, status),
        "frame_s": max((float(d.get("last_frame_s") or 0) for d in _devices(status)), default=0.0),
        "silent": [round(float(silent["since"]), 1), str(silent["why"])] if silent else None,
    }  # fmt: skip


def top_alarm(alarms: Any) -> dict[str, Any] | None:
    """The alarm that a row shows: of those nobody has acknowledged the highest and newest, else of all. With counts."""
    standing = list(alarms)
    if not standing:
        return None
    fresh = [a for a in standing if not a.get("acked_by")]
    top = max(fresh or standing, key=lambda a: (a["priority"], a["since_s"]))
    return {name: top.get(name) for name in _ALARM_FIELDS} | {"fresh": len(fresh), "all": len(standing)}


def worst(channels: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """[word, confidence 0..1, channel] of the body's channel that is trusted least; ["none", 0, ""] where none is."""
    body = [(c, info) for c, info in channels.items() if info.get("region") != "room"]
    shown = [(c, info) for c, info in body if info.get("provenance") in PROVENANCE]
    if not shown:
        return ["none", 0, ""]
    channel, info = min(shown, key=lambda row: (_trust(row[1]), row[0]))
    return [info["provenance"], round(_trust(info), 2), channel]


def _trust(info: Mapping[str, Any]) -> float:
    word = info.get("provenance")
    if word == "withheld":
        return 0.0
    return 1.0 if word == "measured" else min(0.99, float(info.get("confidence") or 0.0))


def device_state(card: PatientCard, status: Mapping[str, Any]) -> list[Any]:
    """[word, how many channels are unplugged]; word: unknown, none, quiet, unplugged or ok."""
    if not status:
        return ["unknown", 0]
    devices = _devices(status)
    if not devices and not card.device:
        return ["none", 0]
    out = sum(len(d.get("unplugged") or ()) for d in devices)
    patience_s = max(QUIET_LEAST_S, QUIET_FRAMES * float(status.get("frame_interval_s") or 0.0))
    last_s = max((float(d.get("last_frame_s") or 0) for d in devices), default=0.0)
    if not devices or float(status.get("t", 0.0)) - last_s > patience_s:
        return ["quiet", out]
    return ["unplugged" if out else "ok", out]


def _devices(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list((status.get("devices") or {}).values())


def _vital(info: Mapping[str, Any]) -> list[Any]:
    """[value or None, provenance] and, unless it is measured, confidence in percent."""
    provenance = PROVENANCE.get(str(info.get("provenance")), NEVER)
    value = info.get("value")
    honest = None if value is None or value != value or provenance >= PROVENANCE["withheld"] else float(f"{value:.4g}")
    return [honest, provenance, *([round(100 * _trust(info))] if 0 < provenance < NEVER else [])]


def need(row: Row, before: int | None = None) -> int:
    """How much the patient needs somebody; higher comes first. Changes only with a category, so that rows don't jump.

    `before`: the row's last need, which holds a confidence near a category's edge where it was.
    """
    alarm = row["alarm"]
    if alarm and alarm["fresh"]:
        return _UNACKNOWLEDGED + int(alarm["priority"])
    word, confidence, _ = row["sure"]
    if row["silent"] or word == "none" or row["device"][0] in ("none", "quiet"):
        return _SILENT  # nobody watches her, whatever is shown
    if alarm:
        return _ACKNOWLEDGED + int(alarm["priority"])
    return _CALM if word == "measured" else _UNSURE + _quarter(confidence, before)


def _quarter(confidence: float, before: int | None) -> int:
    """4 (least sure) to 1, with hysteresis."""
    if before is not None and _UNSURE < before <= _UNSURE + 4:
        quarter = before - _UNSURE
        low, high = (4 - quarter) * STEP - SLACK, (5 - quarter) * STEP + SLACK
        if low <= confidence <= high:
            return quarter
    return 4 - min(3, int(confidence / STEP))


def changes(old: Row | None, new: Row) -> Row:
    """What of `new` a viewer who knows `old` must be told; points as those that are newer."""
    if old is None:
        return new
    said = {name: value for name, value in new.items() if name != "points" and old.get(name) != value}
    known = old["points"] and old["spark"] == new["spark"] and old["points"][-1] in new["points"]
    last_s = old["points"][-1][0] if known else float("-inf")
    fresh = [p for p in new["points"] if p[0] > last_s]
    return said | ({"points": fresh} if fresh else {})


def packed(row: Row, now_s: float) -> Row:
    """A row, or a part of one, as it travels: points carry their age in seconds rather than their time."""
    if "points" not in row:
        return row
    return row | {"points": [[round(now_s - t_s, 1), value, provenance] for t_s, value, provenance in row["points"]]}

"""What a page shows of a twin besides traces: devices, channels, alarms, lines of its story. Plain values for JSON."""

from __future__ import annotations

from typing import Any

from twin_engine.alarms import LIMIT_KINDS, Alarm, Alarms
from twin_engine.channel_state import ChannelState
from twin_engine.messages import REVISED, Event, Provenance
from twin_engine.told import sentence
from twin_engine.twin import Twin


def status(twin: Twin) -> dict[str, Any]:
    """The twin as it is now (ARCHITECTURE.md describes the shape), without channels that belong to no device."""
    return {
        "t": twin.now_us / 1e6,
        "patient": twin.patient,
        "devices": {
            name: {
                "source": device.source,
                "last_frame_s": device.last_frame_ms / 1e3,
                "unplugged": list(device.unplugged),
            }
            for name, device in twin.devices.items()
        },
        "view_lag_s": twin.view_lag_s,
        "frame_interval_s": twin.frame_interval_s,
        "refused": twin.refused,
        "channels": {name: _channel(state) for name, state in twin.channels.items() if name in twin.owners},
        "alarms": [_alarm(alarm, twin) for alarm in _by_need(twin.alarms)],
        "audio": {"paused_until_s": _seconds(twin.alarms.paused_until_us), "by": twin.alarms.paused_by},
    }


def event_json(event: Event) -> dict[str, Any]:
    """A line of the story, as pages and the record have it."""
    return {
        "t": event.t_ms / 1e3,
        "kind": event.kind,
        "severity": event.severity,
        "text": event.text,
        "channel": event.channel,
        "who": event.who,
        "facts": dict(event.facts),
    }


def _by_need(alarms: Alarms) -> list[Alarm]:
    """Highest priority first, and of one priority the newest."""
    return sorted(alarms.standing, key=lambda alarm: (-alarm.priority, -alarm.since_us, alarm.id))


def _alarm(alarm: Alarm, twin: Twin) -> dict[str, Any]:
    facts = {**alarm.facts, "label": alarm.label, **_present(alarm, twin)}
    facts = {name: text for name, text in facts.items() if text}
    return {
        "id": alarm.id,
        "kind": alarm.kind,
        "channel": alarm.channel,
        "signal": alarm.signal,
        "priority": alarm.priority,
        "since_s": alarm.since_us / 1e6,
        "over_s": _seconds(alarm.over_us),
        "acked_by": alarm.acked_by,
        "acked_s": _seconds(alarm.acked_us),
        "text": sentence(f"alarm.{alarm.kind}", facts),
        "facts": facts,
        "value": alarm.value,
        "limit": alarm.limit,
    }


def _present(alarm: Alarm, twin: Twin) -> dict[str, str]:
    """What is true of an alarm just now: a limit's condition is over, or its sensor no longer measures."""
    if alarm.kind not in LIMIT_KINDS:
        return {}
    if alarm.over_us is not None:
        return {"variant": "over"}
    state = twin.channels[alarm.channel]
    measured = state.shown is not None and state.shown.provenance == Provenance.MEASURED
    return {} if measured else {"variant": "unmeasured"}


def _channel(state: ChannelState) -> dict[str, Any]:
    row, shown = state.row, state.shown
    facts: dict[str, Any] = {
        "label": row.label,
        "signal": row.signal.id,
        "unit": row.signal.unit,
        "kind": str(row.signal.kind),
        "region": row.region,
        "resolution": row.signal.resolution,
        "period_s": state.period_us / 1e6,
        "learning": state.learnt.calibration.learning,
        "scored": state.learnt.calibration.scored,
        "coverage": state.learnt.monitor.coverage,
        "drift": state.drift,
        "quality": {"verdict": state.quality.verdict, "reason": state.quality.reason},
        "last_reading_s": None if state.last_us is None else state.last_us / 1e6,
        "provenance": "none",
    }
    if shown is not None:
        facts |= {
            "provenance": Provenance(shown.provenance & ~REVISED).name.lower(),
            "method": shown.method,
            "value": _finite(shown.value),
            "lower": _finite(shown.lower),
            "upper": _finite(shown.upper),
            "confidence": shown.confidence,
            "since_s": shown.since_us / 1e6,
        }
    return facts


def _finite(value: float) -> float | None:
    """JSON knows no NaN."""
    return value if value == value else None


def _seconds(us: int | None) -> float | None:
    return None if us is None else us / 1e6

"""Measures the judge's scores on falsified recordings of people that nothing was learnt from.

Each of seven anomalies (``inject``) is put into the test people's channels; each score is judged by VUS-PR, the area
under precision and recall, and the events found at 1 and at 6 false alarms an hour (thresholds from validation
people), beside a random score, a moving z-score and a control chart. :func:`by_phase` asks whether real change in a
person, the stress phases, is called odd.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from twin_engine.lab.inject import ANOMALIES, WARM_S, Falsified, inject
from twin_engine.lab.recordings import people_of, split
from twin_engine.lab.scored import Channel, channels_of, scores_of
from twin_engine.lab.vus import Mask, alarms, auprc, found, threshold, vus_pr
from twin_engine.messages import Floats
from twin_engine.model import Generator
from twin_engine.plans import PLANS

PER_HOUR = (1.0, 6.0)  # false alarms
_EVERY_S = 10.0  # a signal of a coarser grid is not judged
_BUFFER_S = 10.0  # an alarm so long after an event is still its


def measure(data: Path, generator: Generator, people: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each trained signal, anomaly, magnitude and score, over the channels of `people`.

    `recall_1ph` and `recall_6ph` are at thresholds chosen for so many false alarms an hour on validation people;
    `false_1ph` and `false_6ph` are those that `people` had at them, in their own recordings. Raises RecordingError
    where a recording can't be read. A signal that `people` or the validation people don't have gives no rows.
    """
    rows = []
    parts = split(list(people_of(data)))
    for signal in _judged(generator):
        tested = channels_of(data, signal, people)
        quiet = {c: scores_of(generator, c, c.values) for c in channels_of(data, signal, parts["validation"])}
        if not (tested and quiet):  # nobody to test, or nobody to choose thresholds on
            continue
        levels = _levels(quiet)
        false = _false_alarms({c: scores_of(generator, c, c.values) for c in tested}, levels)
        for anomaly in ANOMALIES:
            for magnitude in anomaly.magnitudes:
                made = [(c, inject(c.person, c.id, c.values, c.period_s, anomaly, magnitude)) for c in tested]
                about = {"signal": signal, "anomaly": anomaly.name, "magnitude": magnitude}
                rows += [about | row | false[row["score"]] for row in _rows(generator, made, levels)]
    return rows


def _judged(generator: Generator) -> list[str]:
    """The trained signals of people. Rooms move so slowly that minutes hold no event."""
    return [signal for signal in generator.metadata["signals"] if PLANS[signal].grid_s <= _EVERY_S]


def by_phase(data: Path, generator: Generator, people: Sequence[str]) -> list[dict[str, Any]]:
    """False alarms an hour of `people` in stress phases and at rest, at the thresholds of :func:`measure`."""
    rows = []
    parts = split(list(people_of(data)))
    for signal in _judged(generator):
        levels = _levels({c: scores_of(generator, c, c.values) for c in channels_of(data, signal, parts["validation"])})
        tested = [c for c in channels_of(data, signal, people) if np.isfinite(c.stress).any()]
        scored = {c: scores_of(generator, c, c.values) for c in tested}
        for name, level in levels.items() if tested else ():
            row: dict[str, Any] = {"signal": signal, "score": name}
            for phase, wanted in (("rest", 0.0), ("stress", 1.0)):
                inside = {c: c.stress == wanted for c in tested}
                hours = sum(inside[c].sum() * c.period_s for c in tested) / 3600
                raised = [_raised(c, scored[c][name], level[1], inside[c]) for c in tested]
                row |= {f"{phase}_hours": hours, f"{phase}_6ph": sum(raised) / hours if hours else float("nan")}
            rows.append(row)
    return rows


def _levels(quiet: dict[Channel, dict[str, Floats]]) -> dict[str, tuple[float, ...]]:
    """The thresholds of each score for PER_HOUR false alarms an hour."""
    names = next(iter(quiet.values())) if quiet else {}
    periods = [c.period_s for c in quiet]
    judged = {name: [scores[name][_warm(c) :] for c, scores in quiet.items()] for name in names}
    return {name: tuple(threshold(judged[name], periods, rate) for rate in PER_HOUR) for name in names}


def _false_alarms(
    scored: dict[Channel, dict[str, Floats]], levels: dict[str, tuple[float, ...]]
) -> dict[str, dict[str, float]]:
    """False alarms an hour of untouched recordings, by score."""
    hours = sum((len(c.values) - _warm(c)) * c.period_s for c in scored) / 3600
    out = {}
    for name, both in levels.items():
        raised = [sum(_raised(c, scores[name], level) for c, scores in scored.items()) / hours for level in both]
        out[name] = {"false_1ph": raised[0], "false_6ph": raised[1]}
    return out


def _raised(channel: Channel, scores: Floats, level: float, inside: Mask | None = None) -> int:
    above = scores > level
    above[: _warm(channel)] = False
    raised = alarms(above, channel.period_s)
    return len(raised) if inside is None else sum(bool(inside[first]) for first, _ in raised)


def _rows(
    generator: Generator, made: Sequence[tuple[Channel, Falsified]], levels: dict[str, tuple[float, ...]]
) -> list[dict[str, Any]]:
    """One row a score: means over channels, and events found over all of them."""
    curves, hits = defaultdict[str, list[tuple[float, float]]](list), defaultdict[str, list[list[int]]](list)
    made = [(channel, falsified) for channel, falsified in made if falsified.events]  # others are too short
    for channel, falsified in made:
        late, warm = round(_BUFFER_S / channel.period_s), _warm(channel)
        labels = falsified.labels[warm:]
        for name, scores in scores_of(generator, channel, falsified.values).items():
            curves[name].append((vus_pr(labels, scores[warm:], 2 * late), auprc(labels, scores[warm:])))
            hits[name].append([found(scores, falsified.events, level, late) for level in levels[name]])
    events = sum(len(falsified.events) for _, falsified in made)
    hours = sum(len(channel.values) * channel.period_s for channel, _ in made) / 3600
    out = []
    for name, pairs in curves.items():
        vus, plain = np.mean(pairs, axis=0)
        few, many = np.sum(hits[name], axis=0) / events
        shares = {"vus_pr": float(vus), "auprc": float(plain), "recall_1ph": float(few), "recall_6ph": float(many)}
        out.append({"score": name, **shares, "events": events, "hours": hours})
    return out


def _warm(channel: Channel) -> int:
    return round(WARM_S / channel.period_s)

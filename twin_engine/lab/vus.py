"""How good is an anomaly score? Measures over all thresholds, and at the false alarms that a ward would bear.

Volume under the precision-recall surface (VUS-PR: Paparrizos et al. 2022, "Volume Under the Surface: A New Accuracy
Evaluation Measure for Time-Series Anomaly Detection", PVLDB 15:2774), the area under the plain precision-recall curve,
and the share of events found at a threshold that was chosen on other people for a given number of false alarms an
hour. Never a point-adjusted F1: it ranks random scores above good ones. The volume keeps to the paper's definition;
newer versions of the authors' package count a buffer in the recall only where it was predicted, and give more.

Labels and scores are (N,), oldest first, larger scores for odder readings. An event is (first, last) index, inclusive.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from twin_engine.messages import Floats

Mask = npt.NDArray[np.bool_]
Event = tuple[int, int]

_BUFFERS = 9  # lengths of the buffer that the volume is summed over
_THRESHOLDS = 400  # tried, from the largest score down
_MERGE_S = 30.0  # alarms closer than this are one alarm


def events_of(labels: Mask) -> list[Event]:
    """Stretches of `labels` (N,) that are true."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], labels.astype(np.int8), [0]))))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def auprc(labels: Mask, scores: Floats) -> float:
    """Average precision, 0 to 1; NaN without an event. Ties count as one threshold.

    >>> auprc(np.array([False, True, True]), np.array([0.1, 0.9, 0.8]))
    1.0
    """
    if not labels.any():
        return float("nan")
    order, last = _ranked(scores)
    true = np.cumsum(labels[order])[last]
    return float(np.diff(true / labels.sum(), prepend=0.0) @ (true / (last + 1.0)))


def vus_pr(labels: Mask, scores: Floats, longest: int) -> float:
    """Mean of :func:`range_auc_pr` over buffers of 0 to `longest` readings, 0 to 1; NaN without an event."""
    buffers = np.unique(np.linspace(0, longest, _BUFFERS).round().astype(int))
    return float(np.mean([range_auc_pr(labels, scores, int(buffer)) for buffer in buffers]))


def range_auc_pr(labels: Mask, scores: Floats, buffer: int) -> float:
    """Area under precision and recall of labels that fade out over `buffer` / 2 readings at either side of events.

    Recall is the share of the faded labels found, out of the mean of faded and plain ones, times the share of events
    of which anything was found. Every distinct score is a threshold; the area is summed in steps, as average
    precision is.
    """
    events = events_of(labels)
    if not events:
        return float("nan")
    order, last = _ranked(scores)
    faded, reach = fade(labels, events, buffer), buffer // 2
    true = np.cumsum(faded[order])[last]
    recall = np.minimum(true / ((labels.sum() + faded.sum()) / 2), 1.0)
    best = np.sort([scores[max(a - reach, 0) : b + reach + 1].max() for a, b in events])
    recall = recall * (len(best) - np.searchsorted(best, scores[order][last])) / len(best)
    return float(np.diff(recall, prepend=0.0) @ (true / (last + 1.0)))


def _ranked(scores: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices by falling score, and the places in them where each group of equal scores ends."""
    order = np.argsort(-scores, kind="stable")
    return order, np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))


def fade(labels: Mask, events: Sequence[Event], buffer: int) -> Floats:
    """(N,) 1 inside events, falling as sqrt(1 - distance / buffer) up to buffer / 2 readings away, else 0."""
    faded = labels.astype(np.float64)
    for a, b in events:
        for index in (np.arange(a - buffer // 2, a), np.arange(b + 1, b + 1 + buffer // 2)):
            inside = index[(index >= 0) & (index < len(labels))]
            distance = np.maximum(a - inside, inside - b)
            faded[inside] = np.maximum(faded[inside], np.sqrt(1 - distance / buffer))
    return faded


def alarms(above: Mask, period_s: float) -> list[Event]:
    """The alarms that readings `above` (N,) a threshold give: those close to each other are one."""
    out: list[Event] = []
    for first, last in events_of(above):
        if out and (first - out[-1][1]) * period_s <= _MERGE_S:
            out[-1] = (out[-1][0], last)
        else:
            out.append((first, last))
    return out


def threshold(quiet: Sequence[Floats], periods_s: Sequence[float], per_hour: float) -> float:
    """The lowest threshold at which scores of recordings without events raise at most `per_hour` alarms an hour.

    `quiet` holds one (N,) a channel. An alarm is a score *above* the threshold. inf where there is no recording.
    """
    hours = sum(len(scores) * period for scores, period in zip(quiet, periods_s, strict=True)) / 3600
    chosen = float("inf")
    if not hours:
        return chosen
    every = np.sort(np.concatenate(quiet))[::-1]
    for index in np.unique(np.geomspace(1, len(every), _THRESHOLDS).astype(int)) - 1:
        level = float(every[index])
        raised = sum(len(alarms(s > level, period)) for s, period in zip(quiet, periods_s, strict=True))
        if raised > per_hour * hours:
            break
        chosen = level
    return chosen


def found(scores: Floats, events: Sequence[Event], level: float, late: int) -> int:
    """How many events have a score above `level` between their first reading and `late` readings after their last."""
    return sum(bool((scores[a : b + 1 + late] > level).any()) for a, b in events)

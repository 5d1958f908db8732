"""Everything measured for one signal: every method on every pretended gap, beside what the twin showed.

The gaps of one length are put together over all people (``windows``), so that each rival runs once on all of them;
what the twin showed comes from streaming each recording (``stream``). Nothing here chooses or hides: every method that
can be run is in the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from device.signals import SIGNALS
from twin_engine.calibrate import FLOOR
from twin_engine.features import CONTEXT_STEPS, normalise
from twin_engine.lab.examples import gather
from twin_engine.lab.liveliness import Liveliness, length_for, liveliness
from twin_engine.lab.masks import GAPS_S, KINDS, Mask, Track, draw
from twin_engine.lab.methods import causal, dressed, own_name, retrospective
from twin_engine.lab.revise import revised
from twin_engine.lab.rivals import RIVALS, Rivals
from twin_engine.lab.scorecard import BINS, MODES, OURS, SCORED_LEVELS, UNLEARNT, Scored, Scores, Where, measure, tally
from twin_engine.lab.stream import Shown, contexts, stream
from twin_engine.lab.windows import Gaps, gaps_of, library
from twin_engine.messages import Floats
from twin_engine.model import LEVELS, Generator
from twin_engine.plans import PLANS, Ints, node_ages_s
from twin_engine.wave import BASES

_LIBRARY = 3000  # other people's gaps that rivals learn from
_BATCH = 500
_TYPICAL = 16  # contexts a track that say how much a signal moves
_LEAST_SCALE = 1e-9
_EXAMPLES = 3  # gaps kept to be drawn
_EXAMPLE_PAST_S = 2.0  # lengths of the gap that are drawn before it


@dataclass(frozen=True, slots=True)
class Task:
    """What to measure: one signal. `learnable` are everybody's tracks, among them the tested ones'."""

    signal: str
    tested: Sequence[Track]
    learnable: Sequence[Track]
    seeds: tuple[int, ...]
    count: int  # gaps a channel, length, kind and seed


@dataclass(frozen=True, slots=True)
class Example:
    """One gap to be drawn: times from the last reading (s), signal's unit."""

    person: str
    channel: str
    gap_s: float
    past_s: Floats
    past: Floats
    ages_s: Floats
    truth: Floats
    live: tuple[Floats, Floats, Floats]  # value, lower, upper as shown while the gap lasted
    later: tuple[Floats, Floats, Floats]  # as revised


@dataclass
class Found:
    """What was measured for one signal."""

    signal: str
    masks: list[tuple[str, str, float, str, int, list[int]]] = field(default_factory=list)
    scored: list[Scored] = field(default_factory=list)
    tallies: dict[str, Floats] = field(default_factory=lambda: {mode: np.zeros((BINS, 3)) for mode in MODES})
    weights: dict[str, dict[str, float]] = field(default_factory=lambda: {mode: {} for mode in MODES})  # of each expert
    examples: list[Example] = field(default_factory=list)
    liveliness: Liveliness | None = None


def judge(task: Task, generator: Generator, rivals: Rivals | None, tick: Callable[[], None]) -> Found:
    """Measure one signal; `tick` is called for every streamed track."""
    found = Found(task.signal)
    masks: list[Mask] = []
    live: dict[int, Shown] = {}
    unlearnt: dict[int, Shown] = {}
    for track in task.tested:
        mine = [m for gap_s in GAPS_S for k in KINDS for s in task.seeds if (m := draw(track, gap_s, k, s, task.count))]
        if mine:
            live |= zip(map(id, mine), stream(track, mine, generator), strict=True)
            unlearnt |= zip(map(id, mine), stream(track, mine, generator, learn=False), strict=True)
        masks += mine
        tick()
    found.masks = [(m.track.key, m.track.channel, m.gap_s, m.kind, m.seed, m.starts.tolist()) for m in masks]
    shape = [m for m in masks if m.gap_s == length_for(task.signal)]
    found.liveliness = liveliness(shape, [live[id(m)] for m in shape]) if shape else None
    for gap_s in GAPS_S:
        parts = []
        for _, group in _grouped([m for m in masks if m.gap_s == gap_s]):
            shown = [live[id(m)] for m in group]
            later = [revised(m, s, generator) for m, s in zip(group, shown, strict=True)]
            part = _measure(task, group, shown, later, generator, rivals, found)
            truth = np.concatenate([gather(m.track.values, m.starts, m.steps) for m in group])
            part.scores["causal", UNLEARNT] = _ours(task.signal, [unlearnt[id(m)] for m in group], truth)
            parts.append(part)
        if parts:
            found.scored.append(_merged(parts))
    return found


def _grouped(masks: Sequence[Mask]) -> Iterator[tuple[tuple[int, ...], list[Mask]]]:
    """Masks with the same scored steps."""
    groups: dict[tuple[int, ...], list[Mask]] = {}
    for mask in masks:
        groups.setdefault(tuple(mask.steps.tolist()), []).append(mask)
    yield from groups.items()


def _measure(
    task: Task,
    masks: Sequence[Mask],
    live: Sequence[Shown],
    later: Sequence[Shown],
    generator: Generator,
    rivals: Rivals | None,
    found: Found,
) -> Scored:
    """All methods on the gaps of one length."""
    people = sorted({t.person for t in (*task.tested, *task.learnable)})
    typical = _typical(task)
    gaps = gaps_of(masks, people, typical)
    others = library(task.learnable, masks[0].gap_s, masks[0].steps, people, typical, _LIBRARY)
    truth = np.concatenate([gather(m.track.values, m.starts, m.steps) for m in masks])
    scored = Scored(_where(masks))
    for mode, shown in (("causal", live), ("retrospective", later)):
        scored.scores[mode, OURS] = _ours(task.signal, shown, truth)
        value, sure = (np.concatenate([getattr(s, name) for s in shown]) for name in ("value", "confidence"))
        found.tallies[mode] += tally(task.signal, value, sure, truth)
    for mode, shown in (("causal", live), ("retrospective", later)):
        for one in shown:
            for name, weight in zip(one.experts, one.weights.sum((0, 1)), strict=True):
                by = found.weights[mode]
                by[name] = by.get(name, 0.0) + float(weight)
    for mode, centres in (("causal", causal(gaps, others)), ("retrospective", retrospective(gaps, others))):
        for name, centre in centres.items():
            scored.scores[mode, name] = _theirs(gaps, centre, truth, len(people))
    scored.scores |= {("causal", name): s for name, s in _served(task.signal, masks, truth, generator)}
    for name, mode, centre in _trained_rivals(masks, gaps, rivals):
        scored.scores[mode, name] = _theirs(gaps, centre, truth, len(people))
    found.examples += _examples(masks, live, later)
    return scored


def _ours(signal: str, shown: Sequence[Shown], truth: Floats) -> Scores:
    value, lower, upper, confidence, quantiles = (
        np.concatenate([getattr(s, name) for s in shown])
        for name in ("value", "lower", "upper", "confidence", "quantiles")
    )
    scores = measure(signal, value, quantiles, truth, (lower, upper))
    scores["withheld"] = (confidence < FLOOR).mean(1)
    return scores


def _theirs(gaps: Gaps, centre: Floats, truth: Floats, people: int) -> Scores:
    quantiles = dressed(gaps, centre, SCORED_LEVELS, people)
    return measure(gaps.signal, quantiles[..., SCORED_LEVELS.index(0.5)], quantiles, truth)


def _served(
    signal: str, masks: Sequence[Mask], truth: Floats, generator: Generator
) -> Iterator[tuple[str, Scores]]:  # fmt: skip
    """The cheap forecasts that the twin's own weights bring, with the spread of validation people."""
    if signal not in generator.metadata["signals"]:
        return
    moments = [(m.track, (int(start), m.seed)) for m in masks for start in m.starts]
    log_ages = np.log(masks[0].steps * PLANS[signal].grid_s)
    made: dict[str, list[Scores]] = {}
    for at in range(0, len(moments), _BATCH):
        rows = slice(at, at + _BATCH)
        batch = [context for track, moment in moments[rows] for context in contexts(track, [moment])]
        names, quantiles = generator.baselines(batch)  # (B, N, C, Q)
        at_steps = _interpolated(quantiles, np.log(node_ages_s(signal)), log_ages)
        for c, name in enumerate(names):
            q = _with_more_levels(at_steps[:, :, c])
            scores = measure(signal, q[..., SCORED_LEVELS.index(0.5)], q, truth[rows])
            made.setdefault(own_name(name) if name in BASES else name, []).append(scores)
    for name, parts in made.items():
        yield name, {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}


def _trained_rivals(masks: Sequence[Mask], gaps: Gaps, rivals: Rivals | None) -> Iterator[tuple[str, str, Floats]]:
    """SAITS and BRITS, where they are cached: (method, mode, centres (B, K) normalised)."""
    signal, gap_s, steps = gaps.signal, masks[0].gap_s, gaps.steps
    for mode in MODES:
        both = mode == "retrospective"
        if rivals is None or rivals.layout(signal, gap_s, retrospective=both) is None:
            continue
        for name in RIVALS:
            parts = [(m.track.values, m.track.others, m.starts) for m in masks]
            made = rivals.fill_all(name, signal, parts, gap_s, retrospective=both)
            values = PLANS[signal].forward(made[:, steps - 1])
            yield name, mode, (values - gaps.last[:, None]) / gaps.scale[:, None]


# ------------------------------------------------------------------------------------------------- small parts


def _typical(task: Task) -> float | None:
    """The scale to which short contexts are shrunk: the median one of all that may be learnt from."""
    plan = PLANS[task.signal]
    if plan.arbitrary:
        return None
    found = []
    for track in task.learnable:
        ends = np.linspace(0, len(track.values) - 1, _TYPICAL + 1).astype(np.int64)[1:]
        past = plan.forward(gather(track.values, ends, np.arange(1 - CONTEXT_STEPS, 1)))
        found += normalise(past, None)[2].tolist()
    return max(float(np.median(found)), _LEAST_SCALE) if found else None


def _where(masks: Sequence[Mask]) -> Where:
    people = sorted({m.track.person for m in masks})
    channels = sorted({(m.track.person, m.track.channel) for m in masks})
    size = [len(m.starts) for m in masks]

    def each(values: Sequence[float]) -> Floats:
        return np.repeat(np.asarray(values), size)

    return Where(
        masks[0].track.signal,
        masks[0].gap_s,
        tuple(people),
        each([people.index(m.track.person) for m in masks]).astype(np.int64),
        each([channels.index((m.track.person, m.track.channel)) for m in masks]).astype(np.int64),
        each([KINDS.index(m.kind) for m in masks]).astype(np.int64),
        each([m.seed for m in masks]).astype(np.int64),
        np.concatenate([m.starts * m.track.grid_s for m in masks]),
        each([len(m.track.values) * m.track.grid_s for m in masks]),
        each([m.track.sd for m in masks]),
        np.concatenate([_sd_before(m.track, m.starts) for m in masks]),
    )


def _sd_before(track: Track, starts: Ints) -> Floats:
    """(G,) standard deviation of all that was known when each gap began; at least half of the sensor's step."""
    known = np.isfinite(track.values)
    x = np.where(known, track.values - np.nanmedian(track.values), 0.0)
    count, total, square = np.cumsum(known), np.cumsum(x), np.cumsum(x**2)
    variance = square[starts] / count[starts] - (total[starts] / count[starts]) ** 2
    return np.asarray(np.maximum(np.sqrt(np.maximum(variance, 0.0)), SIGNALS[track.signal].resolution / 2))


def _merged(parts: Sequence[Scored]) -> Scored:
    """Gaps of one length from tracks of different rates; a method that some lack is unknown there."""
    if len(parts) == 1:
        return parts[0]
    people = sorted({p for part in parts for p in part.where.people})
    wheres = [part.where for part in parts]
    offset = np.cumsum([0, *(int(w.channel.max()) + 1 for w in wheres)])
    joined = Where(
        wheres[0].signal,
        wheres[0].gap_s,
        tuple(people),
        np.concatenate([np.array([people.index(p) for p in w.people])[w.person] for w in wheres]),
        np.concatenate([w.channel + o for w, o in zip(wheres, offset, strict=False)]),
        *(
            np.concatenate([getattr(w, name) for w in wheres])
            for name in ("kind", "seed", "start_s", "span_s", "sd", "sd_before")
        ),
    )
    out = Scored(joined)
    for key in dict.fromkeys(key for part in parts for key in part.scores):
        metrics = next(part.scores[key] for part in parts if key in part.scores)
        unknown = [np.full(len(w.person), np.nan) for w in wheres]
        out.scores[key] = {
            m: np.concatenate([p.scores.get(key, {}).get(m, u) for p, u in zip(parts, unknown, strict=True)])
            for m in metrics
        }
    return out


def _interpolated(quantiles: Floats, nodes: Floats, at: Floats) -> Floats:
    """(B, K, ...) `quantiles` (B, N, ...) at other log ages."""
    right = np.clip(np.searchsorted(nodes, at), 1, len(nodes) - 1)
    share = np.clip((at - nodes[right - 1]) / (nodes[right] - nodes[right - 1]), 0.0, 1.0)[:, None, None]
    return np.asarray(quantiles[:, right - 1] * (1 - share) + quantiles[:, right] * share)


def _with_more_levels(quantiles: Floats) -> Floats:
    """(..., SCORED_LEVELS) from (..., LEVELS), linear between levels."""
    index = np.interp(SCORED_LEVELS, LEVELS, np.arange(len(LEVELS)))
    low = np.minimum(index.astype(np.int64), len(LEVELS) - 2)
    share = index - low
    return np.asarray(quantiles[..., low] * (1 - share) + quantiles[..., low + 1] * share)


def _examples(masks: Sequence[Mask], live: Sequence[Shown], later: Sequence[Shown]) -> list[Example]:
    """A few gaps of the first seed, of different people where there are any."""
    picked, seen = list[Example](), set[str]()
    for mask, now, then in zip(masks, live, later, strict=True):
        if mask.kind != "random" or mask.seed != masks[0].seed or mask.track.person in seen or len(seen) == _EXAMPLES:
            continue
        seen.add(mask.track.person)
        row, track = len(mask.starts) // 2, mask.track
        start, grid_s = int(mask.starts[row]), track.grid_s
        back = np.arange(max(0, start - round(_EXAMPLE_PAST_S * mask.length)), start + 1)
        thin = back[:: 1 + len(back) // 300]
        columns = [tuple(getattr(s, name)[row] for name in ("value", "lower", "upper")) for s in (now, then)]
        picked.append(
            Example(
                track.person, track.channel, mask.gap_s, np.asarray((thin - start) * grid_s), track.values[thin],
                np.asarray(mask.steps * grid_s), track.values[start + mask.steps], columns[0], columns[1],
            )
        )  # fmt: skip
    return picked

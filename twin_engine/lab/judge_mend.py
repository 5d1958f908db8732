"""Judges the revision on people outside training: intervals that hold, and where a cheap filling is as good.

For every fitted length and every situation (``mend.situation``) gaps are pretended in the judges' recordings. Their
errors dress the cheap fillings and stretch the network's intervals; scores in the person's SD choose what is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from twin_engine.lab.mend_examples import Drawn, Field, draw, truth_of
from twin_engine.mend import LEVELS, SITUATIONS, Judgement, Mender, edge_class, situation
from twin_engine.mend_bases import BASES, Cheap
from twin_engine.mend_network import MendVae
from twin_engine.messages import Floats

JUDGE_DRAWS = 1000  # gaps of each length
_FEWEST = 200  # gaps of one length; where fewer can be pretended, the next shorter length speaks for it
_FEWEST_OF_KIND = 50


def judge(
    signal: str, cheap: Cheap, network: MendVae, fields: tuple[Field, Field], rng: np.random.Generator, draws: int
) -> tuple[Judgement, float]:
    """What `draws` gaps of each length say, and the network's mean share in what is shown.

    `fields` are the learners' and the judges'. Both choose the cheap filling, which learnt next to nothing from the
    learners; the judges alone choose the network's share and make the intervals hold.
    """
    count, check = len(cheap.lengths), fields[1]
    drawn = [_drawn_at_lengths(field, cheap, rng, draws) for field in fields]
    plain = Judgement(
        np.zeros((SITUATIONS, len(BASES), count, len(LEVELS))),
        np.ones((SITUATIONS, count, len(_CLASSES), 2)),
        np.zeros((SITUATIONS, count), np.int64),
        np.zeros((SITUATIONS, count)),
    )
    raw = Mender(signal, cheap, network, plain)
    told = [[_told(raw, _of(gaps, which)) for gaps in drawn[1]] for which in range(SITUATIONS)]
    dress = np.stack([_smooth(np.stack([t.dress for t in row])) for row in told]).swapaxes(1, 2)
    conformal = np.stack([_smooth(np.stack([t.conformal for t in row])) for row in told])
    made = replace(plain, dress=dress, conformal=conformal)
    mender = Mender(signal, cheap, network, made)
    for which in range(SITUATIONS):
        scores = [
            [_cheap_scores(mender, f, _of(gaps, which)) for gaps in d] for f, d in zip(fields, drawn, strict=True)
        ]
        made.gate[which] = np.sum([_smooth(np.array(at_lengths)) for at_lengths in scores], axis=0).argmin(1)
        mixed = [
            _share_scores(mender, check, _of(gaps, which), int(base))
            for gaps, base in zip(drawn[1], made.gate[which], strict=True)
        ]
        made.share[which] = np.array(SHARES)[_smooth(_smooth(np.stack(mixed))).argmin(1)]
    return made, float(made.share.mean())


def _drawn_at_lengths(field: Field, cheap: Cheap, rng: np.random.Generator, draws: int) -> list[Drawn]:
    """Gaps of every fitted length; where too few fit, those of the next shorter one."""
    out = list[Drawn]()
    for length in cheap.lengths:
        drawn = draw(field, cheap, draws, rng, np.full(draws, int(length)))
        out.append(drawn if len(drawn.truth) >= _FEWEST or not out else out[-1])
    return out


SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the network in what is shown, from which the judges choose
_CLASSES = (0, 1, 2)  # of distance to the nearer end, as in ``edge_class``


@dataclass(frozen=True, slots=True)
class Told:
    """What the judges' gaps of one length say: errors of the cheap fillings, factors on the network's distances."""

    dress: Floats  # (len(BASES), len(LEVELS))
    conformal: Floats  # (len(_CLASSES), 2)


def _told(mender: Mender, drawn: Drawn) -> Told:
    fillings, unit = mender.cheap.fill(drawn.seen)
    errors = (drawn.truth[..., None] - fillings) / unit[..., None]
    dress = np.nanquantile(errors.reshape(-1, len(BASES)), LEVELS, axis=0).T
    levels = mender.learned(drawn.seen, fillings, unit, range(len(unit)), raw=True)
    middle = levels[..., len(LEVELS) // 2]
    below = (middle - drawn.truth) / np.maximum(middle - levels[..., 0], 1e-6)
    above = (drawn.truth - middle) / np.maximum(levels[..., -1] - middle, 1e-6)
    kind, everywhere = edge_class(drawn.seen), np.isfinite(drawn.truth)
    factors = np.ones((len(_CLASSES), 2))
    for c in _CLASSES:
        rows = everywhere & (kind == c)
        rows = rows if rows.sum() >= _FEWEST else everywhere  # a gap of two steps has only a middle
        factors[c] = [np.quantile(side[rows], LEVELS[-1]) for side in (below, above)]
    return Told(dress, np.clip(factors, 0.3, 4.0))


def _of(drawn: Drawn, which: int) -> Drawn:
    """The gaps of one situation; where they are few, of as many readings after; where these are few, all."""
    at = situation(drawn.seen)
    for rows in (np.flatnonzero(at == which), np.flatnonzero(at // 2 == which // 2)):
        if len(rows) >= _FEWEST_OF_KIND:
            return drawn.rows(rows)
    return drawn


def _cheap_scores(mender: Mender, field: Field, drawn: Drawn) -> Floats:
    """(len(BASES),) scores of the cheap fillings."""
    fillings, unit = mender.cheap.fill(drawn.seen)
    made = [mender.dressed(drawn.seen, fillings, unit, base) for base in range(len(BASES))]
    return np.array([_score(mender, field, drawn, levels) for levels in made])


def _share_scores(mender: Mender, field: Field, drawn: Drawn, base: int) -> Floats:
    """(len(SHARES),) scores of mixtures of the network and a cheap filling."""
    fillings, unit = mender.cheap.fill(drawn.seen)
    learned = mender.learned(drawn.seen, fillings, unit, range(len(unit)))
    cheap = mender.dressed(drawn.seen, fillings, unit, base)
    return np.array([_score(mender, field, drawn, cheap + share * (learned - cheap)) for share in SHARES])


def _score(mender: Mender, field: Field, drawn: Drawn, levels: Floats) -> float:
    there = np.where(np.isfinite(drawn.truth), truth_of(field, drawn.gaps, drawn.seen.at), np.nan)
    return person_score(field, drawn, mender.in_unit(drawn.seen, levels), there)


def person_score(field: Field, drawn: Drawn, levels: Floats, truth: Floats) -> float:
    """Log of MAE of the median + CRPS of the levels (B, P, len(LEVELS)) in the person's SD, mean over people.

    0 where nothing is known. The log weighs people with quiet and with lively signals alike; who has few of these
    gaps counts little.
    """
    error = truth[..., None] - levels
    crps = 2 * np.where(error > 0, LEVELS * error, (LEVELS - 1) * error).mean(-1)
    known = np.isfinite(truth)
    losses = np.where(known, np.abs(error[..., len(LEVELS) // 2]) + crps, 0.0).sum(1)
    both = losses / np.where(known.any(1), known.sum(1), np.nan) / field.sd[drawn.gaps.channel]
    scored = np.isfinite(both)
    if not scored.any():
        return 0.0  # nothing is known of any of these gaps: all fillings are alike
    people, index = np.unique(np.array(field.person)[drawn.gaps.channel[scored]], return_inverse=True)
    count = np.bincount(index, minlength=len(people))
    own = np.bincount(index, both[scored], minlength=len(people)) / count
    return float(np.average(np.log(own), weights=count))


def _smooth(x: Floats) -> Floats:
    """`x` (G, …) averaged with its neighbours in length, 1:2:1."""
    padded = np.concatenate([x[:1], x, x[-1:]])
    out: Floats = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    return out

"""The learned revision: fillings meet their ends, intervals hold on new people, tensors make the round trip."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from twin_engine.lab.fit_mend import fit_mender
from twin_engine.lab.mend_examples import field_of, pretend, sides, truth_of
from twin_engine.lab.recordings import Recording
from twin_engine.mend import METHOD, Hole, HoleError, Mended, Mender
from twin_engine.mend_bases import AFTER_STEPS, BASES, BEFORE_STEPS, NODES, ROUGH_STEPS, look, places

SIGNAL = "hr_bpm"
_TYPICAL = np.ones(1 + len(ROUGH_STEPS))


def _people(names: str, seed: int) -> list[Recording]:
    """Random walks, half of them smoothed over 12 s, as a wristband does."""
    rng = np.random.default_rng(seed)
    out = []
    for i, name in enumerate(names):
        walk = 75 + 0.6 * np.cumsum(rng.standard_normal(1500) - 0.01 * np.linspace(-1, 1, 1500))
        values = np.convolve(walk, np.ones(12) / 12, "valid") if i % 2 else walk
        out.append(Recording(f"walks/{name}", {SIGNAL: (np.arange(float(len(values))), values)}))
    return out


@cache
def _mender() -> Mender:
    return fit_mender(
        SIGNAL, _people("abcdefgh", 1), _people("ijklmn", 2), steps=120, seed=3, progress=lambda *_: None, gaps=6000
    )[0]


def _hole(before: list[float], after: list[float], steps: float) -> Hole:
    return Hole(SIGNAL, np.array(before), np.array(after), steps, seed=5)


def _holes(steps: int, count: int, seed: int) -> tuple[list[Hole], np.ndarray, np.ndarray]:
    """Holes in people nobody trained on, the truth at every step inside, and the person of each."""
    field = field_of(_people("opqrst", seed), SIGNAL)
    gaps = pretend(field, np.full(count, steps), np.random.default_rng(seed))
    reach = np.full(len(gaps.steps), AFTER_STEPS)
    before, after = sides(field, gaps, reach)
    at = np.broadcast_to(np.arange(1.0, steps), (len(gaps.steps), steps - 1))
    holes = [Hole(SIGNAL, b, a, float(steps), i) for i, (b, a) in enumerate(zip(before, after, strict=True))]
    return holes, truth_of(field, gaps, at), gaps.channel


def _lay(mended: list[Mended], steps: int) -> tuple[np.ndarray, ...]:
    columns = [m.at(np.arange(1.0, steps)) for m in mended]
    return tuple(np.stack(column) for column in zip(*columns, strict=True))


def test_a_filling_meets_the_readings_at_both_ends_and_is_widest_inside():
    (mended,) = _mender().mend([_hole([70, 71, 72.0], [80, 81.0], 40.0)])
    centre, below, above = mended.at(np.array([0.0, 20.0, 40.0]))
    assert centre[[0, 2]] == pytest.approx([72, 80])
    assert below[[0, 2]] == pytest.approx(0) and above[[0, 2]] == pytest.approx(0)
    assert below[1] > 0 and above[1] > 0


def test_places_lie_strictly_inside_gaps_of_any_length_and_hold_every_step_of_a_short_one():
    at, real = places(np.array([1.2, 2.0, 6.0, 6.5, 17.0, 18.0, 40.3, 1200.0]))
    for steps, row, kept in zip((1.2, 2.0, 6.0, 6.5, 17.0, 18.0, 40.3, 1200.0), at, real > 0, strict=True):
        assert (np.diff(row[kept]) > 0).all() and row[0] >= 1
        assert row[-1] < steps
    assert at[2][real[2] > 0].tolist() == [1, 2, 3, 4, 5]
    assert at[3][real[3] > 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert real[-1].sum() == NODES


def test_a_single_reading_on_either_side_is_enough():
    (mended,) = _mender().mend([_hole([70.0], [76.0], 12.0)])
    assert np.isfinite([mended.centre, mended.below, mended.above]).all()
    assert (mended.centre > 60).all() and (mended.centre < 86).all()


def test_what_lies_beyond_the_last_reading_before_the_gap_moves_the_filling_but_a_missing_one_is_no_zero():
    flat = [70.0] * 60
    holed = [70.0 if i % 3 == 0 else np.nan for i in range(59)] + [70.0]
    rising = [70.0 - 0.5 * i for i in range(60)][::-1]
    full, sparse, rise = _mender().mend([_hole(b, [70.0] * AFTER_STEPS, 20.0) for b in (flat, holed, rising)])
    assert np.abs(full.centre - sparse.centre).max() < 1.0
    assert rise.centre.max() > full.centre.max() + 0.2


def test_the_same_hole_is_filled_alike_alone_and_in_a_batch():
    holes, _, _ = _holes(30, 20, 11)
    together = _mender().mend(holes)
    (alone,) = _mender().mend([holes[7]])
    assert alone.centre == pytest.approx(together[7].centre, abs=1e-3)
    assert alone.below == pytest.approx(together[7].below, abs=1e-3)


def test_shifting_the_signal_shifts_the_filling():
    holes, _, _ = _holes(25, 6, 12)
    moved = [replace(hole, before=hole.before + 9.0, after=hole.after + 9.0) for hole in holes]
    for one, other in zip(_mender().mend(holes), _mender().mend(moved), strict=True):
        assert other.centre - one.centre == pytest.approx(9.0, abs=1e-3)


def test_intervals_hold_on_people_outside_training_for_smooth_and_for_rough_ones():
    holes, truth, person = _holes(30, 600, 13)
    centre, below, above = _lay(_mender().mend(holes), 30)
    inside = (truth >= centre - below) & (truth <= centre + above)
    assert 0.84 < inside.mean() < 0.95
    for kind in (0, 1):  # every second person's device averages
        assert 0.8 < inside[person % 2 == kind].mean() < 0.97


def test_smooth_signals_get_a_better_filling_than_the_straight_line():
    holes, truth, person = _holes(30, 600, 14)
    centre, _, _ = _lay(_mender().mend(holes), 30)
    part = np.arange(1, 30) / 30
    line = np.stack([h.before[-1] + (h.after[0] - h.before[-1]) * part for h in holes])
    smooth = person % 2 == 1
    ours, straight = (np.abs(x - truth)[smooth].mean() for x in (centre, line))
    assert ours < 0.9 * straight


def test_tensors_make_the_round_trip_and_nothing_is_lost():
    mender = _mender()
    tensors = mender.tensors()
    assert {array.dtype for array in tensors.values()} == {np.dtype(np.float32)}
    again = Mender.restore(SIGNAL, tensors)
    holes, _, _ = _holes(50, 10, 15)
    for one, other in zip(mender.mend(holes), again.mend(holes), strict=True):
        assert other.method == one.method
        assert other.centre == pytest.approx(one.centre, abs=1e-2)
        assert other.above == pytest.approx(one.above, abs=1e-2)


def test_tensors_of_something_else_are_refused():
    tensors = _mender().tensors()
    del tensors["cheap.ridge"]
    with pytest.raises(HoleError, match="not restored"):
        Mender.restore(SIGNAL, tensors)


def test_the_method_says_whether_the_network_or_a_cheap_filling_was_shown():
    mender, hole = _mender(), _hole([70, 71, 72.0], [80, 81.0], 40.0)
    judgement = mender.judgement
    gate = np.full_like(judgement.gate, BASES.index("linear"))
    for share, method in ((0.0, "linear"), (0.5, METHOD)):
        made = replace(judgement, gate=gate, share=np.full(gate.shape, share))
        (mended,) = Mender(SIGNAL, mender.cheap, mender.network, made).mend([hole])
        assert mended.method == method


def test_holes_without_readings_at_their_ends_or_of_another_signal_are_refused():
    good = _hole([70.0], [76.0], 12.0)
    bad = [
        replace(good, before=np.array([70.0, np.nan])),
        replace(good, after=np.array([])),
        replace(good, steps=1.0),
        replace(good, signal="gsr_uS"),
    ]
    for hole in bad:
        with pytest.raises(HoleError, match="nothing was filled"):
            _mender().mend([good, hole])
    assert _mender().mend([]) == []


def test_the_same_seed_gives_the_same_weights():
    made = [
        fit_mender(SIGNAL, _people("ab", 1), _people("cd", 2), steps=3, seed=4, progress=lambda *_: None, gaps=400)[
            0
        ].tensors()
        for _ in range(2)
    ]
    for name, array in made[0].items():
        assert np.array_equal(array, made[1][name]), name


def test_the_ornstein_uhlenbeck_bridge_with_a_long_memory_is_the_straight_line_and_with_a_short_one_the_mean():
    rng = np.random.default_rng(0)
    before, after = rng.standard_normal((4, BEFORE_STEPS)), rng.standard_normal((4, AFTER_STEPS))
    seen = look(before, after, np.full(4, 60.0), _TYPICAL)
    fitted = _mender().cheap
    ou = BASES.index("ou")

    def fill(recall: float) -> np.ndarray:
        return seen.value(replace(fitted, recall=recall).fill(seen)[0][..., ou].astype(np.float64))

    assert fill(1e5) == pytest.approx(seen.value(np.zeros_like(seen.at)), abs=1e-2)
    middle = fill(0.5)[:, NODES // 2]
    assert np.abs(middle).max() < 0.5  # the readings scatter around 0 with SD 1


def test_a_smooth_signal_is_told_from_a_rough_one():
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((30, BEFORE_STEPS + AFTER_STEPS))
    ramp = np.cumsum(np.cumsum(noise, axis=1), axis=1)
    smooth = [
        look(x[:, :BEFORE_STEPS], x[:, BEFORE_STEPS:], np.full(30, 9.0), 1e-3 * _TYPICAL).smooth().mean()
        for x in (noise, np.cumsum(noise, axis=1), ramp)
    ]
    assert smooth[0] < 0.1 and smooth[1] < 0.2 and smooth[2] > 0.8

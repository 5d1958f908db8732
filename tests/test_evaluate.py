"""The evaluation: frozen gaps, rivals that do their best without cheating, fair scores, and whom it refuses."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from everbeat.cli import app
from tests.conftest import shared_path
from twin_engine.lab import methods
from twin_engine.lab.evaluate import EvaluationError, Settings, evaluate
from twin_engine.lab.masks import Mask, Track, draw, masks_sha256, places, scored_steps, tracks
from twin_engine.lab.recordings import read_people
from twin_engine.lab.revise import revised
from twin_engine.lab.scorecard import (
    BINS,
    OURS,
    SCORED_LEVELS,
    Scored,
    Where,
    by_person,
    coverage_of,
    crps,
    ece,
    measure,
    ratios,
    tally,
)
from twin_engine.lab.stream import stream
from twin_engine.lab.windows import Gaps, gaps_of
from twin_engine.messages import Floats
from twin_engine.model import Generator

MID = SCORED_LEVELS.index(0.5)


def track(values: Floats, person: str = "lab/a", signal: str = "hr_bpm", calm: Floats | None = None) -> Track:
    disturbance = np.zeros(len(values)) if calm is None else calm
    return Track(person, signal, values, {}, disturbance, key=person)


def wandering(seed: int, steps: int = 900) -> Floats:
    return 70 + np.cumsum(np.random.default_rng(seed).standard_normal(steps)) * 0.3


def one_gap(values: Floats, start: int, gap_s: float = 10.0, person: str = "lab/a") -> Gaps:
    of = track(values, person)
    mask = Mask(of, gap_s, "random", 0, np.array([start]), scored_steps(of, gap_s))
    return gaps_of([mask], ["lab/a", "lab/b"], None)


# --------------------------------------------------------------------------------------------------- the gaps


def test_the_same_seed_asks_the_same_questions_and_another_seed_asks_others() -> None:
    of = track(wandering(0))
    first, again, other = (draw(of, 10.0, "random", seed, 20) for seed in (0, 0, 1))
    assert first is not None and again is not None and other is not None
    assert masks_sha256([first]) == masks_sha256([again])
    assert masks_sha256([first]) != masks_sha256([other])


def test_places_follow_the_recording_and_not_the_name_of_its_folder(tmp_path: Path) -> None:
    recording(tmp_path / "ours" / "p1.csv.gz", wandering(1, 600))
    shutil.copytree(tmp_path / "ours", tmp_path / "theirs")
    drawn = [draw(t, 10.0, "random", 0, 20) for r in read_people(tmp_path) for t in tracks(r, "hr_bpm")]
    assert len(drawn) == 2
    assert drawn[0] is not None and drawn[1] is not None
    assert drawn[0].starts.tolist() == drawn[1].starts.tolist()


def test_a_gap_begins_at_a_reading_hides_readings_and_ends_before_the_recording_does() -> None:
    values = wandering(2)
    values[300:400] = np.nan
    fits = places(track(values), 30.0)
    assert np.isfinite(values[fits]).all()
    assert fits.max() + 30 < len(values) - 1
    assert not np.isin(np.arange(299 - 28, 400), fits).all()
    assert all(np.isfinite(values[s + 1 : s + 31]).any() for s in fits)


def test_a_recording_too_short_for_a_gap_has_no_row_for_it() -> None:
    assert draw(track(wandering(3, 120)), 60.0, "random", 0, 20) is not None
    assert draw(track(wandering(3, 120)), 300.0, "random", 0, 20) is None


def test_realistic_gaps_lie_where_the_wearer_moves() -> None:
    moving = np.concatenate([np.zeros(450), np.ones(450)])
    of = track(wandering(4), calm=moving)
    random, realistic = (draw(of, 5.0, kind, 0, 200) for kind in ("random", "realistic"))
    assert random is not None and realistic is not None
    assert 0.3 < moving[random.starts].mean() < 0.7
    assert moving[realistic.starts].mean() > 0.8


def test_motion_in_a_column_that_is_no_signal_still_makes_gaps_likelier(tmp_path: Path) -> None:
    t = np.arange(0.0, 600.0)
    shake = np.where(t > 400, 0.5, 0.001) * np.random.default_rng(0).random(len(t))
    recording(tmp_path / "wrist" / "p1.csv.gz", np.full(len(t), 70.0), acc_sd_g=shake)
    (person,) = read_people(tmp_path)
    (of,) = tracks(person, "hr_bpm")
    assert of.disturbance[420:].mean() > 2 * of.disturbance[20:380].mean()


# ------------------------------------------------------------------------------------------------- the rivals


def test_the_last_value_holds_and_a_straight_line_goes_on() -> None:
    made = methods.causal(one_gap(70 + 0.1 * np.arange(700.0), 600), None)
    gaps = one_gap(70 + 0.1 * np.arange(700.0), 600)
    assert np.allclose(made["locf"], 0.0)
    assert np.allclose(made["linear"], gaps.truth)
    assert "ridge" not in made  # nobody to learn from


def test_a_season_that_repeats_is_continued_exactly() -> None:
    t = np.arange(700)
    gaps = one_gap(70 + 5 * np.sin(2 * np.pi * t / 20), 600)
    assert np.allclose(methods.causal(gaps, None)["seasonal"], gaps.truth, atol=0.05)


def test_the_straight_line_meets_the_reading_after_the_gap() -> None:
    values = wandering(5)
    gaps = one_gap(values, 600)
    line = gaps.unit(methods.retrospective(gaps, None)["linear"])[0]
    expected = np.interp(np.arange(601, 611), [600, 611], [values[600], values[611]])
    assert np.allclose(line, expected)


def test_no_causal_rival_changes_when_what_comes_after_does() -> None:
    values, others = wandering(6), one_gap(wandering(7), 500, person="lab/b")
    changed = np.concatenate([values[:601], values[601:] + 40.0])
    for name, centre in methods.causal(one_gap(values, 600), others).items():
        assert np.array_equal(centre, methods.causal(one_gap(changed, 600), others)[name]), name


def test_no_rival_and_no_revision_sees_what_was_hidden(generator: Generator) -> None:
    values, others = wandering(6), one_gap(wandering(7), 500, person="lab/b")
    hidden = np.concatenate([values[:601], values[601:611] + 40.0, values[611:]])
    for name, centre in methods.retrospective(one_gap(values, 600), others).items():
        assert np.array_equal(centre, methods.retrospective(one_gap(hidden, 600), others)[name]), name
    made = []
    for series in (values[200:], hidden[200:]):
        of = track(series)
        mask = Mask(of, 10.0, "random", 0, np.array([400]), scored_steps(of, 10.0))
        (live,) = stream(of, [mask], generator)
        made.append(revised(mask, live, generator))
    assert np.array_equal(made[0].quantiles, made[1].quantiles)
    assert abs(made[0].value[0, -1] - values[611]) < abs(live.value[0, -1] - values[611]) + 0.01


@pytest.mark.parametrize("learner", ["ridge", "analog"])
def test_nobody_is_filled_with_the_help_of_the_same_person(learner: str) -> None:
    people = ["lab/a", "lab/b", "lab/c"]
    everybody = [track(wandering(seed), person) for seed, person in enumerate(people, start=8)]
    masks = [Mask(t, 10.0, "random", 0, np.arange(300, 800, 10), scored_steps(t, 10.0)) for t in everybody]
    asked, known = gaps_of(masks[:1], people, None), gaps_of(masks, people, None)
    told_the_truth = replace(known, truth=np.where(known.person[:, None] == 0, known.truth + 50.0, known.truth))
    made, same = (methods.causal(asked, others)[learner] for others in (known, told_the_truth))
    assert np.allclose(made, same)
    other = replace(known, truth=known.truth + 5.0)
    assert not np.allclose(made, methods.causal(asked, other)[learner])


def test_a_rival_is_dressed_with_the_errors_made_for_other_people_and_keeps_its_centre() -> None:
    everybody = [track(wandering(seed), person) for seed, person in ((10, "lab/a"), (11, "lab/b"))]
    masks = [Mask(t, 10.0, "random", 0, np.arange(200, 880, 4), scored_steps(t, 10.0)) for t in everybody]
    gaps = gaps_of(masks, ["lab/a", "lab/b"], None)
    centre = np.zeros(gaps.truth.shape)
    quantiles = methods.dressed(gaps, centre, SCORED_LEVELS, 2)
    assert np.allclose(quantiles[..., MID], gaps.unit(centre))
    scores = measure("hr_bpm", quantiles[..., MID], quantiles, gaps.unit(gaps.truth))
    assert 0.8 < scores["cover90"].mean() < 0.97
    assert scores["crps"].mean() < scores["mae"].mean()


# ---------------------------------------------------------------------------------------------------- the twin


def test_nothing_after_the_first_moment_of_a_gap_changes_what_is_shown_in_it(generator: Generator) -> None:
    values = wandering(12, 400)
    changed = np.concatenate([values[:301], values[301:] + 30.0])
    shown = []
    for series in (values, changed):
        of = track(series)
        mask = Mask(of, 30.0, "random", 0, np.array([300]), scored_steps(of, 30.0))
        shown += stream(of, [mask], generator)
    assert np.array_equal(shown[0].quantiles, shown[1].quantiles)
    assert np.array_equal(shown[0].confidence, shown[1].confidence)
    assert np.allclose(shown[0].weights.sum(-1), 1.0)


def test_the_twin_is_calibrated_by_what_it_saw_before_the_gap(generator: Generator) -> None:
    calm, wild = np.full(600, 70.0), 70 + 12 * np.random.default_rng(0).standard_normal(600)
    widths = []
    for past in (calm, wild):
        of = track(np.concatenate([past.clip(30, 120), np.full(40, 70.0)]))
        mask = Mask(of, 10.0, "random", 0, np.array([599]), scored_steps(of, 10.0))
        (shown,) = stream(of, [mask], generator)
        widths.append(float((shown.upper - shown.lower).mean()))
    assert widths[1] > 3 * widths[0]


# -------------------------------------------------------------------------------------------------- the scores


def test_crps_is_nothing_for_certainty_that_is_right_and_the_distance_for_one_that_is_wrong() -> None:
    certain = np.full((1, len(SCORED_LEVELS)), 2.0)
    assert crps(certain, np.array([2.0]))[0] == pytest.approx(0.0)
    assert crps(certain, np.array([5.0]))[0] == pytest.approx(3.0, rel=0.02)


def test_moments_without_a_reading_are_not_scored() -> None:
    truth = np.array([[1.0, np.nan, 3.0]])
    quantiles = np.zeros((1, 3, len(SCORED_LEVELS)))
    scores = measure("hr_bpm", np.zeros((1, 3)), quantiles, truth)
    assert scores["mae"][0] == pytest.approx(2.0)
    assert scores["cover90"][0] == 0.0


def where(person: list[int], channel: list[int], start_s: Floats | None = None) -> Where:
    ones = np.ones(len(person))
    index = np.zeros(len(person), np.int64)
    starts = ones if start_s is None else start_s
    people = tuple(f"lab/{n}" for n in range(max(person) + 1))
    return Where(
        "hr_bpm", 10.0, people, np.array(person), np.array(channel), index, index, starts, 600 * ones, ones, ones
    )


def test_everybody_counts_the_same_however_many_gaps_and_channels() -> None:
    places_ = where([0, 0, 0, 1], [0, 0, 1, 2])
    values = np.array([1.0, 3.0, 10.0, 100.0])
    assert by_person(places_, np.arange(4), values).tolist() == [6.0, 100.0]  # (mean of 2 and 10), 100


def test_fewer_than_a_hundred_gaps_of_a_person_are_not_measurable() -> None:
    rng = np.random.default_rng(0)
    for count, enough in ((99, False), (150, True)):
        inside = (np.arange(count) % 10 != 0).astype(float)
        scored = Scored(where([0] * count, [0] * count, rng.uniform(0, 600, count)))
        scored.scores["causal", OURS] = {"cover90": inside}
        (found,) = coverage_of([scored], "causal")
        assert found.measurable is enough
        assert found.interval[0] <= found.cover90 <= found.interval[1]
        assert found.holds


def test_the_ratio_is_to_the_best_rival_of_the_row() -> None:
    scored = Scored(where([0, 1], [0, 1]))
    for name, error in ((OURS, 1.0), ("locf", 2.0), ("ridge", 4.0)):
        scored.scores["causal", name] = {"mae": np.full(2, error), "crps": np.full(2, error)}
    first = next(iter(ratios(scored)))
    assert (first.rival, first.ratio, first.interval) == ("locf", 0.5, (0.5, 0.5))


def test_confidence_that_is_always_right_about_itself_has_no_calibration_error() -> None:
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0.2, 1.0, 40_000)
    truth = np.full(40_000, 70.0)
    honest = np.where(rng.random(40_000) < confidence, 70.0, 170.0)
    assert ece(tally("hr_bpm", honest, confidence, truth)) < 0.015
    boastful = tally("hr_bpm", np.full(40_000, 170.0), confidence, truth)
    assert ece(boastful) == pytest.approx(0.6, abs=0.02)
    assert boastful.shape == (BINS, 3)


def test_withheld_values_are_not_counted_as_shown() -> None:
    counted = tally("hr_bpm", np.full(4, 70.0), np.array([0.0, 0.05, 0.5, 0.9]), np.full(4, 70.0))
    assert counted[:, 0].sum() == 2


# --------------------------------------------------------------------------------------------- the whole command


def recording(path: Path, hr_bpm: Floats, **more: Floats) -> None:
    """A file with one reading a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"time_s": np.arange(float(len(hr_bpm))), "hr_bpm": hr_bpm, **more}
    with gzip.open(path, "wt") as file:
        np.savetxt(file, np.column_stack(list(columns.values())), "%.7g", ",", header=",".join(columns), comments="")


def command(data: Path, tmp_path: Path, *more: str) -> tuple[int, str, Path, Path]:
    """Exit code, output, JSON and page of ``everbeat evaluate``."""
    told, page = tmp_path / "rows.json", tmp_path / "report.html"
    arguments = ["evaluate", "--data", str(data), "--json", str(told), "--report", str(page), "--jobs", "1", *more]
    result = CliRunner().invoke(app, arguments, env={"EVERBEAT_STATE": str(tmp_path / "state")})
    return result.exit_code, result.output, told, page


def test_the_command_writes_every_promised_number_and_a_page_that_needs_no_network(tmp_path: Path) -> None:
    for n in range(2):
        recording(tmp_path / "data" / "ward" / f"p{n}.csv.gz", wandering(20 + n, 420).clip(30, 200))
    code, output, told, page = command(tmp_path / "data", tmp_path, "--gaps", "2")
    assert code == 0, output
    found = json.loads(told.read_text())
    assert {"rows", "reliability", "share_by_method", "seeds", "data_sha256", "masks_sha256"} <= set(found)
    assert len(found["seeds"]) == 3
    promised = {
        "signal", "gap_s", "drop", "mode", "method", "mae", "mae_ci", "rmse", "crps", "cover50", "cover80", "cover90",
        "cover95", "width90", "people", "gaps",
    }  # fmt: skip
    assert all(promised <= set(row) for row in found["rows"])
    for mode, names in (
        ("causal", {OURS, "locf", "linear", "ar", "ridge", "analog", "kalman", "seasonal", "mean"}),
        ("retrospective", {OURS, "locf", "linear", "ridge", "analog", "kalman", "mean"}),
    ):
        assert names <= {row["method"] for row in found["rows"] if row["mode"] == mode}
    assert {row["gap_s"] for row in found["rows"]} == {1.0, 5.0, 10.0, 30.0, 60.0, 300.0}
    assert {row["drop"] for row in found["rows"]} == {"single", "all"}
    assert sum(found["share_by_method"]["hr_bpm"].values()) == pytest.approx(1.0)
    assert {"saits", "brits"} <= {row["method"] for row in found["rows"]}  # those that the checkout brings
    assert "CAUSAL" in output
    assert not re.search(r"<script[^>]+src=|<link[^>]+href=|@import", page.read_text())


def test_the_same_data_gives_the_same_rows(tmp_path: Path) -> None:
    recording(tmp_path / "data" / "ward" / "p0.csv.gz", wandering(30, 200).clip(30, 200))
    first, again = (evaluate(tmp_path / "data", None, Settings(count=3, anomalies=False)) for _ in range(2))
    for one, two in zip(first.found[0].scored, again.found[0].scored, strict=True):
        assert np.array_equal(one.scores["causal", OURS]["crps"], two.scores["causal", OURS]["crps"])
    assert first.masks_sha256 == again.masks_sha256


def test_people_whom_the_model_knows_are_refused_even_under_another_name(tmp_path: Path, generator: Generator) -> None:
    data = shared_path("data")
    known = [p for p in generator.metadata["split"]["train"] if p.startswith("vitals_1hz/")]
    (tmp_path / "data" / "strangers").mkdir(parents=True)
    shutil.copy(data / f"{known[0]}.csv.gz", tmp_path / "data" / "strangers" / "renamed.csv.gz")
    recording(tmp_path / "data" / f"{known[1]}.csv.gz", wandering(31, 200).clip(30, 200))  # the name alone
    with pytest.raises(EvaluationError, match="has not learnt from"):
        evaluate(tmp_path / "data")
    code, output, told, _ = command(tmp_path / "data", tmp_path)
    assert code == 1
    assert "has not learnt from" in output
    assert not told.exists()
    recording(tmp_path / "data" / "ward" / "new.csv.gz", wandering(32, 200).clip(30, 200))
    found = evaluate(tmp_path / "data", None, Settings(count=3, anomalies=False))
    assert set(found.refused) == {"strangers/renamed", known[1]}
    assert found.people == ["ward/new"]


def test_on_people_never_seen_the_twin_beats_the_last_value_and_its_bounds_hold(generator: Generator) -> None:
    data = shared_path("data")
    from twin_engine.lab.judge import Task, judge

    people = [p for p in generator.metadata["split"]["test"] if p.startswith("vitals_1hz/")]
    all_tracks = [t for r in read_people(data, ["vitals_1hz"]) for t in tracks(r, "hr_bpm")][:5]
    tested = [replace(t, others={}) for t in all_tracks if t.person in people][:1]
    found = judge(Task("hr_bpm", tested, all_tracks, (0,), 20), generator, None, lambda: None)
    for scored in (s for s in found.scored if s.where.gap_s in (10.0, 30.0)):
        own, held = scored.scores["causal", OURS], scored.scores["causal", "locf"]
        assert own["crps"].mean() < held["crps"].mean()
        assert 0.75 < own["cover90"].mean() < 0.99

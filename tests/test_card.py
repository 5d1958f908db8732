"""The model card: every result in it comes from the files, what was not measured is said to be so."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest

from twin_engine.lab.card import CARD, card, write_card
from twin_engine.lab.card_tables import Comparison, calibration_error, comparisons, gap, kinds, number, share
from twin_engine.lab.energy import Energy

PLAN = {"signal": "hr_bpm", "grid_s": 1.0, "horizon_s": 300.0, "bases": ["ridge", "locf"], "context_steps": 536}
ENERGY = Energy(3.6e5, 3600.0, 3700.0, False, "processor seconds × 10 W a core").as_json()
METADATA: dict[str, Any] = {
    "seed": 7,
    "split_seed": 5,
    "data_sha256": "ab" * 32,
    "split": {
        "train": ["emg_gsr/subj14", "wrist_e4/s02", "wrist_e4/s03"],
        "validation": ["wrist_e4/s18"],
        "test": ["wrist_e4/s01"],
    },
    "signals": {
        "hr_bpm": {
            "file": "hr_bpm.safetensors",
            "sha256": "cd" * 32,
            "plan": PLAN,
            "validation": {"crps": 0.43},
            "training": {"steps": 6000, "windows": 24000, "batch": 64, "torch": "2.13.0", "energy": ENERGY},
        }
    },
}


def row(method: str, mae: float, crps: float, gap_s: float = 10.0, **other: Any) -> dict[str, Any]:
    basis = {"signal": "hr_bpm", "gap_s": gap_s, "drop": "single", "mask": "random", "folder": "all", "mode": "causal"}
    scores = {"method": method, "mae": mae, "mae_ci": [mae * 0.9, mae * 1.1], "rmse": mae, "crps": crps}
    cover = {"cover50": 0.51, "cover80": 0.79, "cover90": 0.885, "cover95": 0.94, "width90": 0.4}
    return basis | scores | cover | {"people": 11, "gaps": 1650} | other


EVALUATION: dict[str, Any] = {
    "rows": [
        row("everbeat", 0.0460, 0.0348),
        row("ridge", 0.0494, 0.0357),
        row("locf", 0.1040, 0.0749),
        row("saits", 0.0700, 0.0600),
        row("everbeat", 0.0059, 0.0048, 1.0),
        row("ridge", 0.0059, 0.0040, 1.0),
        row("everbeat", 0.9, 0.9, folder="wrist_e4"),
        row("everbeat", 0.0310, 0.0200, mode="retrospective"),
        row("linear", 0.0620, 0.0500, mode="retrospective"),
        row("everbeat", 0.0500, 0.0400, mask="realistic"),
        row("ridge", 0.0400, 0.0400, mask="realistic"),
    ],
    "reliability": {
        "bins": [
            {"low": 0.5, "high": 0.55, "n": 100, "confidence": 0.52, "hit_rate": 0.50},
            {"low": 0.9, "high": 0.95, "n": 300, "confidence": 0.93, "hit_rate": 0.97},
        ],
        "ece": 0.035,
    },
    "share_by_method": {"hr_bpm": {"lstm-vae": 0.81, "ridge": 0.19}},
    "coverage_by_person": [
        {"signal": "hr_bpm", "person": "wrist_e4/s01", "mode": "causal", "cover90": 0.91, "gaps": 400,
         "interval": [0.88, 0.93], "measurable": True, "holds": True},
        {"signal": "hr_bpm", "person": "wrist_e4/s05", "mode": "causal", "cover90": 0.77, "gaps": 380,
         "interval": [0.72, 0.82], "measurable": True, "holds": False},
        {"signal": "hr_bpm", "person": "wrist_e4/s10", "mode": "causal", "cover90": 0.31, "gaps": 20,
         "interval": [0.1, 0.5], "measurable": False, "holds": False},
    ],
    "by_subgroup": [
        {"signal": "hr_bpm", "gap_s": 10.0, "group": "stress", "part": "rest", "mae": 0.041, "mae_ci": [0.03, 0.05],
         "crps": 0.03, "crps_ci": [0.02, 0.04], "cover90": 0.9, "cover90_ci": [0.86, 0.93], "people": 4, "gaps": 321},
        {"signal": "hr_bpm", "gap_s": 10.0, "group": "EMG noise floor", "part": "high", "mae": 0.052, "mae_ci": None,
         "crps": 0.04, "crps_ci": None, "cover90": 0.8, "cover90_ci": None, "people": 1, "gaps": 55},
    ],
    "seeds": [0, 1, 2],
    "masks_sha256": "ef" * 32,
}  # fmt: skip


def section(text: str, title: str) -> str:
    """What stands between a heading and the next of its rank, on one line."""
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0].replace("\n", " ")


@pytest.fixture(scope="module")
def text() -> str:
    return card(METADATA, EVALUATION)


def test_a_clinician_reads_first_what_was_found_and_what_it_is_for(text: str) -> None:
    titles = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert titles[:3] == ["In short", "Intended use", "What it can't do"]
    assert {"Data, people, licences", "Subgroups", "Calibration", "Limits", "Energy"} <= set(titles)
    assert "no medical device" in section(text, "Intended use")


def test_the_findings_are_those_of_the_evaluation(text: str) -> None:
    short = section(text, "In short")
    assert "3300 gaps of 1 s to 10 s" in short and "up to 11 people" in short
    assert "90 % range held the truth in 88 % of cases; for the worst person in 77 % (Heart rate)" in short
    assert "0.966 times" in short  # mean of 0.0460 / 0.0494 and 1


def test_where_a_cheap_method_is_better_it_is_said_plainly(text: str) -> None:
    short = section(text, "In short")
    assert "**Heart rate, 1 s:** `ridge` has the better CRPS, by 17 %." in short
    assert "Heart rate, 10 s:**" not in short


def test_a_better_model_has_another_card() -> None:
    better = copy.deepcopy(EVALUATION)
    for each in better["rows"]:
        if each["method"] == "everbeat":
            each |= {"crps": each["crps"] * 0.5, "cover90": 0.904}
    short = section(card(METADATA, better), "In short")
    assert "better CRPS" not in short and "in 90 % of cases" in short


def test_a_tie_is_no_loss_and_no_rival_no_comparison() -> None:
    rows = [row("everbeat", 1.04, 1.04), row("locf", 1.0, 1.0)]
    short = section(card(METADATA, {"rows": rows}), "In short")
    assert "has the better" not in short and "1.04 times" in short
    assert "not compared" in section(card(METADATA, {"rows": rows[:1]}), "In short")


def test_saits_is_no_cheap_method() -> None:
    own, rival, cheap = row("everbeat", 1.0, 1.0), row("saits", 0.5, 0.5), row("mean", 2.0, 2.0)
    found = Comparison(own, [own, rival, cheap])
    assert found.saits == rival and found.best_mae == cheap and found.ratio("mae") == 0.5


def test_live_values_and_revisions_stand_in_separate_tables(text: str) -> None:
    results = section(text, "Results on people it has never seen")
    live, _, rest = results.partition("### Revisions")
    later, _, others = rest.partition("### Other kinds")
    assert "| Heart rate | 10 s | 0.046 [0.0414 to 0.0506] | 0.0494 (ridge) |" in live and "0.031" not in live
    assert "0.031 [0.0279 to 0.0341] | 0.062 (linear)" in later
    assert "| causal, single, realistic | 1 | 1.25 | 1 | 88 % |" in others
    assert "[0, 1, 2]" in results and "ef" * 32 in results


def test_rows_of_single_folders_are_not_mixed_with_those_of_everybody() -> None:
    causal = ("causal", "single", "random")
    assert [c.own["mae"] for c in comparisons(EVALUATION["rows"], causal)] == [0.0460, 0.0059]
    assert len(kinds(EVALUATION["rows"])) == 3


def test_subgroups_have_their_numbers_and_intervals_or_say_that_there_is_none(text: str) -> None:
    found = section(text, "Subgroups")
    rest = (
        "| stress | rest | Heart rate | 10 s | 0.041 [0.03 to 0.05] | 0.03 [0.02 to 0.04] | 90 % [86 % to 93 %] | 4 |"
    )
    assert rest in found
    assert "| EMG noise floor | high | Heart rate | 10 s | 0.052 | 0.04 | 80 % | 1 | 55 |" in found


def test_a_person_with_too_few_gaps_is_neither_right_nor_wrong(text: str) -> None:
    found = section(text, "Calibration")
    assert "for 1 of 2 the 95 % interval" in found
    assert "From worst to best: 77 % to 91 %." in found
    assert "fewer than 100 gaps: 1." in found


def test_the_calibration_error_is_weighted_by_how_often_a_confidence_was_shown(text: str) -> None:
    assert calibration_error(EVALUATION["reliability"]["bins"]) == pytest.approx((100 * 0.02 + 300 * 0.04) / 400)
    assert "expected calibration error): 0.035." in section(text, "Calibration")
    assert math.isnan(calibration_error([]))


def test_a_reliability_table_of_several_modes_gives_that_of_live_values() -> None:
    both = EVALUATION | {"reliability": {"causal": EVALUATION["reliability"], "retrospective": {"bins": []}}}
    assert card(METADATA, both) == card(METADATA, EVALUATION)


def test_data_people_and_licences_are_those_of_the_split(text: str) -> None:
    found = section(text, "Data, people, licences")
    assert "| `wrist_e4` |" in found and "2 train, 1 validation, 1 test | MIT |" in found
    assert "CC0 1.0" in found and "ab" * 32 in found and "Held out for testing: wrist_e4/s01." in found
    assert "`vitals_1hz`" not in found


def test_recordings_of_ones_own_are_not_called_healthy_or_licensed() -> None:
    own = METADATA | {"split": {"train": ["ward_7/p1"], "validation": ["ward_7/p2"], "test": []}}
    text = card(own, None)
    assert "healthy adults" not in text and "electrode was off" not in text
    assert "It knows only people like those it was trained on" in text
    assert "not stated: whoever trained these weights knows" in text and "two muscles of the face" not in text


def test_training_and_energy_are_told_with_how_we_know(text: str) -> None:
    assert "| Heart rate | 6000 | 24000 | 64 | 0.43 | `cdcdcdcdcdcdcdcd…` |" in section(text, "Training")
    assert "100 Wh (an estimate, not a measurement" in section(text, "Energy")
    assert "3600 processor seconds" in section(text, "Energy")


def test_energy_that_was_not_recorded_is_not_made_up() -> None:
    silent = copy.deepcopy(METADATA)
    del silent["signals"]["hr_bpm"]["training"]["energy"]
    assert section(card(silent, None), "Energy").strip() == "Not recorded for these weights."


def test_weights_that_nobody_evaluated_say_so(tmp_path: Path) -> None:
    path = write_card(tmp_path, METADATA, None)
    assert path == tmp_path / CARD
    text = path.read_text()
    assert "were not evaluated yet" in section(text, "In short")
    assert text.count("Not measured for these weights.") >= 4


def test_an_evaluation_that_went_through_json_gives_the_same_card(text: str) -> None:
    assert card(json.loads(json.dumps(METADATA)), json.loads(json.dumps(EVALUATION))) == text


def test_every_table_has_as_many_cells_as_heads(text: str) -> None:
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1


def test_targets_that_were_missed_are_named_as_missed() -> None:
    bars = [
        {"name": "MAE against SAITS", "bound": "at most 0.85", "reached": 0.91, "met": False, "note": ""},
        {"name": "realism", "bound": "at most 0.65", "reached": None, "met": None, "note": "no wave"},
    ]
    found = section(card(METADATA, {"bars": bars}), "Targets set beforehand")
    assert "| MAE against SAITS | at most 0.85 | 0.91 | **not met** |" in found
    assert "| realism | at most 0.65 | – | not measured | no wave |" in found


def test_what_the_latent_contributes_stands_beside_the_same_training_without_it() -> None:
    numbers = {"hr_bpm": {"latent": {"crps": 0.433, "kl_nats": 6.0}, "no latent": {"crps": 0.441}}}
    stored = {signal: {"validation": of} for signal, of in numbers.items()}
    found = section(
        card(METADATA | {"ablations": stored}, None),
        "What each part contributes",
    )
    assert "| Heart rate | latent | 0.433 | 6 |" in found and "| Heart rate | no latent | 0.441 | – |" in found


def test_a_score_that_is_unknown_is_neither_best_nor_a_fault() -> None:
    rows = [row("everbeat", 1.0, 1.0), row("locf", 2.0, 2.0) | {"mae": None, "crps": None}, row("mean", 4.0, 4.0)]
    (found,) = comparisons(rows, ("causal", "single", "random"))
    assert found.best_mae is not None and found.best_mae["method"] == "mean" and found.ratio("crps") == 0.25


def test_numbers_are_written_for_people() -> None:
    assert [gap(s) for s in (0.5, 60.0, 300.0, 1800.0)] == ["0.5 s", "60 s", "5 min", "30 min"]
    assert (number(0.12345), number(None), number(math.nan)) == ("0.123", "–", "–")
    assert (share(0.9), share(None)) == ("90 %", "–")

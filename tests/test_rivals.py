"""SAITS and BRITS as rivals: the passes are PyPOTS's own, and nothing they fill is seen by them."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from twin_engine.lab.fit_rivals import builder, theirs, train_rivals
from twin_engine.lab.rival_examples import Pool, ask
from twin_engine.lab.rival_loop import Settings
from twin_engine.lab.rival_nets import reconstruct, time_since_seen
from twin_engine.lab.rival_windows import AFTER, BESIDE, CHANNELS, STEPS, between, normalise
from twin_engine.lab.rivals import GRIDS_S, RIVALS, RivalError, Rivals, read_net
from twin_engine.plans import PLANS

CACHE = Path(__file__).resolve().parents[1] / "benchmarks" / "rivals"
WIDTH, HIDDEN, HEADS = 8, 6, 2


def _shapes(method: str) -> dict[str, tuple[int, ...]]:
    """PyPOTS's names and shapes of a small network."""
    if method == "brits":
        rits = {
            "rnn_cell.weight_ih": (4 * HIDDEN, 2 * CHANNELS), "rnn_cell.weight_hh": (4 * HIDDEN, HIDDEN),
            "rnn_cell.bias_ih": (4 * HIDDEN,), "rnn_cell.bias_hh": (4 * HIDDEN,),
            "temp_decay_h.W": (HIDDEN, CHANNELS), "temp_decay_h.b": (HIDDEN,),
            "temp_decay_x.W": (CHANNELS, CHANNELS), "temp_decay_x.b": (CHANNELS,),
            "hist_reg.weight": (CHANNELS, HIDDEN), "hist_reg.bias": (CHANNELS,),
            "feat_reg.W": (CHANNELS, CHANNELS), "feat_reg.b": (CHANNELS,),
            "combining_weight.weight": (CHANNELS, 2 * CHANNELS), "combining_weight.bias": (CHANNELS,),
        }  # fmt: skip
        return {f"model.rits_{way}.{name}": shape for way in "fb" for name, shape in rits.items()}
    out: dict[str, tuple[int, ...]] = {}

    def linear(name: str, to: int, of: int) -> None:
        out[f"encoder.{name}.weight"], out[f"encoder.{name}.bias"] = (to, of), (to,)

    for block, name in (("1", "first"), ("2", "second")):
        at = f"layer_stack_for_{name}_block.0"
        linear(f"embedding_{block}.embedding_layer", WIDTH, 2 * CHANNELS)
        out |= {f"encoder.{at}.slf_attn.{w}.weight": (WIDTH, WIDTH) for w in ("w_qs", "w_ks", "w_vs", "fc")}
        linear(f"{at}.pos_ffn.linear_1", 2 * WIDTH, WIDTH)
        linear(f"{at}.pos_ffn.linear_2", WIDTH, 2 * WIDTH)
        for norm in (f"{at}.layer_norm", f"{at}.pos_ffn.layer_norm"):
            out[f"encoder.{norm}.weight"] = out[f"encoder.{norm}.bias"] = (WIDTH,)
    linear("reduce_dim_z", CHANNELS, WIDTH)
    linear("reduce_dim_beta", CHANNELS, WIDTH)
    linear("reduce_dim_gamma", CHANNELS, CHANNELS)
    linear("weight_combine", CHANNELS, CHANNELS + STEPS)
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained networks of every kind, as a training would leave them."""
    out, noise = tmp_path_factory.mktemp("rivals"), torch.Generator().manual_seed(1)
    for method in RIVALS:
        for signal, grids in GRIDS_S.items():
            for grid_s, _ in grids:
                arrays = {f"w.{n}": 0.3 * torch.randn(shape, generator=noise) for n, shape in _shapes(method).items()}
                floors = {"floors": torch.full((1 + len(BESIDE),), 0.1)}
                header = {"method": method, "signal": signal, "grid_s": f"{grid_s:g}"}
                header["settings"] = json.dumps({"heads": HEADS})
                save_file(arrays | floors, out / f"{method}-{signal}-{grid_s:g}s.safetensors", header)
    return out


@pytest.fixture(scope="module")
def rivals(folder: Path) -> Rivals:
    found = Rivals.load(folder)
    assert found is not None
    return found


def _skin(seed: int = 3) -> np.ndarray:
    return 33 + np.cumsum(np.random.default_rng(seed).normal(0, 0.02, 2000))


@pytest.mark.parametrize("gap_s", [1.0, 30.0, 60.0, 300.0])
@pytest.mark.parametrize("method", RIVALS)
def test_a_causal_filling_does_not_change_with_the_future(rivals: Rivals, method: str, gap_s: float) -> None:
    values, starts = _skin(), np.array([900, 1000])
    others = {"hr_bpm": 70 + 100 * (_skin(4) - 33), "acc_g.x": _skin(5)}
    made = rivals.fill(method, "skin_temp_C", values, others, starts, gap_s, retrospective=False)
    changed = values.copy()
    changed[1001:] += 1.0
    later = {name: np.where(np.arange(2000) > 1000, np.nan, series) for name, series in others.items()}
    again = rivals.fill(method, "skin_temp_C", changed, later, starts, gap_s, retrospective=False)
    assert made.shape == (2, gap_s)
    assert np.isfinite(made).all()
    np.testing.assert_array_equal(made[1], again[1])


@pytest.mark.parametrize("method", RIVALS)
def test_a_retrospective_filling_sees_the_far_side_and_nothing_inside(rivals: Rivals, method: str) -> None:
    values, starts = _skin(), np.array([1000])
    made = rivals.fill(method, "skin_temp_C", values, {}, starts, 60.0, retrospective=True)
    inside, beyond = values.copy(), values.copy()
    inside[1001:1061] = np.nan
    beyond[1061:] += 1.0
    np.testing.assert_array_equal(
        made, rivals.fill(method, "skin_temp_C", inside, {}, starts, 60.0, retrospective=True)
    )
    other = rivals.fill(method, "skin_temp_C", beyond, {}, starts, 60.0, retrospective=True)
    assert np.abs(other - made).max() > 0.1


@pytest.mark.parametrize("method", RIVALS)
def test_a_patient_who_is_warmer_throughout_is_filled_as_much_warmer(rivals: Rivals, method: str) -> None:
    values, starts = _skin(), np.array([700, 1500])
    made = rivals.fill(method, "skin_temp_C", values, {}, starts, 30.0, retrospective=True)
    warmer = rivals.fill(method, "skin_temp_C", values + 2.0, {}, starts, 30.0, retrospective=True)
    np.testing.assert_allclose(warmer, made + 2.0, atol=1e-3)


def test_many_recordings_are_filled_as_each_by_itself(rivals: Rivals) -> None:
    parts = [(_skin(n), {"hr_bpm": 40 * _skin(n + 9) - 1250}, np.array([600 + 50 * n, 1300])) for n in range(3)]
    together = rivals.fill_all("brits", "skin_temp_C", parts, 300.0, retrospective=True)
    alone = [rivals.fill("brits", "skin_temp_C", *part, 300.0, retrospective=True) for part in parts]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-4)


def test_every_gap_of_the_evaluation_fits_and_longer_ones_do_not(rivals: Rivals) -> None:
    for signal, grids in GRIDS_S.items():
        for gap_s in (1.0, 5.0, 10.0, 30.0, 60.0, *((300.0,) if signal != "emg_activity_mV" else ())):
            for both in (False, True):
                layout = rivals.layout(signal, gap_s, retrospective=both)
                assert layout is not None
                assert layout.context + layout.gap + layout.after == STEPS
                assert layout.context >= STEPS // 3
                assert layout.after == (AFTER if both else 0)
                assert layout.gap * layout.grid_s >= gap_s - 1e-6
        assert all(round(g / PLANS[signal].grid_s, 6).is_integer() for g, _ in grids)
        assert rivals.layout(signal, 1000.0) is None
    assert rivals.layout("spo2_pct", 10.0) is None


def test_a_gap_without_anything_known_before_it_is_not_filled(rivals: Rivals) -> None:
    window = np.full((1, STEPS, 1 + len(BESIDE)), np.nan)
    window[0, -AFTER:, 0] = 70.0
    lost = np.zeros((1, STEPS), bool)
    lost[0, 30:-AFTER] = True
    assert np.isnan(rivals.impute("saits", "hr_bpm", window, lost, 1.0)[lost]).all()


def test_where_no_rival_fits_the_error_says_so(rivals: Rivals) -> None:
    with pytest.raises(RivalError, match="nothing was imputed"):
        rivals.fill("saits", "spo2_pct", np.full(100, 97.0), {}, np.array([50]), 10.0, retrospective=False)
    with pytest.raises(RivalError, match="expected saits for hr_bpm on 1 s and windows"):
        rivals.impute("saits", "hr_bpm", np.zeros((1, 7, 2)), np.zeros((1, 7), bool), 1.0)


def test_an_empty_cache_is_none_and_a_damaged_one_an_error(tmp_path: Path, folder: Path) -> None:
    assert Rivals.load(tmp_path) is None
    whole = next(folder.glob("saits-*")).read_bytes()
    (tmp_path / "saits-hr_bpm-1s.safetensors").write_bytes(whole[:500])
    with pytest.raises(RivalError, match="train the rivals again"):
        Rivals.load(tmp_path)


def test_a_linear_signal_leaves_the_networks_nothing_to_correct() -> None:
    window = np.full((1, STEPS, 1 + len(BESIDE)), np.nan)
    window[0, :, 0] = 70.0
    window[0, 40:68, 0] = np.linspace(70, 80, 30)[1:-1]
    window[0, 68:, 0] = 80.0
    lost = np.zeros((1, STEPS), bool)
    lost[0, 40:68] = True
    normal = normalise(window, lost, np.ones(1 + len(BESIDE)))
    np.testing.assert_allclose(normal.base[0][lost[0]], np.linspace(70, 80, 30)[1:-1])
    assert not normal.x[..., 0].any()
    assert not normal.seen[0, 40:68, 0].any()


def test_cell_means_are_laid_through_their_middles() -> None:
    values = np.full(40, 10.0)
    values[21:] = 30.0  # known again after a gap of 10 steps
    made = between("hr_bpm", np.array([[60.0, 80.0]]), 50 + values, np.array([10]), 10, 5, True)
    np.testing.assert_allclose(made[0, [2, 7]], [60.0, 80.0])
    np.testing.assert_allclose(made[0, 4], 60 + 20 * 2 / 5)
    assert (np.diff(made[0, 2:8]) > 0).all()


def test_time_since_a_value_was_seen_counts_the_steps_without_one() -> None:
    seen = torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0, 1.0])[None, :, None]
    assert time_since_seen(seen)[0, :, 0].tolist() == [0, 1, 1, 2, 3, 1]


def test_training_hides_blocks_at_the_end_and_before_the_far_side() -> None:
    rng = np.random.default_rng(2)
    pool = Pool(rng.normal(size=(50, STEPS, 5)).cumsum(1), np.ones(50), np.full(5, 0.3), (10, 30))
    _, seen, _, weight, _ = ask(pool, np.arange(50), rng)
    hidden = (weight > 0).numpy()
    assert not seen[..., :-1].numpy()[hidden].any()  # of the target, and of the channels beside it
    ends = {int(np.flatnonzero(row)[-1]) + 1 for row in hidden}
    assert ends == {STEPS, STEPS - AFTER}
    assert all(10 <= row.sum() <= 30 and np.ptp(np.flatnonzero(row)) == row.sum() - 1 for row in hidden)


def test_without_pypots_training_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypots", None)
    for name in [name for name in sys.modules if name.startswith("pypots.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RivalError, match=r"pip install 'everbeat\[benchmark\]'"):
        train_rivals(tmp_path, tmp_path, seconds=1, seed=0, progress=lambda *_: None)


def test_the_cached_rivals_make_what_pypots_made_of_the_same_windows() -> None:
    paths = sorted(CACHE.glob("*.safetensors"))
    if not paths:
        pytest.skip("no rivals are cached in benchmarks/rivals; everbeat train --baselines makes them")
    for path in paths:
        net, arrays = read_net(path), load_file(path)
        made = net.run(arrays["proof.x"].float(), arrays["proof.seen"].float())
        torch.testing.assert_close(made, arrays["proof.made"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", RIVALS)
def test_our_passes_are_those_of_pypots(method: str) -> None:
    pytest.importorskip("pypots", reason="needs PyPOTS: pip install 'everbeat[benchmark]'")
    settings = Settings(width=16, layers=2, hidden=12)
    torch.manual_seed(0)
    net = builder(settings)(method)
    seen = (torch.rand(3, STEPS, CHANNELS) > 0.4).float()
    x = torch.randn(3, STEPS, CHANNELS) * seen
    with torch.no_grad():
        ours = reconstruct(method, dict(net.named_parameters()), x, seen, settings.heads)
    torch.testing.assert_close(ours, theirs(method, net, x, seen), atol=1e-5, rtol=1e-5)


def test_training_writes_a_cache_that_is_kept_when_asked_again(tmp_path: Path) -> None:
    pytest.importorskip("pypots", reason="needs PyPOTS: pip install 'everbeat[benchmark]'")
    data, out = tmp_path / "data", tmp_path / "out"
    (data / "wrist_e4").mkdir(parents=True)
    (data / "vitals_1hz").mkdir()
    for n in range(10):
        pulse = 70 + np.cumsum(np.random.default_rng(n).normal(0, 0.5, 1500))
        rows = "\n".join(f"{t},{v:.2f}" for t, v in enumerate(np.clip(pulse, 45, 150)))
        for name in (f"wrist_e4/s{n:02d}", f"vitals_1hz/subj{n:02d}"):
            (data / f"{name}.csv.gz").write_bytes(gzip.compress(f"time_s,hr_bpm\n{rows}\n".encode()))
    told: list[str] = []

    def train() -> dict[str, float]:
        return train_rivals(data, out, seconds=2, seed=0, progress=lambda n, _: told.append(n), signals=("hr_bpm",))

    first, cached = train(), {path.name: path.read_bytes() for path in out.iterdir()}
    assert len(first) == len(RIVALS) * len(GRIDS_S["hr_bpm"])
    assert any(name.startswith("saits-hr_bpm") for name in told)
    told.clear()
    assert train() == first
    assert not told
    assert {path.name: path.read_bytes() for path in out.iterdir()} == cached
    rivals = Rivals.load(out)
    assert rivals is not None
    made = rivals.fill("brits", "hr_bpm", np.full(600, 70.0), {}, np.array([300]), 10.0, retrospective=False)
    assert np.abs(made - 70.0).max() < 5

"""A training that was cut off goes on as if it had not been, to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from twin_engine.lab.checkpoint import State, drop_checkpoint, key_of, load_checkpoint, path_of, save_checkpoint

KEY = key_of(seed=3, steps=40, plan={"grid_s": 1.0})


def fresh(seed: int = 3) -> State:
    """A small recurrent network with dropout, its optimiser, its average: what a training holds at its start."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.3), nn.Linear(8, 1))
    optimiser = torch.optim.AdamW(network.parameters(), 1e-2)
    averages = {name: value.clone() for name, value in network.state_dict().items()}
    return State(0, network, optimiser, averages, averages, {"crps": 9.0}, np.random.default_rng(seed))


def go_on(state: State, until: int) -> None:
    """Train with every source of chance in use: torch's generator, dropout, numpy."""
    assert state.rng is not None
    while state.step < until:
        x = torch.randn(16, 5) + torch.tensor(state.rng.standard_normal(5), dtype=torch.float32)
        loss = (state.network(x) - x.sum(1, keepdim=True)).abs().mean()
        state.optimiser.zero_grad()
        loss.backward()
        state.optimiser.step()
        for name, value in state.network.state_dict().items():
            state.averages[name].lerp_(value, 0.1)
        state.step += 1
        if float(loss.detach()) < state.numbers["crps"]:
            state.numbers = {"crps": float(loss.detach())}
            state.best = {name: value.clone() for name, value in state.averages.items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("cut", [1, 7, 39])
def test_a_resumed_training_gives_the_very_weights_of_an_uninterrupted_one(cut: int, tmp_path: Path) -> None:
    path = path_of(tmp_path, "hr_bpm")
    whole = fresh()
    go_on(whole, 40)
    drawn_next = torch.rand(4)
    first = fresh()
    go_on(first, cut)
    save_checkpoint(path, KEY, first)
    torch.manual_seed(99)  # another process, another chance
    second = fresh(seed=77)
    assert load_checkpoint(path, KEY, second)
    assert second.step == cut
    go_on(second, 40)
    assert same(second.network.state_dict(), whole.network.state_dict())
    assert same(second.averages, whole.averages) and same(second.best, whole.best)
    assert second.numbers == whole.numbers
    assert torch.equal(torch.rand(4), drawn_next)  # and whatever comes after it


def test_without_the_checkpoint_the_weights_would_differ() -> None:
    whole, other = fresh(), fresh(seed=77)
    go_on(other, 40)
    torch.manual_seed(3)
    go_on(whole, 40)
    assert not same(other.network.state_dict(), whole.network.state_dict())


def test_a_checkpoint_of_another_training_is_not_used(tmp_path: Path) -> None:
    path = path_of(tmp_path, "hr_bpm")
    state = fresh()
    go_on(state, 5)
    save_checkpoint(path, KEY, state)
    begun = fresh()
    before = {name: value.clone() for name, value in begun.network.state_dict().items()}
    assert not load_checkpoint(path, key_of(seed=4, steps=40, plan={"grid_s": 1.0}), begun)
    assert begun.step == 0 and same(begun.network.state_dict(), before)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04" + bytes(50)])
def test_a_damaged_checkpoint_means_a_new_beginning_and_a_warning(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(tmp_path, "hr_bpm")
    path.write_bytes(content)
    state = fresh()
    assert not load_checkpoint(path, KEY, state)
    assert state.step == 0 and "begins anew" in caplog.text


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "sprung"),)  # type: ignore[return-value]

    path = path_of(tmp_path, "hr_bpm")
    torch.save({"key": KEY, "network": Trap()}, path)
    assert not load_checkpoint(path, KEY, fresh())
    assert not (tmp_path / "sprung").exists()


def test_no_checkpoint_is_no_error_and_a_dropped_one_is_gone(tmp_path: Path) -> None:
    path = path_of(tmp_path, "hr_bpm")
    assert not load_checkpoint(path, KEY, fresh())
    save_checkpoint(path, KEY, fresh())
    drop_checkpoint(path)
    drop_checkpoint(path)
    assert list(tmp_path.iterdir()) == []


def test_the_key_depends_on_every_fact_and_not_on_their_order() -> None:
    assert key_of(a=1, b=[2]) == key_of(b=[2], a=1)
    assert len({key_of(a=1, b=2), key_of(a=2, b=2), key_of(a=1, b=3), key_of(a=1)}) == 4

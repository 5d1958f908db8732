"""The browser's decoder reads what the engine's encoder writes: same bytes, same numbers. Runs the real JavaScript."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from twin_engine.messages import (
    MAX_BLOCKS,
    REVISED,
    FrameKind,
    Provenance,
    Samples,
    decode_wire,
    encode_wire,
    encode_wires,
)
from twin_engine.store.feed import Entry
from web.history import History

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
import {readFileSync} from 'node:fs';
const {decode} = await import(process.argv[1]);
const {kind, clock, blocks} = decode(readFileSync(0));
const plain = (b) => ({channel: b.channel, us: [...b.t].map((t) => Math.round(t * 1e6)),
  value: [...b.value], lower: [...b.lower], upper: [...b.upper],
  confidence: [...b.confidence], provenance: [...b.provenance]});
console.log(JSON.stringify({kind, clock, blocks: blocks.map(plain)}));
"""


def read_in_javascript(data: bytes) -> subprocess.CompletedProcess[bytes]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node to run the browser's decoder")
    wire = (ROOT / "web/ui/src/wire.js").as_uri()
    command = [node, "--input-type=module", "-e", PROGRAM, wire]
    return subprocess.run(command, input=data, capture_output=True, timeout=30, check=False)


def samples(channel: str, times_us: np.ndarray, seed: int) -> Samples:
    rng = np.random.default_rng(seed)
    n = len(times_us)
    values = rng.normal(size=n)
    values[::7] = np.nan
    kinds = rng.choice([int(p) for p in Provenance], n).astype(np.uint8) | (REVISED * rng.integers(0, 2, n)).astype(
        np.uint8
    )
    return Samples(channel, times_us, values, values - 1e-7, values + 1e7, rng.random(n), kinds)


T0_US = 1_795_233_000_123_000


@pytest.mark.parametrize("kind", list(FrameKind))
def test_the_browser_reads_the_numbers_that_the_engine_wrote(kind: FrameKind) -> None:
    hundred_hz = T0_US + np.arange(500, dtype=np.int64) * 10_000
    uneven = T0_US + np.cumsum([0, 2_000_000, 2_001_000, 9_000_000, 2_000_000]).astype(np.int64)
    sent = [
        samples("emg_activity_mV.zyg", hundred_hz, 1),
        samples("room_temp_C", uneven, 2),
        samples("µ", uneven[:1], 3),
    ]
    data = encode_wire(kind, T0_US / 1e6 + 5, sent)

    answer = read_in_javascript(data)
    assert answer.returncode == 0, answer.stderr.decode()
    read = json.loads(answer.stdout)
    expected_kind, clock_s, expected = decode_wire(data)

    assert (read["kind"], read["clock"]) == (expected_kind, clock_s)
    assert [b["channel"] for b in read["blocks"]] == [s.channel for s in expected]
    for block, s in zip(read["blocks"], expected, strict=True):
        assert np.abs(np.array(block["us"]) - s.times_us).max() <= 1
        for name, column in (("value", s.values), ("lower", s.lower), ("upper", s.upper)):
            np.testing.assert_array_equal(np.array(block[name], float), column)  # null reads as NaN
        assert block["confidence"] == np.round(s.confidence * 255).astype(int).tolist()
        assert block["provenance"] == s.provenance.tolist()


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("cut short", lambda data: data[:-3]),
        ("of another version", lambda data: data[:1] + b"\x09" + data[2:]),
        ("only a head", lambda data: data[:5]),
    ],
)
def test_the_browser_refuses_a_message_that_is(name: str, spoil) -> None:  # type: ignore[no-untyped-def]
    times = T0_US + np.arange(10, dtype=np.int64) * 10_000
    data = encode_wire(FrameKind.LIVE, 1.0, [samples("gsr_uS", times, 4)])
    answer = read_in_javascript(spoil(data))
    assert answer.returncode != 0
    assert b"RangeError" in answer.stderr, name


def uneven(n: int) -> np.ndarray:
    return T0_US + np.cumsum(np.where(np.arange(n) % 2, 1000, 20_000)).astype(np.int64)


def test_more_uneven_samples_than_one_message_counts_become_several_and_none_is_lost() -> None:
    sent = samples("gsr_uS", uneven(140_000), 5)
    parts = encode_wires(FrameKind.LIVE, 1.0, [sent])
    assert len(parts) == 2 and int.from_bytes(parts[0][2:4], "little") == MAX_BLOCKS
    back = [block for part in parts for block in decode_wire(part)[2]]
    assert sum(len(block) for block in back) == 140_000
    with pytest.raises(ValueError, match="expected at most 65535"):
        encode_wire(FrameKind.LIVE, 1.0, [sent])


def test_a_snapshot_of_more_uneven_samples_than_a_message_holds_has_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    from twin_engine import messages

    times, history = uneven(3000), History(60.0)
    wire = encode_wire(FrameKind.LIVE, times[-1] / 1e6, [samples("gsr_uS", times, 6)])
    history.add(Entry("1-0", wire, b"", None, [], 0))
    monkeypatch.setattr(messages, "MAX_BLOCKS", 1000)
    kept = np.concatenate([block.times_us for block in decode_wire(history.snapshot())[2]])
    assert 0 < len(kept) < 3000 and abs(int(kept[-1]) - int(times[-1])) <= 1

"""The frame codec: what a board sends is what the engine reads, and nothing else is taken for a frame."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.frame import MAX_FRAME_BYTES, MAX_READINGS, Block, Frame, FrameError, Source, decode, encode, quantise

NOW = 1_760_000_000_000
FRAME = Frame(NOW, 5000, 3, 7, Source.SENSOR, (Block("gsr_uS", NOW - 2000, 250_000, -4, (49115, None, 49116)),))

# The bytes of FRAME, for whoever writes another codec (the board's).
VECTOR = bytes.fromhex("87011b00000199c82cc0001913880307008185666773725f75533907cf1a0003d090238319bfdbf601")

blocks = st.builds(
    Block,
    channel=st.text("abc_.", min_size=1, max_size=12),
    t0_ms=st.integers(NOW - 60_000, NOW - 30_000),
    period_us=st.integers(1, 1000),
    exponent=st.integers(-9, 3),
    counts=st.lists(st.none() | st.integers(-(2**40), 2**40), min_size=1, max_size=200).map(tuple),
)


@given(st.lists(blocks, max_size=5))
def test_what_was_encoded_is_decoded(made: list[Block]) -> None:
    frame = Frame(NOW, 1, 2, 3, Source.RECORDING, tuple(made))
    assert decode(encode(frame)) == frame


def test_the_published_bytes_are_the_frame() -> None:
    assert encode(FRAME) == VECTOR
    assert decode(VECTOR) == FRAME


def test_values_and_times_are_those_of_the_sensor() -> None:
    (block,) = decode(VECTOR).blocks
    assert block.values() == [4.9115, None, 4.9116]
    assert block.times_us() == [(NOW - 2000) * 1000, (NOW - 1750) * 1000, (NOW - 1500) * 1000]


def test_an_irregular_channel_keeps_its_own_times() -> None:
    block = Block("room_temp_C", NOW - 9000, 0, 0, (21, 22), (5801,))
    (back,) = decode(encode(Frame(NOW, 1, 2, 3, Source.SENSOR, (block,)))).blocks
    assert back.times_us() == [(NOW - 9000) * 1000, (NOW - 3199) * 1000]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_reading_that_is_no_number_makes_no_frame(value: float) -> None:
    with pytest.raises(FrameError, match=r"expected a finite reading, got .*; the frame was not made"):
        quantise([1.0, value], -2)


def test_a_frame_too_large_for_the_hub_is_not_made_and_not_read() -> None:
    block = Block("ecg_mV", NOW - 9000, 100, -3, tuple(range(0, 2_000_000, 100)))
    many = tuple(Block(f"ecg_mV.{i}", NOW - 9000, 100, -3, block.counts) for i in range(3))
    with pytest.raises(FrameError, match="send shorter batches"):
        encode(Frame(NOW, 1, 2, 3, Source.SENSOR, many))
    with pytest.raises(FrameError, match=f"at most {MAX_FRAME_BYTES} bytes"):
        decode(bytes(MAX_FRAME_BYTES + 1))


def spoilt(**changes: object) -> bytes:
    """FRAME's record with a field (by place) or a block's field (b0 to b4) changed."""
    record = cbor2.loads(VECTOR)
    for name, value in changes.items():
        if name.startswith("b"):
            record[6][0][int(name[1])] = value
        else:
            record[int(name[1])] = value
    return bytes(cbor2.dumps(record))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xff",
        cbor2.dumps({"a": 1}),
        cbor2.dumps([1, 2, 3]),
        spoilt(f0=2),
        spoilt(f1=-1),
        spoilt(f1=2**60),
        spoilt(f4=True),
        spoilt(f5=9),
        spoilt(f6="blocks"),
        spoilt(b0=""),
        spoilt(b0="x" * 65),
        spoilt(b0=7),
        spoilt(b1=1.5),
        spoilt(b2=0),
        spoilt(b2=[1]),
        spoilt(b2=[1, 0]),
        spoilt(b3=40),
        spoilt(b4=[]),
        spoilt(b4=[float("nan")]),
        spoilt(b4=[2**60]),
        spoilt(b4=[0] * (MAX_READINGS + 1)),
        spoilt(f6=[["gsr_uS", -MAX_READINGS, 1, 0, [0] * (MAX_READINGS // 2 + 1)]] * 2),
        spoilt(b1=0, b2=60_000_000),
        b"\xd8\x1c" * 3000,
    ],
)
def test_anything_else_is_refused_whole_with_what_was_expected(data: bytes) -> None:
    with pytest.raises(FrameError, match=r"^expected .*refused"):
        decode(data)


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_decoder(data: bytes) -> None:
    try:
        decode(data)
    except FrameError:
        return

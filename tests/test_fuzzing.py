"""The fuzz targets, for a moment each; inputs that once broke a parser; and that the fuzzer finds what is broken."""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest

from device.hub.amqp_codec import Described, Ulong, encode
from device.hub.amqp_frames import AmqpError
from device.hub.amqp_messages import decode_request
from device.hub.amqp_nodes import parse_address
from fuzzing import once, run
from fuzzing.targets import Target, make, present
from security import canonical, certificates, note
from security.errors import Rejected
from security.identity import create_ca, issue_device, wall_clock_ms
from security.note import LOG, VerifierKey
from security.renewal import make_renewal, prove_renewal
from twin_engine.registry import PatientCard
from web.asked import MAX_POINTS, Refused, asked

RUNS = 400
CARD = PatientCard("p-1", "KESTREL-17", 1968, "Bed 4", "sim-01", "female", 168.0, 64.0)


@pytest.mark.parametrize("name", present())
def test_no_parser_stumbles_over_mutants_of_what_it_takes(name: str) -> None:
    target = make(name)
    with once.watchdog():
        for data in islice(once.mutate(list(target.seeds), random.Random(7)), RUNS):
            assert once.tried(target.run, data) == "", data.hex()


def test_what_raises_is_found_and_its_input_is_kept(tmp_path: Path) -> None:
    def run_(data: bytes) -> None:
        if data.startswith(b"\xff\xff"):
            raise KeyError("broken")

    result = once.plain(Target("broken", run_, (b"\xff\0abc",)), 20, _folder(tmp_path))
    assert "KeyError" in str(result["why"])
    assert Path(str(result["find"])).read_bytes().startswith(b"\xff\xff")


def test_what_hangs_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(once, "HANG_S", 0.2)
    result = once.plain(Target("slow", lambda _: time.sleep(5), (b"a",)), 5, _folder(tmp_path))
    assert "took longer" in str(result["why"])


def test_what_grows_is_found(tmp_path: Path) -> None:
    held = list[bytes]()
    result = once.plain(Target("leak", lambda _: held.append(bytes(20_000)), (b"a",)), 2, _folder(tmp_path))
    assert result["find"] == "memory"


def test_the_round_prints_executions_and_ends_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--minutes", "0.05", "--only", "frame,canonical", "--corpus", str(tmp_path), "--engine", "plain"]
    assert run.main(options) == 0
    assert "crashes, hangs and growths found: 0" in capsys.readouterr().out


def test_one_turn_is_a_process_that_says_what_came_of_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fuzzing.once", "frame", "--seconds", "1", "--corpus", str(tmp_path / "c")]
    result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert result["runs"] > 100
    assert "find" not in result


# ------------------------------------------------------------------------- inputs that once broke a parser


def test_half_an_ipv6_address_is_no_partition() -> None:
    with pytest.raises(AmqpError):
        parse_address("amqps://[::1/hub/ConsumerGroups/g/Partitions/0")


def test_a_section_described_by_a_list_is_refused() -> None:
    with pytest.raises(AmqpError):
        decode_request(b"\0" + encode([1]) + encode(None))
    good = encode(Described(Ulong(0x73), ["id"])) + encode(Described(Ulong(0x74), {"operation": "READ"}))
    assert decode_request(good).text("operation") == "READ"


@pytest.mark.parametrize("points", ["0" * 9 + str(MAX_POINTS + 1), "1" * 5000])
def test_leading_zeros_and_long_numbers_ask_for_no_more_points(points: str) -> None:
    with pytest.raises(Refused, match="points="):
        asked(CARD, "p-1", {"from": "1", "to": "2", "points": points})


@pytest.mark.parametrize("more", ["", "Content-Length: 300000\r\n"])
def test_a_head_request_is_answered_without_a_body(more: str) -> None:
    target = make("hub-http")
    body = b"x" * 300_000 if more else b""
    target.run(f"HEAD /devices HTTP/1.1\r\nHost: h\r\n{more}\r\n".encode() + body)


def test_half_a_surrogate_pair_is_no_note_and_no_name() -> None:
    known = VerifierKey("log.example", LOG, bytes(32))
    line = f"— log.example {base64.b64encode(known.key_id + bytes(64)).decode()}\n"
    with pytest.raises(Rejected):
        note.check(json.loads('"a\\ud800"') + f"\n1\nx\n\n{line}", [known])
    with pytest.raises(Rejected):
        VerifierKey.parse(str(known).replace("log", "\ud800"))


def _folder(path: Path) -> Path:
    folder = path / "corpus"
    folder.mkdir()
    return folder


def test_a_certificate_of_a_version_that_there_is_not_is_refused_as_a_renewal(tmp_path: Path) -> None:
    ca = create_ca(tmp_path / "ca")
    device = issue_device(ca, "d1", tmp_path / "d")
    body = canonical.decode(make_renewal(device, certificates.new_key(), wall_clock_ms()), "a renewal")[0]
    fields = canonical.decode(body, "its fields")
    marked = fields[4][0].replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x7f", 1)  # version 3 (2) becomes 127
    assert marked != fields[4][0]
    spoilt = canonical.encode([canonical.encode([*fields[:4], [marked, *fields[4][1:]], fields[5]]), b"signature"])
    with pytest.raises(Rejected):
        prove_renewal(spoilt, ca.trust, wall_clock_ms())

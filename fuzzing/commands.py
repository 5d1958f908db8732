"""Target: what a device hears as a command, and an engine as its answer, from whoever has the hub."""

from __future__ import annotations

import json
import random

from benchmarks.attack_commands import Line
from fuzzing.house import Made, _Session
from security.errors import Rejected

STATUS = 200


def commands() -> Made:
    """Nothing is carried out but the one true command, once; no answer is believed but the true one."""
    house = _Session()
    record, sealer = house.opened("A")
    line = Line(sealer, house.accept(record), random.Random(1))
    line.seal()
    command, sent = line.tell()
    true = json.dumps(sent, sort_keys=True)
    said = line.obeys(sent)

    def run(data: bytes) -> None:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return
        assert line.obeys(value) is None, "a command that was never made, or was carried out before"
        try:
            line.opener.check_answer(value, STATUS, command)
        except Rejected:
            return
        assert value == said, "an answer that was never given"

    forms = [json.loads(true), said, {**sent, "mac": "00" * 32}, {"sid": sent["sid"], "n": 5}, {"seconds": 5}, "sensor"]
    return run, [json.dumps(form).encode() for form in forms]

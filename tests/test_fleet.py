"""Many devices in one process: each on its own, and one that fails takes nobody with it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import numpy as np
import pytest

from device.physiology import REFERENCE, traits_of
from device.simulator import Simulator
from everbeat import fleet
from everbeat.demo_plan import DemoFailed, recordings
from everbeat.fleet import FleetError, Member, read_fleet, run_fleet, write_fleet
from everbeat.patients import TooManyPatients, card_of, record_number, sources_of


def test_the_fleets_file_survives_the_way_to_another_process(tmp_path: Path) -> None:
    members = (Member("a", "/r.csv.gz", speed=2.0), Member("b", None, 3, "male", 70))
    write_fleet(tmp_path / "fleet.json", members)
    assert read_fleet(tmp_path / "fleet.json") == members


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1]", '[{"shoe": 1}]', '[{"device": "a"}, {"device": "a"}]'])
def test_a_file_that_is_no_fleet_is_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "f.json").write_text(text)
    with pytest.raises(FleetError, match=r"none (was )?started"):
        read_fleet(tmp_path / "f.json")


def test_a_device_that_fails_is_started_again_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "FIRST_WAIT_S", 0.01)
    started: dict[str, int] = {"good": 0, "bad": 0}

    async def run(member: Member, stop: asyncio.Event) -> None:
        started[member.device] += 1
        if member.device == "bad" and started["bad"] < 4:
            raise OSError("its spool is on a full disk")
        await stop.wait()

    async def story() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(run_fleet([Member("good"), Member("bad")], run, stop))
        while started["bad"] < 4:
            await asyncio.sleep(0.01)
        assert not running.done()
        stop.set()
        await running

    asyncio.run(asyncio.wait_for(story(), 20))
    assert started == {"good": 1, "bad": 4}


def test_a_device_that_ran_for_long_is_started_again_as_soon_as_at_first(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fleet, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(fleet, "LAST_WAIT_S", 0.04)
    started = 0

    async def run(member: Member, stop: asyncio.Event) -> None:
        nonlocal started
        started += 1
        if started == 4:
            await asyncio.sleep(0.05)  # longer than the longest wait: this one was well
        if started < 5:
            raise OSError("its spool is on a full disk")
        stop.set()

    asyncio.run(asyncio.wait_for(run_fleet([Member("a")], run, asyncio.Event()), 20))
    waits_s = [record.args[1] for record in caplog.records if record.name == "everbeat.fleet" and record.args]
    assert waits_s[-1] == 0.01, waits_s


def test_a_device_that_ends_by_itself_with_a_new_certificate_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "FIRST_WAIT_S", 0.01)
    started = 0

    async def run(member: Member, stop: asyncio.Event) -> None:
        nonlocal started
        started += 1
        if started == 3:
            stop.set()

    asyncio.run(asyncio.wait_for(run_fleet([Member("a")], run, asyncio.Event()), 20))
    assert started == 3


def test_a_fleet_that_is_told_to_stop_starts_nobody_any_more() -> None:
    async def run(member: Member, stop: asyncio.Event) -> None:
        raise AssertionError(f"{member.device} was started")

    async def story() -> None:
        stop = asyncio.Event()
        stop.set()
        await run_fleet([Member("a"), Member("b")], run, stop)

    asyncio.run(asyncio.wait_for(story(), 5))


def test_the_first_patients_are_recordings_and_the_rest_simulated_and_none_is_another() -> None:
    sources = sources_of([Path("/a/one.csv.gz"), Path("/a/two.csv.gz")], 40)
    assert [s.replay is None for s in sources] == [False, False, *[True] * 38]
    for facts in ("id", "pseudonym", "number", "device", "bed"):
        assert len({getattr(s.card, facts) for s in sources}) == 40, facts
    assert len({s.seed for s in sources if s.replay is None}) == 38
    assert sources[2].card.pseudonym == "KESTREL-17"
    assert sources_of([Path("/a/one.csv.gz")], 1)[0].card == card_of(Path("/a/one.csv.gz"))


def test_two_hundred_patients_have_two_hundred_names_and_the_same_ones_at_every_start() -> None:
    sources = sources_of([Path("/a/one.csv.gz")], 200)
    names = [s.card.pseudonym for s in sources]
    assert len(set(names)) == 200
    assert all(re.fullmatch(r"[A-Z]+-[1-9][0-9]", name) for name in names)
    assert [s.card for s in sources_of([Path("/a/one.csv.gz")], 200)] == [s.card for s in sources]
    assert [s.card.pseudonym for s in sources_of([Path("/a/one.csv.gz")], 60)] == names[:60]


def test_of_the_person_in_a_recording_nothing_is_invented() -> None:
    card = card_of(Path("/a/one.csv.gz"))
    assert (card.birth_year, card.sex) == (0, "unknown")
    made_up = [s.card for s in sources_of([], 30)]
    assert {card.sex for card in made_up} == {"female", "male"}
    assert all(1930 <= card.birth_year <= 2010 and 140 < card.height_cm < 210 for card in made_up)
    assert all(16 < card.weight_kg / (card.height_cm / 100) ** 2 < 42 for card in made_up)


def test_as_many_patients_as_recordings_unless_a_number_is_said() -> None:
    files = [Path("/a/one.csv.gz"), Path("/a/two.csv.gz"), Path("/a/one.csv.gz")]
    assert len(sources_of([], None)) == 1
    assert len(sources_of(files, None)) == 2, "one file is one person"
    assert len(sources_of(files, 1)) == 1
    for count in (0, 201):
        with pytest.raises(TooManyPatients, match="expected 1 to 200"):
            sources_of([], count)


def test_a_record_number_with_one_wrong_digit_is_nobodys() -> None:
    number = record_number(44_710_93)
    digits = number.replace("-", "")
    assert len(digits) == 8 and number[4] == "-"
    for i in range(7):
        for wrong in "0123456789".replace(digits[i], ""):
            changed = int(digits[:i] + wrong + digits[i + 1 : 7])
            assert record_number(changed).replace("-", "")[7] != digits[7]


def test_a_folder_stands_for_its_recordings_in_order(tmp_path: Path) -> None:
    for name in ("b.csv.gz", "a.csv.gz", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in recordings([tmp_path, Path("/x/c.csv.gz")])] == ["a.csv.gz", "b.csv.gz", "c.csv.gz"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DemoFailed, match="got none; nothing was started"):
        recordings([tmp_path / "empty"])


def test_simulated_people_differ_in_more_than_noise_and_fit_their_cards() -> None:
    def mean(seed: int, channel: str) -> float:
        simulator = Simulator(seed, traits_of(seed, "female", 40))
        simulator.start(1_700_000_000_000)
        blocks = [b for b in simulator.due(1_700_000_120_000) if b.channel == channel]
        return float(np.mean([v for b in blocks for v in b.values() if v is not None]))

    rates = [mean(seed, "hr_bpm") for seed in (1, 2, 3, 4)]
    muscles = [mean(seed, "emg_activity_mV.zyg") for seed in (1, 2, 3, 4)]
    assert max(rates) - min(rates) > 6 and max(muscles) / min(muscles) > 1.3
    old, young = ([traits_of(s, "male", age) for s in range(40)] for age in (85, 25))
    assert np.mean([t.oxygen_pct for t in old]) < np.mean([t.oxygen_pct for t in young]) - 1
    assert np.mean([t.answer for t in old]) < np.mean([t.answer for t in young])
    assert traits_of(5, "male", 50) == traits_of(5, "male", 50) != REFERENCE

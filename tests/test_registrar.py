"""A device gets its next certificate over the hub, in time and by itself, and nobody else gets one that way."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from device.downlink import Hub, HubBusy, Outcome
from device.hub.registry import Registry
from device.renewing import ANSWER, ASK_EVERY_MS, REQUEST, Renewing, make_answer, parse_request
from device.uplink import run_device
from everbeat import registrar
from everbeat.settings import Settings
from security import issuing
from security.crl import Why
from security.errors import Rejected
from security.identity import Authority, DeviceIdentity, create_ca, issue_device
from security.renewal import grant
from tests.device_kit import House, Ramp, now_ms, running_house
from tests.hub_kit import eventually, in_loop

DAY_MS = 24 * 3600 * 1000


@dataclass
class Twins:
    """A hub's twins in memory; the hub itself runs in the test below that says so."""

    reported_: dict[str, dict[str, object]] = field(default_factory=dict)
    desired: dict[str, dict[str, object]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    busy: bool = False

    def reported(self, device: str) -> dict[str, object]:
        self.asked.append(device)
        if self.busy:
            raise HubBusy("expected an answer from the hub, got none")
        return self.reported_.get(device, {})

    def patch(self, device: str, properties: dict[str, object]) -> Outcome:
        self.desired[device] = properties
        return Outcome(200, {})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path)


@pytest.fixture
def ca(settings: Settings) -> Authority:
    return create_ca(settings.ca)


def issued(ca: Authority, device: str, folder: Path, age_days: float) -> DeviceIdentity:
    return issue_device(ca, device, folder / "devices", now_ms=int(now_ms() - age_days * DAY_MS))


def request(identity: DeviceIdentity) -> dict[str, object]:
    return {REQUEST: Renewing(identity).ask(now_ms())}


def look(settings: Settings, twins: Twins, seen: dict[str, object] | None = None) -> int:
    return registrar.look(settings, twins, {} if seen is None else seen, now_ms)


# ------------------------------------------------------------------------------------------- the device's side


def test_a_device_asks_ten_days_before_the_end_and_every_five_minutes(ca: Authority, tmp_path: Path) -> None:
    young, old = issued(ca, "young", tmp_path, 19.9), issued(ca, "old", tmp_path, 20.1)
    assert Renewing(young).ask(now_ms()) is None
    asking, now = Renewing(old), now_ms()
    first = asking.ask(now)
    assert first is not None and all(len(part) < 4096 for part in first)  # what a text in a twin may be
    assert asking.ask(now + ASK_EVERY_MS - 1) is None
    second = asking.ask(now + ASK_EVERY_MS)
    assert second is not None and second != first


def test_the_answer_is_on_disk_for_the_next_start_and_an_old_answer_is_none(
    ca: Authority, settings: Settings, tmp_path: Path
) -> None:
    before = issued(ca, "bed-1", tmp_path, 21)
    asking, twins = Renewing(before), Twins()
    twins.reported_["bed-1"] = {REQUEST: asking.ask(now_ms())}
    assert look(settings, twins) == 1
    answer = twins.desired["bed-1"][ANSWER]
    assert asking.take(answer, now_ms())
    after = DeviceIdentity.load(before.key_path.parent, "bed-1")
    assert after.key.public_key() != before.key.public_key()
    assert (after.certificate.not_valid_after_utc - before.certificate.not_valid_after_utc).days >= 20
    assert asking.ask(now_ms()) is None  # not due any more
    assert not asking.take(answer, now_ms()) and not Renewing(after).take(answer, now_ms())


def test_a_certificate_for_another_key_name_or_of_another_ca_changes_nothing(ca: Authority, tmp_path: Path) -> None:
    identity, now = issued(ca, "bed-1", tmp_path, 21), now_ms()
    asking, other = Renewing(identity), create_ca(tmp_path / "other")
    asking.ask(now)
    strangers = [
        issued(a, n, tmp_path / f"{i}", 0) for i, (a, n) in enumerate(((ca, "bed-1"), (ca, "x"), (other, "bed-1")))
    ]
    bad: list[object] = [list(make_answer_of(one)) for one in strangers]
    for answer in (*bad, "text", [], [7], ["?"], ["QUJD"], ["QUJD"] * 9, {"a": 1}):
        with pytest.raises(Rejected):
            asking.take(answer, now)
    assert DeviceIdentity.load(identity.key_path.parent, "bed-1").chain_der == identity.chain_der


def make_answer_of(identity: DeviceIdentity) -> list[str]:
    from cryptography import x509

    return make_answer([x509.load_der_x509_certificate(der) for der in identity.chain_der])


# ---------------------------------------------------------------------------------------- the registrar's side


def test_only_devices_whose_certificate_ends_soon_are_looked_up(
    ca: Authority, settings: Settings, tmp_path: Path
) -> None:
    for device, age_days in (("fresh", 1), ("due", 21), ("over", 31)):
        issued(ca, device, tmp_path, age_days)
    twins = Twins()
    assert look(settings, twins) == 0 and twins.asked == ["due"]


def test_a_request_is_answered_once(ca: Authority, settings: Settings, tmp_path: Path) -> None:
    twins, seen = Twins({"bed-1": request(issued(ca, "bed-1", tmp_path, 21))}), dict[str, object]()
    assert look(settings, twins, seen) == 1
    twins.desired.clear()
    assert look(settings, twins, seen) == look(settings, twins) == 0  # also one who forgot
    assert twins.desired == {}


def test_a_revoked_device_gets_nothing_and_the_others_get_theirs(
    ca: Authority, settings: Settings, tmp_path: Path
) -> None:
    stolen, other = (issued(ca, name, tmp_path, 21) for name in ("a-stolen", "other"))
    twins = Twins({name.device_id: request(name) for name in (stolen, other)})
    with ca.index() as index:
        issuing.revoke(ca, index.of("device", "a-stolen"), Why.KEY_COMPROMISE, now_ms=now_ms(), who="test")
    look(settings, twins)
    assert list(twins.desired) == ["other"]


@pytest.mark.parametrize(
    "value", ["", "QUJD", 7, None, {"a": 1}, [7], ["no base64 !"], ["QUJD"], ["A" * 20_000], ["A"] * 9]
)
def test_whatever_a_device_reports_stops_no_round(
    ca: Authority, settings: Settings, tmp_path: Path, value: object
) -> None:
    good = issued(ca, "good", tmp_path, 21)
    issued(ca, "bad", tmp_path, 21)
    twins = Twins({"bad": {REQUEST: value}, "good": request(good)})
    look(settings, twins)
    assert list(twins.desired) == ["good"]


def test_a_busy_hub_is_asked_again(ca: Authority, settings: Settings, tmp_path: Path) -> None:
    twins, seen = Twins({"bed-1": request(issued(ca, "bed-1", tmp_path, 21))}, busy=True), dict[str, object]()
    assert look(settings, twins, seen) == 0
    twins.busy = False
    assert look(settings, twins, seen) == 1


# ------------------------------------------------------------------------------------------- over the real hub


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house("127.0.1.37", tmp_path) as house:
        yield house


@pytest.mark.hub
@pytest.mark.timeout(90)
@in_loop
async def test_a_device_renews_over_the_hub_ends_and_comes_back_with_the_new_certificate(house: House) -> None:
    settings, before = Settings(house.folder), issued(house.ca, "bed-1", house.folder, 21)
    thumbprint = hashlib.sha256(before.chain_der[0]).hexdigest()
    with closing(Registry(house.hub.settings.state_dir, time.time)) as registry:
        registry.enrol("bed-1", thumbprint)  # pinned: with another certificate it is not let in
    hub, seen = Hub(house.rest()), dict[str, object]()
    running = asyncio.create_task(run_device(house.uplink(before), Ramp(), asyncio.Event()))
    deadline_s = time.monotonic() + 30
    while not await asyncio.to_thread(registrar.look, settings, hub, seen, now_ms):
        assert time.monotonic() < deadline_s and not running.done()
        await asyncio.sleep(0.2)
    await asyncio.wait_for(running, 30)  # it ends by itself
    after = DeviceIdentity.load(before.key_path.parent, "bed-1")
    assert after.certificate.serial_number != before.certificate.serial_number
    stop = asyncio.Event()
    again = asyncio.create_task(run_device(house.uplink(after), Ramp(), stop))
    reported = await asyncio.to_thread(hub.reported, "bed-1")
    assert reported.get(REQUEST) is None
    epoch = reported["epoch"]
    await eventually(lambda: hub.reported("bed-1").get("epoch") != epoch, 20, "a report of the second start")
    stop.set()
    await asyncio.wait_for(again, 30)
    with house.ca.index() as index:
        assert len(index.of("device", "bed-1")) == 2


def test_a_device_that_lost_its_answers_is_still_let_in_with_what_it_has(settings: Settings, tmp_path: Path) -> None:
    ca = create_ca(settings.ca)
    identity = issued(ca, "bed-1", tmp_path, 21)
    pin = hashlib.sha256(identity.chain_der[0]).hexdigest().upper()
    with closing(Registry(settings.hub, time.time)) as registry:
        registry.enrol("bed-1", pin)
    for _ in range(3):  # it starts again each time before the answer comes, and asks for another key
        assert look(settings, Twins({"bed-1": request(identity)})) == 1
        with closing(Registry(settings.hub, time.time)) as registry:
            assert pin in registry.device("bed-1").thumbprints


def test_who_asks_again_for_the_same_key_gets_the_same_certificate(
    ca: Authority, settings: Settings, tmp_path: Path
) -> None:
    asking, twins, now = Renewing(issued(ca, "bed-1", tmp_path, 21)), Twins(), now_ms()
    for at in (now, now + ASK_EVERY_MS):
        twins.reported_["bed-1"] = {REQUEST: asking.ask(at)}
        registrar.look(settings, twins, {}, lambda at=at: at)  # type: ignore[misc]
    with ca.index() as index:
        assert len(index.of("device", "bed-1")) == 2, "the old one, and one for the new key"


def test_a_certificate_that_ends_no_later_helps_nobody(ca: Authority, tmp_path: Path) -> None:
    old = issued(ca, "bed-1", tmp_path, 21)
    asking = Renewing(old)
    parts = asking.ask(now_ms())
    _, chain = grant(ca, parse_request(parts), now_ms=int(now_ms() - 60_000))
    end = old.certificate.not_valid_after_utc
    short = Renewing(issued(ca, "bed-1", tmp_path / "young", 0))
    assert chain[0].not_valid_after_utc > end and asking.take(make_answer(chain), now_ms())
    assert short.ask(now_ms()) is None and not short.take(make_answer(chain), now_ms())


def test_anothers_request_in_a_devices_twin_is_refused(ca: Authority, settings: Settings, tmp_path: Path) -> None:
    here, other = (issued(ca, name, tmp_path, 21) for name in ("bed-1", "bed-2"))
    assert look(settings, Twins({here.device_id: request(other)})) == 0
    with ca.index() as index:
        assert len(index.of("device", "bed-2")) == 1


def test_a_hub_that_refuses_the_answer_is_no_answer(
    ca: Authority, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twins = Twins({"bed-1": request(issued(ca, "bed-1", tmp_path, 21))})
    monkeypatch.setattr(twins, "patch", lambda *_: Outcome(401, {}, "expected 200 from the hub, got 401"))
    assert look(settings, twins) == 0


def test_a_device_that_was_disabled_at_the_hub_stays_disabled(settings: Settings, tmp_path: Path) -> None:
    ca = create_ca(settings.ca)
    identity = issued(ca, "bed-1", tmp_path, 21)
    with closing(Registry(settings.hub, time.time)) as registry:
        registry.enrol("bed-1", hashlib.sha256(identity.chain_der[0]).hexdigest(), enabled=False)
    look(settings, Twins({"bed-1": request(identity)}))
    with closing(Registry(settings.hub, time.time)) as registry:
        known = registry.device("bed-1")
    assert not known.enabled and all(known.thumbprints)

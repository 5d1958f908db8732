"""Lists of revoked certificates: what is signed counts, what was changed, ended or put back keeps everybody new out."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from everbeat import house_ca
from everbeat.settings import Settings
from security import files, identity, issuing, listing
from security.audit import AuditEvent
from security.authority import Authority
from security.crl import Revoked, Why, read_lists, sign_list
from security.errors import Rejected, SecurityError
from security.founding import load_ca, renew_issuer
from security.identity import DeviceIdentity, create_ca, ensure_device, issue_device, issue_engine
from security.index import Index
from security.revocation import Lists, TrustWatch, judge_lists

NOW_MS = 1_780_000_000_000
NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)
DAY_MS = 24 * 3600 * 1000


class Clock:
    ms = NOW_MS

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return create_ca(tmp_path / "ca", now_ms=NOW_MS)


@pytest.fixture
def device(ca: Authority, tmp_path: Path) -> DeviceIdentity:
    return issue_device(ca, "d1", tmp_path / "devices", now_ms=NOW_MS)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(ca: Authority, clock: Clock) -> TrustWatch:
    return TrustWatch(ca.trust_path, ca.lists_path, clock)


def revoke(ca: Authority, *serials: int, why: Why = Why.KEY_COMPROMISE, at_ms: int = NOW_MS) -> None:
    with ca.index() as index:
        found = [one for one in map(index.find, serials) if one is not None]
    assert len(found) == len(serials)
    issuing.revoke(ca, found, why, now_ms=at_ms, who="officer")


def refusal(watch: TrustWatch, device: DeviceIdentity, now_ms: int = NOW_MS) -> str:
    """Why a device is refused; "" where it is believed."""
    try:
        watch().verify_device(device.chain_der, device.name, now_ms)
    except Rejected as error:
        assert str(error).startswith("expected ") and ", got " in str(error)
        return error.reason
    return ""


def touched(path: Path, data: bytes) -> None:
    """A file with new content, and a time that a coarse clock tells apart."""
    files.write_public(path, data)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def test_a_revoked_device_is_refused_at_the_next_look_and_the_others_are_not(
    ca: Authority, device: DeviceIdentity, watch: TrustWatch, tmp_path: Path
) -> None:
    other = issue_device(ca, "d2", tmp_path / "devices", now_ms=NOW_MS)
    before = watch()
    assert refusal(watch, device) == "" and watch() is before  # nothing read anew where nothing changed
    revoke(ca, device.certificate.serial_number)
    assert refusal(watch, device) == "revoked" and refusal(watch, other) == ""


def test_the_list_is_what_rfc_5280_says_it_is(ca: Authority, device: DeviceIdentity) -> None:
    revoke(ca, device.certificate.serial_number)
    revoke_again = {c.issuer.rfc4514_string(): c for c in read_lists(ca.lists_path.read_bytes())}
    found = revoke_again[ca.certificate.subject.rfc4514_string()]
    entry = found.get_revoked_certificate_by_serial_number(device.certificate.serial_number)
    assert entry is not None
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise
    assert found.is_signature_valid(ca.certificate.public_key())  # type: ignore[arg-type]
    assert found.next_update_utc == NOW + timedelta(days=30)
    key_id = found.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert key_id == x509.SubjectKeyIdentifier.from_public_key(ca.key.public_key()).digest
    numbers = [found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number]
    listing.sign_lists(ca, now_ms=NOW_MS)
    numbers += judge_lists(ca.lists_path.read_bytes(), [ca.certificate], NOW).numbers.values()
    assert numbers[1] > numbers[0]


def test_all_certificates_of_a_revoked_intermediate_are_refused(ca: Authority, tmp_path: Path) -> None:
    device = issue_device(ca, "d1", tmp_path / "devices", now_ms=NOW_MS)
    renewed = renew_issuer(ca, ca.directory / "root.key", now_ms=NOW_MS, fresh_key=True)
    watch = TrustWatch(renewed.trust_path, renewed.lists_path, lambda: NOW_MS)
    assert watch().doubt == "" and refusal(watch, device) == "revoked"
    again = issue_device(renewed, "d1", tmp_path / "devices", now_ms=NOW_MS)
    assert refusal(watch, again) == ""


def test_an_expired_list_keeps_newcomers_out_and_what_it_said_still_holds(
    ca: Authority, device: DeviceIdentity, watch: TrustWatch, clock: Clock
) -> None:
    revoke(ca, device.certificate.serial_number)
    assert watch().doubt == ""
    clock.ms = NOW_MS + 30 * DAY_MS
    young = issue_device(ca, "d3", device.key_path.parent, now_ms=clock.ms)
    assert refusal(watch, young, clock.ms) == "revocation-unknown"
    assert "in force, got one from" in watch().doubt and device.certificate.serial_number in watch().revoked
    load_ca(ca.directory, now_ms=clock.ms)  # whoever has the key signs a new one
    assert refusal(watch, young, clock.ms) == ""


@pytest.mark.parametrize("how", ["missing", "empty", "one bit", "another CA's", "without the root's", "no list", "cut"])
def test_a_list_that_was_tampered_with_opens_no_new_session(
    ca: Authority, device: DeviceIdentity, watch: TrustWatch, tmp_path: Path, how: str
) -> None:
    revoke(ca, device.certificate.serial_number)
    fresh = issue_device(ca, "d2", tmp_path / "devices", now_ms=NOW_MS)
    good = ca.lists_path.read_bytes()
    assert refusal(watch, fresh) == ""
    lists = read_lists(good)
    own = next(c for c in lists if c.issuer == ca.certificate.subject)
    rogue = create_ca(tmp_path / "rogue", now_ms=NOW_MS)
    der = bytearray(own.public_bytes(Encoding.DER))
    at = der.index(device.certificate.serial_number.to_bytes(20, "big").lstrip(b"\0")[-8:])
    der[at] ^= 1  # the entry names somebody else now
    forged = x509.load_der_x509_crl(bytes(der)).public_bytes(Encoding.PEM)
    theirs = sign_list(ca.certificate, rogue.key, 2**60, [], NOW, NOW + timedelta(days=9))
    root_list = b"".join(c.public_bytes(Encoding.PEM) for c in lists if c is not own)
    if how == "missing":
        ca.lists_path.unlink()
    else:
        touched(ca.lists_path, {
            "empty": b"", "one bit": forged + root_list, "another CA's": theirs + root_list, "no list": b"\xff" * 400,
            "without the root's": own.public_bytes(Encoding.PEM), "cut": good[:-40],
        }[how])  # fmt: skip
    assert refusal(watch, fresh) == "revocation-unknown"
    assert refusal(watch, device) in ("revoked", "revocation-unknown")
    assert device.certificate.serial_number in watch().revoked  # live sessions of the revoked stay cut
    again = TrustWatch(ca.trust_path, ca.lists_path, lambda: NOW_MS)
    assert refusal(again, fresh) == "revocation-unknown"
    load_ca(ca.directory, now_ms=NOW_MS)  # a start where the CA is heals it, from the index
    assert refusal(watch, fresh) == "" and refusal(watch, device) == "revoked"


def test_a_watch_that_began_before_the_intermediate_was_replaced_refuses_what_the_old_one_signed(
    ca: Authority, device: DeviceIdentity, watch: TrustWatch, tmp_path: Path
) -> None:
    assert refusal(watch, device) == ""
    renewed = renew_issuer(ca, ca.directory / "root.key", now_ms=NOW_MS, fresh_key=True)
    assert refusal(watch, device) == "revoked" and watch().doubt == ""
    assert ca.certificate.serial_number in watch().revoked  # sessions that rest on it end
    assert refusal(watch, issue_device(renewed, "d1", tmp_path / "devices", now_ms=NOW_MS)) == ""


def test_a_list_in_doubt_does_not_keep_the_others_from_revoking(
    ca: Authority, device: DeviceIdentity, watch: TrustWatch
) -> None:
    entry = Revoked(device.certificate.serial_number, NOW, Why.KEY_COMPROMISE)
    new = sign_list(ca.certificate, ca.key, NOW_MS + 9, [entry], NOW, NOW + timedelta(days=30))
    assert device.certificate.serial_number not in watch().revoked
    touched(ca.lists_path, new)  # without the root's
    assert watch().doubt and device.certificate.serial_number in watch().revoked


def test_a_doubt_that_only_time_takes_away_goes_with_time(ca: Authority, clock: Clock) -> None:
    clock.ms = NOW_MS - 2 * DAY_MS  # a clock that was not set yet
    watch = TrustWatch(ca.trust_path, ca.lists_path, clock)
    assert watch().doubt
    clock.ms = NOW_MS
    assert watch().doubt == ""


def test_an_older_list_put_back_takes_no_revocation_back(
    ca: Authority, device: DeviceIdentity, watch: TrustWatch
) -> None:
    old = ca.lists_path.read_bytes()
    revoke(ca, device.certificate.serial_number, at_ms=NOW_MS + 1)
    assert refusal(watch, device) == "revoked"
    touched(ca.lists_path, old)
    assert "older number" in watch().doubt and device.certificate.serial_number in watch().revoked
    load_ca(ca.directory, now_ms=NOW_MS + 2)
    assert watch().doubt == "" and refusal(watch, device) == "revoked"


def test_a_list_of_a_kind_that_is_not_understood_is_not_believed(ca: Authority) -> None:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.certificate.subject)
        .last_update(NOW)
        .next_update(NOW + timedelta(days=9))
        .add_extension(x509.DeltaCRLIndicator(1), critical=True)
    )
    delta = builder.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.PEM)
    assert "of a kind that is not read here" in judge_lists(delta, [ca.certificate], NOW).doubt
    assert judge_lists(ca.lists_path.read_bytes(), [ca.certificate, ca.root], NOW).doubt == ""


def test_a_list_from_tomorrow_is_not_believed(ca: Authority) -> None:
    data = sign_list(ca.certificate, ca.key, 9, [Revoked(7, NOW, Why.UNSPECIFIED)], NOW, NOW + timedelta(days=30))
    assert judge_lists(data, [ca.certificate], NOW - timedelta(days=1)).doubt
    assert judge_lists(data, [ca.certificate], NOW) != Lists() and judge_lists(data, [ca.certificate], NOW).revoked == {
        7
    }


def test_expired_entries_leave_the_list_once_nothing_can_be_renewed_from_them(
    ca: Authority, device: DeviceIdentity
) -> None:
    serial = device.certificate.serial_number
    revoke(ca, serial)

    def listed(day: int) -> bool:
        listing.sign_lists(ca, now_ms=NOW_MS + day * DAY_MS)
        now = NOW + timedelta(days=day)
        return serial in judge_lists(ca.lists_path.read_bytes(), [ca.certificate], now).revoked

    assert listed(29) and listed(31) and listed(129) and not listed(131)


def test_a_list_is_signed_anew_each_week_and_no_more_often(ca: Authority) -> None:
    def number_at(day: float) -> int:
        now_ms = int(NOW_MS + day * DAY_MS)
        listing.refresh_lists(ca, now_ms=now_ms)
        now = datetime.fromtimestamp(now_ms / 1000, UTC)
        (number,) = judge_lists(ca.lists_path.read_bytes(), [ca.certificate], now).numbers.values()
        return number

    first = number_at(0)
    assert number_at(6.9) == first < number_at(7.1) == number_at(9)


# ----------------------------------------------------------------------------------- who gets no new certificate


def test_a_revoked_device_gets_no_new_certificate_by_starting_again(
    ca: Authority, device: DeviceIdentity, tmp_path: Path
) -> None:
    revoke(ca, device.certificate.serial_number)
    for later in (NOW_MS, NOW_MS + 25 * DAY_MS, NOW_MS + 60 * DAY_MS):
        assert ensure_device(ca, "d1", tmp_path / "devices", now_ms=later).chain_der == device.chain_der
    for name in ("d1.key", "d1.pem"):
        (tmp_path / "devices" / name).unlink()
    with pytest.raises(SecurityError, match="an officer may enrol it anew"):
        ensure_device(ca, "d1", tmp_path / "devices", now_ms=NOW_MS)


def test_an_engine_whose_certificate_was_revoked_gets_another_at_its_next_start(ca: Authority, tmp_path: Path) -> None:
    engine = issue_engine(ca, tmp_path / "e", now_ms=NOW_MS)
    assert identity.ensure_engine(ca, tmp_path / "e", now_ms=NOW_MS).chain_der == engine.chain_der
    revoke(ca, engine.certificate.serial_number)
    assert identity.ensure_engine(ca, tmp_path / "e", now_ms=NOW_MS + 1).chain_der != engine.chain_der


def test_each_act_leaves_its_audit_event_until_the_log_has_it(ca: Authority, device: DeviceIdentity) -> None:
    revoke(ca, device.certificate.serial_number)
    revoke(ca, device.certificate.serial_number)  # said once, told once
    issue_device(ca, "d2", device.key_path.parent, now_ms=NOW_MS)
    issue_device(ca, "d2", device.key_path.parent, now_ms=NOW_MS)
    with Index(ca.directory) as index:
        waiting = index.waiting()
        kinds = [(event.kind, event.about, event.who) for _, event in waiting]
        assert kinds == [
            ("device.enrolled", "d1", "everbeat"), ("device.revoked", "d1", "officer"),
            ("device.enrolled", "d2", "everbeat"), ("device.renewed", "d2", "everbeat"),
        ]  # fmt: skip
        assert waiting[1][1].facts["reason"] == "keyCompromise"
        index.was_told(waiting[0][0])
        assert len(index.waiting()) == 3
    assert (ca.directory / "index.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_lost_or_older_index_takes_no_revocation_back(ca: Authority, device: DeviceIdentity, tmp_path: Path) -> None:
    older = (ca.directory / "index.sqlite").read_bytes()
    serial = device.certificate.serial_number
    revoke(ca, serial)
    for restored in (None, older):
        (ca.directory / "index.sqlite").unlink()
        if restored is not None:
            files.write_private(ca.directory / "index.sqlite", restored)
        later_ms = NOW_MS + 8 * DAY_MS  # when the list is signed anew
        again = load_ca(ca.directory, now_ms=later_ms)
        now = datetime.fromtimestamp(later_ms / 1000, UTC)
        assert serial in judge_lists(again.lists_path.read_bytes(), [ca.certificate], now).revoked
        kept = ensure_device(again, "d1", tmp_path / "devices", now_ms=NOW_MS + 25 * DAY_MS)
        assert kept.chain_der == device.chain_der  # and it gets no new certificate


def test_all_that_waits_for_the_audit_log_is_counted(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "state")
    house_ca.init(settings)
    with Index(settings.ca) as index:
        for _ in range(120):
            index.tell(AuditEvent(NOW_MS, "officer", "config.changed", "pki", {}))
    assert house_ca.tell(settings) == 121


def test_the_authoritys_own_changes_are_told_too(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "state")
    house_ca.init(settings)
    house_ca.renew_issuer(settings, None)
    with Index(settings.ca) as index:
        told = [(event.kind, event.about, event.facts["ca"]) for _, event in index.waiting()]
    assert told == [("config.changed", "pki", "made"), ("config.changed", "pki", "intermediate renewed")]


def test_the_list_of_one_ca_that_ends_over_a_weekend_keeps_nobody_of_another_ca_out(
    ca: Authority, device: DeviceIdentity, clock: Clock, tmp_path: Path
) -> None:
    theirs = create_ca(tmp_path / "hospital", now_ms=NOW_MS)
    foreign = issue_device(theirs, "d8", tmp_path / "theirs", now_ms=NOW_MS)
    imported = b"".join(c.public_bytes(Encoding.PEM) for c in (theirs.root, *theirs.chain))
    (ca.directory / "imported.pem").write_bytes(imported)
    short = sign_list(theirs.certificate, theirs.key, 7, [], NOW, NOW + timedelta(days=3))
    (ca.directory / "imported.crl").write_bytes(short + (theirs.directory / "root.crl").read_bytes())
    listing.sign_lists(load_ca(ca.directory, now_ms=NOW_MS), now_ms=NOW_MS)
    watch = TrustWatch(ca.trust_path, ca.lists_path, clock)
    assert refusal(watch, device) == "" and refusal(watch, foreign) == ""
    clock.ms = NOW_MS + 4 * DAY_MS
    assert "in force" in watch().doubt
    assert refusal(watch, device, clock.ms) == "" and refusal(watch, foreign, clock.ms) == "revocation-unknown"
    revoke(ca, device.certificate.serial_number)  # what still speaks is still heard
    assert refusal(watch, device, clock.ms) == "revoked"

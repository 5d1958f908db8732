"""`everbeat pki` as an officer types it, and state directories of before there was an intermediate."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from device.hub.registry import Registry
from everbeat import house_ca, wiring
from everbeat.cli import app
from everbeat.settings import Settings
from security import certificates, files, identity, renewal
from security.errors import Rejected, SecurityError
from security.founding import renew_issuer
from security.identity import DeviceIdentity, Role, load_or_create_ca
from security.requests import make_csr
from security.revocation import TrustWatch
from security.trust import Trust

Pki = Callable[..., Result]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "state")


@pytest.fixture
def pki(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Pki:
    for name in ("EVERBEAT_IOTHUB", "EVERBEAT_EVENTHUB", "EVERBEAT_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EVERBEAT_STATE", str(settings.state))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["pki", *map(str, arguments)])

    return run


def good(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.output


def bad(result: Result) -> str:
    """What it said: one clear line, and no traceback."""
    assert result.exit_code == 2 and not isinstance(result.exception, (SecurityError, Rejected)), result.output
    said = result.output.strip()
    assert said.startswith("everbeat: expected ") and ", got " in said and "\n" not in said, said
    return said


def pins(settings: Settings, device: str) -> tuple[str | None, str | None]:
    registry = Registry(settings.hub, lambda: 0.0)
    try:
        return registry.device(device).thumbprints
    finally:
        registry.close()


def thumbprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex().upper()


# ------------------------------------------------------------------------------------------------------ the CA


def test_everything_but_renewing_the_intermediate_works_with_the_root_locked_away(
    pki: Pki, settings: Settings, tmp_path: Path
) -> None:
    assert "Move it off this machine" in good(pki("init"))
    vault = tmp_path / "usb.key"
    (settings.ca / "root.key").rename(vault)
    good(pki("enrol", "bed-1"))
    good(pki("renew", "bed-1"))
    good(pki("revoke", "bed-1", "--reason", "keyCompromise"))
    good(pki("enrol", "bed-1"))
    assert "still on this machine" not in good(pki("list"))
    wiring.engine_identity(settings)
    wiring.hub_settings(settings)
    assert wiring.live_trust(settings)().doubt == ""
    bad(pki("renew", "--issuer"))
    good(pki("renew", "--issuer", "--root-key", vault))
    assert wiring.live_trust(settings)().doubt == ""
    other = tmp_path / "other"
    stranger = identity.create_ca(other)
    assert "another" in bad(pki("renew", "--issuer", "--root-key", stranger.directory / "root.key"))


def test_a_ca_is_never_overwritten_by_mistake_and_put_aside_on_purpose(pki: Pki, settings: Settings) -> None:
    good(pki("init"))
    first = identity.load_ca(settings.ca).root
    assert "it was kept" in bad(pki("init"))
    assert identity.load_ca(settings.ca).root == first
    good(pki("init", "--replace"))
    assert identity.load_ca(settings.ca).root != first
    (aside,) = settings.state.glob("ca.until-*")
    assert identity.load_ca(aside).root == first


def test_the_demo_makes_the_same_kind_of_ca(settings: Settings) -> None:
    ca = wiring.authority(settings)
    assert len(ca.chain) == 1 and wiring.device_identity(settings, "bed-1").chain_der[1:] == (
        ca.certificate.public_bytes(Encoding.DER),
    )
    limits = ca.root.extensions.get_extension_for_class(x509.BasicConstraints).value
    own = ca.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (limits.path_length, own.path_length) == (1, 0)


def test_no_act_makes_a_ca_where_there_is_none(pki: Pki, settings: Settings) -> None:
    for arguments in (("list",), ("enrol", "bed-1"), ("revoke", "bed-1"), ("renew", "bed-1"), ("renew", "--issuer")):
        assert "run 'everbeat pki init'" in bad(pki(*arguments))
    assert not settings.ca.exists()


# ---------------------------------------------------------------------------------------------------- enrolment


def test_a_board_is_enrolled_by_its_request_and_known_at_the_local_hub(
    pki: Pki, settings: Settings, tmp_path: Path
) -> None:
    good(pki("init"))
    own, request, out = certificates.new_key(), tmp_path / "board.csr", tmp_path / "out"
    request.write_bytes(make_csr(own, "board-1"))
    assert "board-1 enrolled" in good(pki("enrol", "board-1", "--csr", request, "--out", out))
    chain = x509.load_pem_x509_certificates((out / "board-1.pem").read_bytes())
    assert chain[0].public_key() == own.public_key() and len(chain) == 2
    assert pins(settings, "board-1") == (thumbprint(chain[0]), None)
    assert not list(out.glob("*.key")) and Trust.load(out / "root.pem").roots
    assert "board-2" in bad(pki("enrol", "board-2", "--csr", request))
    request.write_bytes(b"junk")
    assert "signing request" in bad(pki("enrol", "board-3", "--csr", request))
    assert "No such file" in bad(pki("enrol", "board-3", "--csr", tmp_path / "missing"))
    assert "device id" in bad(pki("enrol", "no/device"))


def test_a_device_in_force_is_enrolled_again_only_on_purpose_and_loses_its_old_certificate(
    pki: Pki, settings: Settings
) -> None:
    good(pki("init"))
    good(pki("enrol", "bed-1"))
    first = DeviceIdentity.load(settings.device("bed-1"), "bed-1")
    assert "--replace" in bad(pki("enrol", "bed-1"))
    good(pki("enrol", "bed-1", "--replace"))
    second = DeviceIdentity.load(settings.device("bed-1"), "bed-1")
    trust = wiring.live_trust(settings)()
    assert trust.verify_device(second.chain_der, "bed-1", identity.wall_clock_ms())
    with pytest.raises(Rejected, match="revoked"):
        trust.verify_device(first.chain_der, "bed-1", identity.wall_clock_ms())
    assert pins(settings, "bed-1") == (thumbprint(second.certificate), None)


def test_a_renewed_device_may_still_come_with_its_old_certificate(pki: Pki, settings: Settings) -> None:
    good(pki("init"))
    good(pki("enrol", "bed-1"))
    first = DeviceIdentity.load(settings.device("bed-1"), "bed-1").certificate
    good(pki("renew", "bed-1"))
    second = DeviceIdentity.load(settings.device("bed-1"), "bed-1").certificate
    assert pins(settings, "bed-1") == (thumbprint(second), thumbprint(first))


def test_a_renewal_that_a_device_signed_is_answered_by_a_chain_for_its_new_key(
    pki: Pki, settings: Settings, tmp_path: Path
) -> None:
    good(pki("init"))
    good(pki("enrol", "bed-1"))
    new, request = certificates.new_key(), tmp_path / "renewal"
    device = DeviceIdentity.load(settings.device("bed-1"), "bed-1")
    request.write_bytes(renewal.make_renewal(device, new, identity.wall_clock_ms()))
    good(pki("renew", "--request", request, "--out", tmp_path / "out"))
    chain = x509.load_pem_x509_certificates((tmp_path / "out" / "bed-1.pem").read_bytes())
    assert chain[0].public_key() == new.public_key()
    assert "answered before" in bad(pki("renew", "--request", request))
    request.write_bytes(renewal.make_renewal(device, new, identity.wall_clock_ms() - 3_600_000))
    assert "10 minutes" in bad(pki("renew", "--request", request))


# --------------------------------------------------------------------------------------------- revoking, looking


def test_a_certificate_is_revoked_by_how_its_number_begins_and_the_others_stay(pki: Pki, settings: Settings) -> None:
    good(pki("init"))
    good(pki("enrol", "bed-1"))
    good(pki("enrol", "bed-2"))
    engine = wiring.engine_identity(settings).certificate.serial_number
    assert "fits 0" in bad(pki("revoke", "bed-9"))
    assert "fits 0" in bad(pki("revoke", f"{engine:x}"[:5]))  # too few digits to mean it
    said = good(pki("revoke", f"{engine:x}"[:8].upper(), "--reason", "superseded"))
    assert "engine" in said and "superseded" in said and "bed-1" not in said
    assert pki("revoke", "bed-1", "--reason", "dislike").exit_code == 2
    ca = identity.load_ca(settings.ca)
    assert "an intermediate's" in bad(pki("revoke", f"{ca.certificate.serial_number:x}"))
    listed = good(pki("list"))
    assert len(re.findall("in force", listed)) == 2 and len(re.findall(r"revoked \d{4}", listed)) == 1


def test_an_act_is_done_though_the_store_does_not_answer_and_told_later(pki: Pki, settings: Settings) -> None:
    good(pki("init"))
    good(pki("enrol", "bed-1"))
    assert "audit events wait" in good(pki("revoke", "bed-1"))
    assert house_ca.tell(settings) == 3  # made, enrolled, revoked
    assert wiring.live_trust(settings)().revoked


def test_with_azure_the_officer_is_told_what_this_list_does_not_reach(
    pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERBEAT_IOTHUB", "HostName=h.azure-devices.net;SharedAccessKey=k")
    monkeypatch.setenv("EVERBEAT_EVENTHUB", "Endpoint=sb://h")
    good(pki("init"))
    assert "az iot hub device-identity create --device-id bed-1" in good(pki("enrol", "bed-1"))
    assert "--device-id bed-1 --set status=disabled" in good(pki("revoke", "bed-1"))


def test_a_stolen_intermediate_is_replaced_and_everything_that_it_signed_is_refused(
    pki: Pki, settings: Settings
) -> None:
    good(pki("init"))
    good(pki("enrol", "bed-1"))
    old = DeviceIdentity.load(settings.device("bed-1"), "bed-1")
    said = good(pki("renew", "--issuer", "--fresh-key"))
    assert "issued anew" in said
    trust = wiring.live_trust(settings)().knowing([x509.load_der_x509_certificate(old.chain_der[1])])
    with pytest.raises(Rejected, match="revoked"):
        trust.verify_device(old.chain_der, "bed-1", identity.wall_clock_ms())
    new = wiring.device_identity(settings, "bed-1")  # at its next start
    assert trust.verify_device(new.chain_der, "bed-1", identity.wall_clock_ms())


# ------------------------------------------------------------------------------ directories of an older version


@pytest.fixture
def old(settings: Settings) -> x509.Certificate:
    """The CA of before: one root that signs leaves itself, in ca.key, and a device of it; no index, no list."""
    now = datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Everbeat demo CA 0badcafe")])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    root = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - certificates.CLOCK_SKEW)
        .not_valid_after(now + certificates.ROOT_LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(usage, True)
        .sign(key, hashes.SHA256())
    )
    for directory in (settings.ca, settings.device("bed-1")):
        files.private_dir(directory)
    files.write_private(settings.ca / "ca.key", certificates.to_pem(key, [root]))
    own = certificates.new_key()
    leaf = certificates.create_leaf(root, key, Role.DEVICE, "bed-1", (), now, own.public_key())
    identity.store(DeviceIdentity, "bed-1", settings.device("bed-1"), own, [leaf], root)
    return leaf


def test_a_state_directory_with_the_old_ca_starts_and_its_devices_are_revoked_like_others(
    old: x509.Certificate, pki: Pki, settings: Settings
) -> None:
    kept = wiring.device_identity(settings, "bed-1")
    assert kept.certificate == old  # nothing is issued anew without need
    wiring.hub_settings(settings)
    engine = wiring.engine_identity(settings)
    watch = wiring.live_trust(settings)
    now_ms = identity.wall_clock_ms()
    assert watch().doubt == "" and watch().verify_device(kept.chain_der, "bed-1", now_ms)
    assert kept.trust.verify_engine(engine.chain_der[:1], now_ms)
    good(pki("revoke", "bed-1", "--reason", "keyCompromise"))
    with pytest.raises(Rejected, match="revoked"):
        watch().verify_device(kept.chain_der, "bed-1", now_ms)
    assert "older version" in good(pki("list"))
    bad(pki("renew", "--issuer"))


def test_a_device_of_before_the_index_is_revoked_by_what_lies_in_its_directory(
    old: x509.Certificate, pki: Pki, settings: Settings
) -> None:
    assert f"{old.serial_number:x}"[:8] in good(pki("revoke", "bed-1"))  # the rest may be on the cell's next line


def test_the_old_ca_gives_way_to_a_new_one_on_purpose(old: x509.Certificate, pki: Pki, settings: Settings) -> None:
    assert "--replace" in bad(pki("init"))
    good(pki("init", "--replace"))
    ca = load_or_create_ca(settings.ca)
    assert ca.chain and wiring.device_identity(settings, "bed-1").trust.roots == (ca.root,)
    watch = TrustWatch(ca.trust_path, ca.lists_path, identity.wall_clock_ms)
    assert watch().doubt == ""
    assert renew_issuer(ca, ca.directory / "root.key", now_ms=identity.wall_clock_ms()).chain


def test_a_list_that_others_could_write_is_signed_anew_and_stops_nobody(settings: Settings) -> None:
    ca = wiring.authority(settings)
    ca.lists_path.chmod(0o664)  # as a restore with another umask leaves it
    assert wiring.live_trust(settings)().doubt == ""
    assert ca.lists_path.stat().st_mode & 0o022 == 0


def test_a_list_that_can_not_be_signed_anew_does_not_stop_the_engine(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust, now_ms = wiring.live_trust(settings), wiring.wall_clock_ms()
    (settings.ca / "index.sqlite").write_bytes(b"not a database, as a full disk may leave it")
    monkeypatch.setattr(wiring, "wall_clock_ms", lambda: now_ms + 2 * wiring.LISTS_EVERY_MS)
    assert trust().doubt == ""

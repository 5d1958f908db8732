"""Whatever a house logs and shows of its objects, at the finest level: no key, no password, no reading."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.hub.settings import Policy, Right
from security.canonical import decode as decode_cbor
from tests.engine_kit import Ward
from twin_engine.model import Generator
from twin_engine.store.server import RedisFiles

pytestmark = pytest.mark.redis
READING = 7.7777


@pytest.fixture
def ward(redis_server: tuple[RedisFiles, object], tmp_path: Path, generator: Generator) -> Iterator[Ward]:
    made = Ward(redis_server[0], tmp_path, generator)
    yield made
    made.close()


def test_a_house_at_work_and_under_attack_logs_no_secret(ward: Ward, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        stop = ward.engine()
        ward.connect_device()
        true = ward.frame(8, value=READING)
        ward.send(true)
        ward.wait_for("stored", 8)
        ward.send(true[:-1] + bytes([true[-1] ^ 1]), b"\1\2junk", ward.open_late()[0][:-1] + b"\0")
        ward.wait_for("refused", 3)
        stop.set()
    said = "\n".join(_formatted(record) for record in caplog.records)
    assert "refused a message of" in said, "the slice logged nothing, so nothing was tested"
    for name, secret in secrets_of(ward).items():
        assert not [form for form in forms(secret) if form in said], f"{name} is in a log"
    assert str(READING) not in said


def test_no_object_that_holds_a_key_shows_it_when_it_is_printed(ward: Ward) -> None:
    ward.engine()
    ward.connect_device()
    policy = Policy("service", base64.b64encode(bytes(range(32))).decode(), Right.SERVICE)
    shown = "\n".join(
        f"{form(thing)}"
        for form in (str, repr)
        for thing in (
            ward.identity,
            ward.ca,
            ward.master,
            ward.sealer,
            ward.files.login("engine"),
            policy,
            ward.store(),
        )
    )
    for name, secret in secrets_of(ward).items() | {"the hub's policy key": policy.key.encode()}.items():
        assert not [form for form in forms(secret) if form in shown], f"{name} shows"


def secrets_of(ward: Ward) -> dict[str, bytes]:
    """What must never be read in a log, by a name that may."""
    found = {
        f"the password of {user}": ward.files.login(user).password.encode() for user in ("engine", "keeper", "web")
    }
    found["the device's private key"] = _scalar(ward.identity.key)
    found["the CA's private key"] = _scalar(ward.ca.key)
    closed = decode_cbor(ward.sealer.to_bytes(), "a session")
    found["the session's receipt key"] = closed[-1]
    for path in sorted(ward.state.rglob("*.key")):
        if path.is_file() and path.stat().st_size <= 64:
            found[f"the content of {path.name}"] = path.read_bytes()
    store = ward.store()
    for kid, wrapped in store.recipients().items():
        found[f"the wrapped recipient key {kid.hex()}"] = wrapped
    return found


def forms(secret: bytes) -> list[str]:
    """How a secret would look in a text: as it is, hex, base64, Python's bytes, a number."""
    as_is = [secret.decode()] if secret.isascii() and len(secret) > 8 else []
    number = [str(int.from_bytes(secret, "big"))] if len(secret) >= 16 else []
    return [*as_is, secret.hex(), base64.b64encode(secret).decode(), repr(secret)[2:-1], *number]


def _scalar(key: object) -> bytes:
    number: int = key.private_numbers().private_value  # type: ignore[attr-defined]
    return number.to_bytes(32, "big")


def _formatted(record: logging.LogRecord) -> str:
    return logging.Formatter("%(name)s %(levelname)s %(message)s").format(record)

"""Settings: read once, frozen, and refused in one clear line where they can't be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from everbeat.patients import card_of
from everbeat.settings import Settings, SettingsError
from twin_engine.store.errors import StoreDown


def test_the_state_lies_outside_the_project_by_default() -> None:
    assert Settings.from_env({"HOME": "/home/x"}).state == Path("/home/x/.local/state/everbeat")
    assert Settings.from_env({"HOME": "/home/x", "XDG_STATE_HOME": "/s"}).state == Path("/s/everbeat")
    assert Settings.from_env({"EVERBEAT_STATE": "/tmp/s"}).state == Path("/tmp/s")


def test_settings_survive_the_way_through_another_process() -> None:
    azure = {"EVERBEAT_IOTHUB": "HostName=h;SharedAccessKey=k", "EVERBEAT_EVENTHUB": "Endpoint=sb://e"}
    made = Settings.from_env({"HOME": "/h", "EVERBEAT_SHARDS": "3", **azure})
    assert Settings.from_env(made.environment()) == made
    assert not made.local_hub
    assert "SharedAccessKey" not in repr(made)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"EVERBEAT_SHARDS": "many"}, "expected a number in EVERBEAT_SHARDS"),
        ({"EVERBEAT_SHARDS": "0"}, "between 1 and 1024"),
        ({"EVERBEAT_IOTHUB": "HostName=x"}, "together, got one"),
        ({"EVERBEAT_IOTHUB": "x", "EVERBEAT_EVENTHUB": "y"}, "expected HostName="),
        ({"EVERBEAT_REDIS_URL": "redis://elsewhere"}, "unix:// or rediss://"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_clear_error(env: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.from_env({"HOME": "/h", **env})


def test_a_redis_of_ones_own_needs_its_password() -> None:
    with pytest.raises(StoreDown, match="EVERBEAT_REDIS_PASSWORD"):
        Settings.from_env({"HOME": "/h", "EVERBEAT_REDIS_URL": "rediss://r"}).redis_login("web")


def test_two_recordings_of_one_name_are_two_patients_and_neither_is_the_simulated_one() -> None:
    cards = [card_of(Path("/a/subj09.csv.gz")), card_of(Path("/b/subj09.csv.gz")), card_of(None)]
    assert len({c.id for c in cards}) == len({c.device for c in cards}) == 3
    assert card_of(Path("/a/subj09.csv.gz")) == cards[0]


def test_own_weights_are_named_by_the_environment_and_told_to_other_processes() -> None:
    settings = Settings.from_env({"EVERBEAT_STATE": "/tmp/s", "EVERBEAT_WEIGHTS": "/tmp/w"})
    assert settings.weights == Path("/tmp/w")
    assert Settings.from_env(settings.environment()) == settings


def test_a_house_chooses_its_cipher_suites_out_of_those_we_have() -> None:
    assert Settings.from_env({}).suites == ("C", "A", "B")
    strict = Settings.from_env({"EVERBEAT_SUITES": "C, A"})
    assert strict.suites == ("C", "A") == Settings.from_env(strict.environment()).suites
    for wrong in ("A,Z", "A,A", ",", "a"):
        with pytest.raises(SettingsError, match="EVERBEAT_SUITES"):
            Settings.from_env({"EVERBEAT_SUITES": wrong})

"""Accounts, passwords, sessions and attempts: the rules alone, then on a real Redis, then by the command line."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from everbeat.cli import app
from security import passwords
from security.errors import Rejected, SecurityError
from security.keys import MasterKey
from security.passwords import WeakPassword, hash_password, is_common, matches
from security.people import PATIENCE, ROLES, Account
from tests.people_kit import PASSWORD, Sequenced, people_of
from twin_engine.store.audit_reader import AuditQuery
from twin_engine.store.connection import connect
from twin_engine.store.errors import StoreDown
from twin_engine.store.people import AccountExists, NoSuchAccount, PeopleStore, clock_ms
from twin_engine.store.server import RedisFiles
from twin_engine.store.sessions import Session, SessionStore
from twin_engine.store.signin import (
    CROWD_WAITS_S,
    FREE_OF_ADDRESS,
    MOST_WAIT_S,
    WINDOW_S,
    Attempts,
    Begun,
    _keys,
    browser_of,
    browser_token,
    known_browser,
)

MASTER = MasterKey(bytes(range(32)))
WREN = Account("dr.wren", "clinician", "Dr. Wren", grants=frozenset({"p-1"}))

# ------------------------------------------------------------------------------------------------ passwords


@pytest.mark.parametrize(
    ("password", "reason"),
    [("fourteen chars", "short"), ("x7#kq9z!" * 17, "long"), ("passwordpassword", "common"),
     ("Password123456789!", "common"),
     ("123456789012345", "common"), ("qwertyuiopqwertyuiop", "common"), ("aaaaaaaaaaaaaaaaaaaa", "common"),
     ("everbeat-2026-everbeat", "common"), ("dr.wren-dr.wren-1", "yours"), ("!!!!1111....2222", "common")],
)  # fmt: skip
def test_a_password_that_is_tried_first_is_refused(password: str, reason: str) -> None:
    """ASVS 5.0 6.2.1, 6.2.4, 6.2.11."""
    with pytest.raises(WeakPassword) as refused:
        hash_password(password, ("dr.wren",))
    assert refused.value.reason == reason and password not in str(refused.value)


@pytest.mark.parametrize(
    "password", ["correct horse battery", "größe über alles hinaus", "x7#kq9z!" * 15, "all lower case words"]
)
def test_any_kind_of_long_password_will_do(password: str) -> None:
    """ASVS 6.2.5, 6.2.8, 6.2.9, 11.4.2: no composition rules, compared whole."""
    stored = hash_password(password)
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")  # RFC 9106, section 4, second recommendation
    assert matches(stored, password)
    assert not matches(stored, password[:-1]) and not matches(stored, password.upper())
    assert not passwords.outdated(stored)


def test_one_password_is_one_however_its_letters_are_composed() -> None:
    assert matches(hash_password("grün wie die Donau"), "gru\u0308n wie die Donau")


def test_nobody_matches_no_password() -> None:
    assert not matches("", "nobody has this password") and not matches("no hash", "x")


def test_the_list_of_common_passwords_is_there() -> None:
    assert len(passwords._common()) > 10_000 and is_common("iloveyouiloveyou")


# ------------------------------------------------------------------------------------------------ accounts


@pytest.mark.parametrize(
    "wrong", [{"name": "Dr Wren"}, {"name": "a|b"}, {"name": ""}, {"name": "x" * 33}, {"role": "emperor"},
              {"grants": frozenset({""})}, {"shown": "a\nb"}],
)  # fmt: skip
def test_an_account_that_could_be_taken_for_another_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SecurityError, match="nothing was changed"):
        replace(WREN, **wrong)


def test_an_account_survives_its_text_and_another_text_is_none() -> None:
    assert Account.from_json(WREN.to_json()) == WREN
    for text in ("", "{}", "[]", '{"name":"x","role":"emperor","grants":[]}'):
        with pytest.raises(Rejected):
            Account.from_json(text)


def test_every_role_has_rights_and_an_end_and_a_disabled_account_has_none() -> None:
    assert set(ROLES) == set(PATIENCE) and all(ROLES.values())
    assert replace(WREN, disabled=True).rights == frozenset()
    assert len(replace(WREN, name="x" * 32, shown="y" * 40).called) <= 64


# ------------------------------------------------------------------------------------------------ on Redis


@pytest.fixture
def store(redis_server: tuple[RedisFiles, Any]) -> PeopleStore:
    return people_of(redis_server[0], MASTER).accounts


@pytest.mark.redis
def test_accounts_are_kept_sealed_each_in_its_own_place(store: PeopleStore) -> None:
    assert not store.any()
    store.add(WREN)
    with pytest.raises(AccountExists):
        store.add(WREN)
    with pytest.raises(NoSuchAccount):
        store.change("nobody", lambda a: a)
    assert store.any() and store.find("dr.wren") == WREN and store.find("nobody") is None
    blob = store.client.hget("eb:people", "dr.wren")
    assert b"Wren" not in blob and b"clinician" not in blob
    store.client.hset("eb:people", "root", blob)  # moved to another name
    store.client.hset("eb:people", "sec", blob[:-1] + b"\x00")  # altered
    assert store.find("root") is None and store.find("sec") is None and store.all() == [WREN]


@pytest.mark.redis
def test_the_users_of_people_and_audit_reach_nothing_else(redis_server: tuple[RedisFiles, Any]) -> None:
    import redis

    files, _ = redis_server
    people, web = (connect(files.login(user)) for user in ("people", "web"))
    for client, call in ((people, ("GET", "eb:key:p-1")), (people, ("XRANGE", "eb:audit:in", "-", "+")),
                         (people, ("KEYS", "*")), (web, ("XRANGE", "eb:audit:in", "-", "+")),
                         (web, ("XADD", "eb:audit:in", "*", "b", "x")), (web, ("HGETALL", "eb:people")),
                         (web, ("GET", "eb:people:session:x"))):  # fmt: skip
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*call)


@pytest.mark.redis
def test_a_session_of_one_person_can_be_made_into_no_other(store: PeopleStore) -> None:
    sessions = SessionStore(store.client, MASTER)
    secret, own = sessions.begin(WREN)
    _, other = sessions.begin(replace(WREN, name="root", role="admin"))
    assert sessions.find(secret) == own and sessions.find("") is None and sessions.find("x" * 200) is None
    stolen = store.client.get(f"eb:people:session:{other.id}")
    store.client.set(f"eb:people:session:{own.id}", stolen)
    assert sessions.find(secret) is None


@pytest.mark.redis
def test_a_clock_that_is_set_back_signs_nobody_out_and_lets_nobody_stay_for_longer(store: PeopleStore) -> None:
    hour_ms, now_ms = 3_600_000, 1_790_000_000_000
    clock = [now_ms]
    sessions, most_ms = SessionStore(store.client, MASTER, clock=lambda: clock[0]), 12 * hour_ms
    secret, session = sessions.begin(WREN)
    clock[0] += 20 * 60_000
    sessions.touch(session)
    clock[0] -= 6 * hour_ms
    seen = sessions.find(secret)
    assert seen is not None and not seen.over(WREN, clock[0])
    assert (clock[0] - seen.touched_ms, clock[0] - seen.from_ms) == (0, 20 * 60_000), "as old as it was"
    idle = sessions.find(secret)
    assert idle == seen and idle.over(WREN, clock[0] + 30 * 60_000), "and idle from then on"
    assert replace(seen, touched_ms=clock[0] + most_ms).over(WREN, clock[0] + most_ms)
    clock[0] -= most_ms
    far = sessions.find(secret)
    assert far is not None and far.over(WREN, clock[0]), "a step longer than any session ends it"


def test_a_password_that_was_set_in_the_future_keeps_nobody_out() -> None:
    now_ms = 1_790_000_000_000
    account = replace(WREN, changed_ms=now_ms + 86_400_000)
    session = Session("id", account.name, account.role, now_ms, now_ms, password_ms=account.changed_ms)
    assert not session.over(account, now_ms)
    assert session.over(replace(account, changed_ms=now_ms + 1), now_ms), "another password"
    old = replace(session, password_ms=None)
    assert old.over(account, now_ms) and not old.over(replace(account, changed_ms=now_ms - 1), now_ms)


@pytest.mark.redis
def test_glass_that_was_broken_in_the_future_is_not_open_until_then(store: PeopleStore) -> None:
    now_ms = 1_790_000_000_000
    clock = [now_ms]
    people = PeopleStore(store.client, MASTER, clock=lambda: clock[0])
    people.break_glass("dr.wren", "p-1", "an emergency")
    assert [g.patient for g in people.glasses()] == ["p-1"]
    clock[0] -= 86_400_000
    assert not people.glasses()


@pytest.mark.redis
def test_an_ended_session_is_not_revived_by_a_late_touch(store: PeopleStore) -> None:
    sessions = SessionStore(store.client, MASTER, clock=lambda: 10_000_000)
    secret, session = sessions.begin(WREN)
    sessions.end(session)
    SessionStore(store.client, MASTER, clock=lambda: 10_100_000).touch(session)
    assert sessions.find(secret) is None and sessions.of("dr.wren") == []


@pytest.mark.redis
def test_a_hundred_guesses_at_once_gain_no_more_than_five(store: PeopleStore) -> None:
    attempts = Attempts(store.client)
    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(lambda _: attempts.wait_s("account|dr.wren", 5), range(100)))
    assert sum(wait == 0.0 for wait in waits) <= 7  # five free ones, and one or two whose second had come
    for _ in range(20):
        store.client.delete(_keys("account|dr.wren")[1])  # its time has come
        attempts.wait_s("account|dr.wren", 5)
    assert max(attempts.wait_s("account|dr.wren", 5) for _ in range(3)) <= MOST_WAIT_S
    attempts.forget("account|dr.wren")
    assert attempts.wait_s("account|dr.wren", 5) == 0.0


@pytest.mark.redis
def test_what_was_begun_is_taken_up_once(store: PeopleStore) -> None:
    begun = Begun(store.client)
    assert begun.first("state") and begun.first("other")
    assert not begun.first("state")


@pytest.mark.redis
def test_names_made_up_without_end_fill_no_store(store: PeopleStore) -> None:
    keys = {key for n in range(300_000) for key in _keys(f"account|name-{n}")}
    assert len(keys) <= 2 * 65_536


@pytest.mark.redis
def test_failures_of_an_address_cost_each_other_name_one_short_wait(store: PeopleStore) -> None:
    attempts = Attempts(store.client)
    assert {attempts.crowd("address|ward", f"name-{n}", FREE_OF_ADDRESS) for n in range(FREE_OF_ADDRESS)} == {
        (0.0, True)
    }
    assert attempts.crowd("address|ward", "dr.wren", FREE_OF_ADDRESS) == (CROWD_WAITS_S[0], False)
    waits = [attempts.crowd("address|ward", "dr.wren", FREE_OF_ADDRESS)[0] for _ in range(3)]
    assert all(9 < wait <= CROWD_WAITS_S[0] for wait in waits), "asking again does not make it longer"
    for _ in range(50):
        attempts.crowd("address|ward", "dr.heron", FREE_OF_ADDRESS)  # and others don't, either
    turn = _keys("turn|address|ward|dr.wren")[1]
    for wait_s in (60, 300, 300):
        store.client.delete(turn)  # its time has come
        assert attempts.crowd("address|ward", "dr.wren", FREE_OF_ADDRESS)[0] == 0.0, "one password is looked at"
        assert wait_s - 1 < attempts.crowd("address|ward", "dr.wren", FREE_OF_ADDRESS)[0] <= wait_s
    assert attempts.crowd("address|other", "dr.wren", FREE_OF_ADDRESS) == (0.0, True)


@pytest.mark.redis
def test_a_thousand_right_passwords_of_one_address_are_no_failures(store: PeopleStore) -> None:
    attempts = Attempts(store.client)
    for n in range(1000):
        wait_s, counted = attempts.crowd("address|ward", f"name-{n}", FREE_OF_ADDRESS)
        assert wait_s == 0.0
        attempts.spare("address|ward", f"name-{n}", counted)
    assert 0 < store.client.pttl(_keys("address|ward")[0]) <= 1000 * WINDOW_S


def test_a_known_browser_is_known_for_its_own_account_and_a_while() -> None:
    token = browser_token(MASTER, "dr.wren", lambda: 0)
    assert known_browser(MASTER, token, "dr.wren", lambda: 1) != ""
    assert known_browser(MASTER, token, "root", lambda: 1) == ""
    assert browser_of(MASTER, token, lambda: 1) == "dr.wren" and browser_of(MASTER, "", lambda: 1) == ""
    assert known_browser(MASTER, token, "dr.wren", lambda: 91 * 86_400_000) == ""
    assert known_browser(MASTER, token[:-2] + "00", "dr.wren", lambda: 1) == ""
    assert known_browser(MASTER, "not hex", "dr.wren") == known_browser(MASTER, "", "dr.wren") == ""


# ------------------------------------------------------------------------------------------------ the command line


@pytest.mark.redis
def test_the_command_line_adds_grants_ends_and_disables_and_each_is_audited(
    redis_server: tuple[RedisFiles, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, _ = redis_server
    monkeypatch.setenv("EVERBEAT_STATE", str(files.directory.parent / f"{files.directory.name}-s"))
    state = Path(files.directory.parent / f"{files.directory.name}-s")
    state.mkdir(mode=0o700)
    (state / "redis").symlink_to(files.directory)
    runner = CliRunner()

    def do(*args: str, say: str = "") -> Any:
        return runner.invoke(app, ["user", *args], input=say)

    assert do("add", "dr.wren", "--password-stdin", say="short\n").exit_code == 2
    assert do("add", "dr.wren", "--shown", "Dr. Wren", "--password-stdin", say=PASSWORD + "\n").exit_code == 0
    assert do("add", "dr.wren", "--password-stdin", say=PASSWORD + "\n").exit_code == 2
    assert do("grant", "dr.wren", "--all").output == "dr.wren may see every patient\n"
    assert do("grant", "dr.wren", "p-nobody").exit_code == 2 and do("role", "dr.wren", "emperor").exit_code == 2
    assert do("role", "dr.wren", "viewer").output.startswith("dr.wren is viewer")
    listed = do("list").output
    assert "dr.wren" in listed and "viewer" in listed and "*" in listed
    people = people_of(files, MasterKey.load_or_create(state / "keys" / "master.key"))
    account = people.accounts.find("dr.wren")
    assert account is not None and matches(account.password, PASSWORD)
    people.sessions.begin(account, "10.0.0.7")
    assert "10.0.0.7" in do("sessions", "dr.wren").output
    assert do("end", "dr.wren").output.strip() == "1 ended" and not people.sessions.of("dr.wren")
    people.sessions.begin(account)
    assert do("disable", "dr.wren").exit_code == 0 and not people.sessions.of("dr.wren")
    assert people.accounts.find("dr.wren").disabled  # type: ignore[union-attr]
    assert do("revoke", "dr.wren", "--all").exit_code == 0 and do("disable", "dr.wren", "--undo").exit_code == 0
    reader = Sequenced(files, people.accounts.master)
    kinds = [event.kind for _, event in reader.read(AuditQuery()).events]
    assert kinds == ["person.changed", "person.ungranted", "person.changed", "session.ended", "person.changed",
                     "person.granted", "person.added"]  # fmt: skip
    monkeypatch.setenv("COLUMNS", "250")
    people.accounts.add(Account("wall", "kiosk"))
    assert "no screen is signed in" in do("list").output
    people.sessions.begin(Account("wall", "kiosk"))
    assert "days" not in do("list").output
    old = SessionStore(people.accounts.client, people.accounts.master, lambda: clock_ms() - 28 * 86_400_000)
    old.begin(Account("wall", "kiosk"))
    assert "in 2.0 days, sign in again" in do("list").output
    assert PASSWORD not in (listed + str([e for _, e in reader.read(AuditQuery()).events]))


@pytest.mark.redis
def test_nothing_is_changed_that_could_not_be_audited(redis_server: tuple[RedisFiles, Any]) -> None:
    files, process = redis_server
    people = people_of(files, MASTER)
    process.kill()
    process.wait()
    with pytest.raises(StoreDown):
        people.accounts.find("dr.wren")


@pytest.mark.redis
def test_an_account_that_is_disabled_while_a_grant_is_made_stays_disabled(store: PeopleStore) -> None:
    store.add(Account("dr.wren", "clinician"))
    began = False

    def granted(account: Account) -> Account:
        nonlocal began
        if not began:  # an officer comes between the reading and the writing
            began = True
            store.change("dr.wren", lambda found: replace(found, disabled=True))
        return account.granted("p-1")

    store.change("dr.wren", granted)
    found = store.find("dr.wren")
    assert found is not None and found.disabled and found.grants == {"p-1"}


@pytest.mark.redis
def test_an_older_copy_of_the_database_opens_no_house_that_had_accounts(
    redis_server: tuple[RedisFiles, Any], tmp_path: Path
) -> None:
    path = tmp_path / "keys" / "master.key"
    store = people_of(redis_server[0], MasterKey.load_or_create(path)).accounts
    assert not store.any()
    store.add(Account("dr.wren", "clinician"))
    store.client.delete("eb:people")  # as a copy of before, or none, that is put back
    assert people_of(redis_server[0], MasterKey.load_or_create(path)).accounts.any()


@pytest.mark.redis
def test_a_house_that_had_accounts_before_it_remembered_them_remembers_them_at_the_first_look(
    redis_server: tuple[RedisFiles, Any], tmp_path: Path
) -> None:
    path = tmp_path / "keys" / "master.key"
    store = people_of(redis_server[0], MasterKey.load_or_create(path)).accounts
    store.add(Account("dr.wren", "clinician"))
    (path.parent / "sign-in").unlink()
    assert store.any() and (path.parent / "sign-in").exists()

"""Signing in over real HTTP and Redis. Each test names the items of OWASP ASVS 5.0 that it holds the house to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from subprocess import Popen

import pytest

from security.people import PATIENCE
from tests.people_kit import PASSWORD, House, Visitor
from tests.web_kit import wait_until
from twin_engine.store.sessions import hash_of
from twin_engine.store.signin import FREE_OF_ADDRESS, FREE_OF_MACHINE, _keys
from web.access import COOKIE
from web.settings import WebSettings
from web.signin import CSRF_HEADER

pytestmark = pytest.mark.redis
SETTINGS = WebSettings(host="127.0.1.90", port=8590, block_ms=50)


@pytest.fixture
def house(redis_server) -> Iterator[House]:  # type: ignore[no-untyped-def]
    made = House(redis_server[0], SETTINGS)
    yield made
    made.close()


@pytest.fixture
def wren(house: House) -> Visitor:
    visitor = Visitor(house)
    assert visitor.sign_in("dr.wren").status_code == 303
    return visitor


def test_nobody_is_let_in_without_an_account_whatever_is_asked(house: House) -> None:
    """ASVS 8.2.1, 8.3.1: every path is closed, on the server, unless it is listed as open."""
    visitor = Visitor(house)
    rules = {rule.rule for rule in house.flask.url_map.iter_rules()}
    open_ones = set()
    for rule in sorted(rules):
        path = rule.replace("<patient>", "p-0001").replace("<path:path>", "x").replace("<name>", "de")
        path = path.replace("<path:_>", "x").replace("<path:filename>", "x").replace("<string:package_name>", "dash")
        path = path.replace("<path:fingerprinted_path>", "x")
        status = visitor.get(path).status_code
        if status == 200 or "/language" in rule:
            open_ones.add(rule)
        else:
            assert status in (303, 401, 405) or path in ("/assets/x", "/sign-out"), (rule, status)
    assert open_ones == {"/sign-in", "/language/<name>", "/downtime", "/downtime/worker.js"}
    assert visitor.get("/assets/people.css").status_code == 200


def test_a_page_that_was_asked_for_is_shown_after_the_sign_in(house: House) -> None:
    visitor = Visitor(house)
    answer = visitor.get("/patient/p-0001/replay?from=1")
    assert answer.headers["Location"] == "/sign-in?next=%2Fpatient%2Fp-0001%2Freplay%3Ffrom%3D1"
    answer = visitor.sign_in("dr.wren", to="%2Fpatient%2Fp-0001%2Freplay%3Ffrom%3D1")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/patient/p-0001/replay?from=1")


@pytest.mark.parametrize("to", ["https://evil.example", "//evil.example", "/\\evil.example", "/%09/evil.example",
                                "javascript:alert(1)", "/sign-out"])  # fmt: skip
def test_a_sign_in_leads_to_no_page_but_ours(house: House, to: str) -> None:
    """ASVS 3.7.2, 1.2.2 (open redirect)."""
    answer = Visitor(house).sign_in("dr.wren", to=to)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


def test_a_sign_in_gives_a_new_session_and_ends_the_one_before(house: House, wren: Visitor) -> None:
    """ASVS 7.2.4 (session fixation): a new token at every authentication, and the old one is over."""
    before = wren.secret
    wren.sign_in("dr.wren")
    assert wren.secret != before
    thief = Visitor(house)
    thief.cookies[COOKIE] = before
    assert thief.get("/session").status_code == 401


def test_a_session_that_an_attacker_planted_is_never_taken_up(house: House) -> None:
    """ASVS 7.2.1, 7.2.2, 7.2.4."""
    victim = Visitor(house)
    victim.cookies[COOKIE] = "planted-by-somebody-else"
    victim.sign_in("dr.wren")
    assert victim.secret != "planted-by-somebody-else" and len(victim.secret) >= 43
    thief = Visitor(house)
    thief.cookies[COOKIE] = "planted-by-somebody-else"
    assert thief.get("/session").status_code == 401


def test_a_session_is_stored_hashed_and_opens_nothing_from_a_copy_of_the_database(house: House, wren: Visitor) -> None:
    """ASVS 7.2.3, 11.5.1: 256 random bits; that only a hash is kept is our own rule."""
    client = house.people.accounts.client
    assert client.get(f"eb:people:session:{hash_of(wren.secret)}") is not None
    stored = (house.files.directory / "appendonlydir").glob("*")
    assert all(wren.secret.encode() not in path.read_bytes() for path in stored)
    thief = Visitor(house)
    thief.cookies[COOKIE] = hash_of(wren.secret)
    assert thief.get("/session").status_code == 401


def test_cookies_are_for_this_host_for_tls_and_for_no_script(house: House) -> None:
    """ASVS 3.3.1 to 3.3.4."""
    visitor = Visitor(house)
    answer = visitor.sign_in("dr.wren")
    for line in answer.raw.headers.getlist("Set-Cookie"):
        assert line.startswith("__Host-everbeat") and "Domain" not in line
        assert {"Secure", "Path=/", "SameSite=Strict"} <= set(line.split("; "))
        assert ("HttpOnly" in line) == ("-csrf=" not in line)


def test_a_sign_out_ends_the_session_in_the_store(house: House, wren: Visitor) -> None:
    """ASVS 7.4.1."""
    copied = Visitor(house)
    copied.cookies = dict(wren.cookies)
    assert wren.post("/sign-out", {"csrf": wren.csrf}).headers["Location"] == "/sign-in"
    assert COOKIE not in wren.cookies
    assert copied.get("/session").status_code == 401
    assert [event.kind for event in house.told(who="dr.wren")][:1] == ["person.sign-out"]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/sign-out", {}, 403),
        ("/_dash-update-component", {}, 403),
        ("/account/end-others", {CSRF_HEADER: "0" * 64}, 403),
        ("/break-glass", {"Origin": "https://evil.example", CSRF_HEADER: "own"}, 403),
        ("/break-glass", {"Origin": "null", CSRF_HEADER: "own"}, 403),
        ("/_dash-update-component", {"Origin": "", CSRF_HEADER: "own"}, 403),
        ("/session", {CSRF_HEADER: "own"}, 204),
    ],
)
def test_a_command_needs_our_origin_and_the_token_of_its_own_session(
    house: House, wren: Visitor, path: str, headers: dict[str, str], status: int
) -> None:
    """ASVS 3.5.1 (CSRF), also on the page's callbacks."""
    own = {name: wren.csrf if value == "own" else value for name, value in headers.items()}
    assert wren.post(path, headers=own).status_code == status
    assert wren.get("/session").status_code == 204


def test_the_token_of_another_session_does_not_fit(house: House, wren: Visitor) -> None:
    """ASVS 3.5.1: a token is bound to its session."""
    heron = Visitor(house)
    heron.sign_in("dr.heron")
    assert wren.post("/session", headers={CSRF_HEADER: heron.csrf}).status_code == 403


def test_nobody_can_be_signed_in_by_another_page(house: House) -> None:
    """ASVS 3.5.1 (login CSRF): the form's own token, and the origin."""
    visitor = Visitor(house)
    typed = {"name": "dr.wren", "password": PASSWORD, "csrf": "0" * 64}
    assert visitor.post("/sign-in", typed).status_code == 403
    assert visitor.post("/sign-in", typed, headers={"Origin": "https://evil.example"}).status_code == 403
    assert COOKIE not in visitor.cookies


@pytest.mark.alone
def test_a_wrong_name_and_a_wrong_password_are_answered_alike(house: House) -> None:
    """ASVS 6.3.8: no user enumeration, by words or by time."""
    took, texts = dict[str, float](), set()
    for name in ("dr.wren", "nobody.here", "dr.heron", "no.such.name"):
        start = time.perf_counter()
        answer = Visitor(house).sign_in(name, "not the password of anybody")
        took[name] = time.perf_counter() - start
        texts.add((answer.status_code, answer.text.replace(name, "NAME").split("csrf")[0]))
    assert len(texts) == 1 and next(iter(texts))[0] == 401
    known, unknown = took["dr.heron"], took["no.such.name"]  # the first ones warm up
    assert 0.2 < known / unknown < 5, took


def test_a_disabled_account_is_answered_like_a_wrong_password(house: House) -> None:
    house.change("dr.wren", disabled=True)
    assert Visitor(house).sign_in("dr.wren").status_code == 401
    assert house.told("person.sign-in-failed")[0].about == "dr.wren"


def test_guessing_must_wait_ever_longer_and_a_known_browser_need_not(house: House, wren: Visitor) -> None:
    """ASVS 6.3.1: guesses are slowed down, and can't lock out who has signed in here before."""
    answers = [Visitor(house).sign_in("dr.wren", f"guess number {i} of many") for i in range(8)]
    assert [a.status_code for a in answers[:5]] == [401] * 5
    assert answers[-1].status_code == 429 and int(answers[-1].headers["Retry-After"]) >= 1
    assert Visitor(house).sign_in("dr.wren").status_code == 429, "the right password must wait, too"
    assert wren.sign_in("dr.wren").status_code == 303, "a browser she has used is counted apart"
    assert Visitor(house).sign_in("dr.heron").status_code == 303, "nobody else waits"


def test_an_address_that_guesses_many_names_must_wait(house: House) -> None:
    """ASVS 6.3.1 (password spraying, credential stuffing)."""
    fill(house)
    sprayed = [Visitor(house).sign_in(f"name-{i}", "seven herons over the lake").status_code for i in range(4)]
    assert sprayed == [429] * 4, "not one password is looked at, whether there is such a person or not"
    for i in range(4):
        come(house, f"turn|address|127.0.0.1|name-{i}")
    again = [Visitor(house).sign_in(f"name-{i}", "seven herons over the lake").status_code for i in range(4)]
    last = Visitor(house).sign_in("name-0", "eight herons over the lake")
    assert again == [401] * 4 and last.status_code == 429 and int(last.headers["Retry-After"]) > 10
    assert len(house.told("person.sign-in-failed")) == 4


def fill(house: House, failures: int = FREE_OF_ADDRESS) -> None:
    """So many wrong passwords came from this address."""
    for n in range(failures):
        house.people.attempts.crowd("address|127.0.0.1", f"sprayed-{n}", FREE_OF_ADDRESS)


def come(house: House, bucket: str) -> None:
    """Its time to wait is over."""
    house.people.accounts.client.delete(_keys(bucket)[1])


def test_a_right_password_waits_at_most_a_moment_for_what_others_at_its_address_typed(house: House) -> None:
    """ASVS 6.1.1, 6.3.1: a hospital behind one address is not locked out by one guesser in it."""
    fill(house)
    answer = Visitor(house).sign_in("dr.heron")
    assert answer.status_code == 429 and int(answer.headers["Retry-After"]) <= 10
    fill(house, 50)  # meanwhile the guessing goes on
    come(house, "turn|address|127.0.0.1|dr.heron")
    heron = Visitor(house)
    assert heron.sign_in("dr.heron").status_code == 303
    assert heron.sign_in("vera").status_code == 303, "on a machine of the house somebody else does not wait at all"


def test_a_change_of_shift_behind_one_address_makes_nobody_wait(house: House) -> None:
    """Only failures count, and more right passwords come than failures are free."""
    fill(house, FREE_OF_ADDRESS - 2)
    for name in ("dr.wren", "dr.heron", "vera", "sec", "root"):
        assert Visitor(house).sign_in(name).status_code == 303
    assert Visitor(house).sign_in("vera", "mistyped this one time").status_code == 401
    assert Visitor(house).sign_in("vera").status_code == 303


def test_a_machine_of_the_house_is_no_free_pass_for_guesses(house: House, wren: Visitor) -> None:
    found = [wren.sign_in(f"name-{n}", "seven herons over the lake").status_code for n in range(FREE_OF_MACHINE + 2)]
    assert found == [401] * FREE_OF_MACHINE + [429] * 2


def test_an_idle_session_and_an_old_one_are_over_and_a_timer_keeps_none_alive(house: House, wren: Visitor) -> None:
    """ASVS 7.3.1, 7.3.2."""
    sessions = house.people.sessions
    session = sessions.find(wren.secret)
    account = house.people.accounts.find("dr.wren")
    assert session and account
    idle_ms, most_ms = 1000 * PATIENCE["clinician"].idle_s, 1000 * PATIENCE["clinician"].most_s
    assert not session.over(account, session.from_ms + idle_ms - 1)
    assert session.over(account, session.from_ms + idle_ms)
    sessions._clock = lambda: session.from_ms + idle_ms - 1
    wren.get("/session")
    wren.get("/_dash-layout")
    assert sessions.find(wren.secret).touched_ms == session.from_ms, "a timer's requests are nobody's"
    wren.post("/session", headers={CSRF_HEADER: wren.csrf})
    touched = sessions.find(wren.secret)
    assert touched.touched_ms == session.from_ms + idle_ms - 1
    assert touched.over(account, session.from_ms + most_ms)


def test_a_kiosk_is_never_idle_but_ends(house: House) -> None:
    assert PATIENCE["kiosk"].idle_s == 0 < PATIENCE["kiosk"].most_s


@pytest.mark.parametrize("what", [{"disabled": True}, {"role": "viewer"}, {"changed_ms": 2**53}])
def test_a_change_of_the_account_ends_its_sessions(house: House, wren: Visitor, what: dict[str, object]) -> None:
    """ASVS 7.4.2, 7.4.3, 8.3.2."""
    house.change("dr.wren", **what)
    assert wren.get("/session").status_code == 401


def test_a_new_password_ends_all_other_sessions_and_is_asked_for_the_old_one(house: House, wren: Visitor) -> None:
    """ASVS 6.2.2, 6.2.3, 6.2.4, 7.2.4, 7.4.3."""
    other = Visitor(house)
    other.sign_in("dr.wren")
    before, new = wren.secret, "an avocet walks in brackish water"
    typed = {"csrf": wren.csrf, "now": "not the one", "new": new, "again": new}
    assert wren.post("/account/password", typed).status_code == 400
    assert wren.post("/account/password", typed | {"now": PASSWORD, "new": "short"}).status_code == 400
    weak = {"now": PASSWORD, "new": "password123456789", "again": "password123456789"}
    assert wren.post("/account/password", typed | weak).status_code == 400
    assert wren.post("/account/password", typed | {"now": PASSWORD}).status_code == 303
    assert wren.secret != before and wren.get("/session").status_code == 204
    assert other.get("/session").status_code == 401
    assert Visitor(house).sign_in("dr.wren").status_code == 401
    assert Visitor(house).sign_in("dr.wren", new).status_code == 303
    assert house.told("person.changed", "dr.wren")[0].facts == {"what": "password"}


def test_a_person_sees_her_sessions_and_ends_the_others(house: House, wren: Visitor) -> None:
    """ASVS 7.5.2: and types her password again for it."""
    other = Visitor(house)
    other.sign_in("dr.wren")
    assert wren.get("/account").text.count("<time") == 4
    for wrong in ({}, {"now": "not her password at all"}):
        answer = wren.post("/account/end-others", {"csrf": wren.csrf} | wrong)
        assert answer.status_code == 400 and "present password is wrong" in answer.text
        assert other.get("/session").status_code == 204
    wren.post("/account/end-others", {"csrf": wren.csrf, "now": PASSWORD})
    assert other.get("/session").status_code == 401 and wren.get("/session").status_code == 204


def test_sign_in_begins_with_the_first_account_without_a_restart(redis_server) -> None:  # type: ignore[no-untyped-def]
    house = House(redis_server[0], SETTINGS, with_people=False)
    try:
        visitor = Visitor(house)
        assert visitor.get("/").status_code == 200
        house.add("dr.wren", "clinician")
        wait_until(lambda: visitor.get("/").status_code == 303, timeout_s=3)
    finally:
        house.close()


def test_while_the_store_is_down_nobody_is_let_in_and_nothing_is_shown(
    house: House, wren: Visitor, redis_server: tuple[object, Popen[bytes]]
) -> None:
    """ASVS 16.5.3: fails closed."""
    redis_server[1].kill()
    redis_server[1].wait()
    for path in ("/", "/patient/p-0001", "/data/p-0001/history?from=1&to=2", "/session", "/audit"):
        assert wren.get(path).status_code == 503

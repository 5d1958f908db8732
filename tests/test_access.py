"""Who may see whom, over real HTTP, sockets and Redis: every way to a patient asks, and answers as if there were none.
Each test names the items of OWASP ASVS 5.0 that it holds the house to."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from security.people import EVERYBODY, ROLES, Right
from tests.people_kit import House, Visitor
from tests.socket_viewer import Viewer
from tests.web_kit import wait_until
from twin_engine.registry import PatientCard, shown_number
from web.access import Person, allowed
from web.settings import BindRefused, WebSettings
from web.signin import CSRF_HEADER

pytestmark = pytest.mark.redis
SETTINGS = WebSettings(host="127.0.1.91", port=8591, block_ms=50)
OWN, FOREIGN, UNKNOWN = "p-0001", "p-0003", "p-9999"


@pytest.fixture
def house(redis_server) -> Iterator[House]:  # type: ignore[no-untyped-def]
    made = House(redis_server[0], SETTINGS)
    yield made
    made.close()


@pytest.fixture
def wren(house: House) -> Visitor:
    visitor = Visitor(house)
    visitor.sign_in("dr.wren")
    return visitor


def line(house: House, visitor: Visitor, patient: str = "", namespace: str = "/twin") -> Viewer:
    return Viewer(house.url, patient, namespace=namespace, cookie=visitor.cookie_header)


def person(role: str, *grants: str, **glass: int) -> Person:
    return Person("x", "x", role, ROLES[role], frozenset(grants), glass)


def number(house: House, patient: str) -> str:
    return shown_number(house.feed.clinic.cards[patient])


# ------------------------------------------------------------------------------------------------ the rule


@pytest.mark.parametrize("right", list(Right))
@pytest.mark.parametrize("role", sorted(ROLES))
def test_whatever_is_not_in_the_table_is_refused(role: str, right: Right) -> None:
    """ASVS 8.2.1, 8.2.2: deny by default, for every role and right."""
    about_nobody = right in (Right.ADMIT, Right.AUDIT, Right.PEOPLE, Right.BREAK_GLASS)
    assert allowed(None, right, "p", 0) is False
    assert allowed(person(role), right, "p" if not about_nobody else "", 0) is (about_nobody and right in ROLES[role])
    assert allowed(person(role, "p"), right, "" if about_nobody else "p", 0) is (right in ROLES[role])
    assert allowed(person(role, "p"), right, "", 0) is (about_nobody and right in ROLES[role])
    assert allowed(person(role, "q"), right, "" if about_nobody else "p", 0) is (about_nobody and right in ROLES[role])


def test_broken_glass_lets_see_and_treat_until_its_time_is_up_and_take_nothing_away() -> None:
    through = person("clinician", p=1000)
    assert all(allowed(through, right, "p", 999) for right in (Right.VIEW, Right.ACT, Right.COMMAND))
    assert not allowed(through, Right.EXPORT, "p", 999)
    assert not allowed(through, Right.VIEW, "p", 1000) and not allowed(through, Right.VIEW, "q", 0)
    assert allowed(person("viewer", EVERYBODY), Right.VIEW, "anybody", 0)


def test_who_hands_out_grants_sees_no_patient() -> None:
    assert not any(allowed(person(role, EVERYBODY), Right.VIEW, "p", 0) for role in ("admin", "security-officer"))


# ------------------------------------------------------------------------------------------------ pages and downloads


def test_another_ones_patient_is_answered_like_one_who_is_not_there(house: House, wren: Visitor) -> None:
    """ASVS 8.2.2 (IDOR on rooms)."""
    assert wren.get(f"/patient/{OWN}").status_code == 200
    for tail in ("", "/replay"):
        foreign, unknown = (wren.get(f"/patient/{p}{tail}") for p in (FOREIGN, UNKNOWN))
        assert foreign.status_code == unknown.status_code == 404
        assert foreign.text.replace(FOREIGN, UNKNOWN) == unknown.text
    assert [e.facts["right"] for e in house.told("access.refused", "dr.wren") if e.about == FOREIGN] == ["view"]


@pytest.mark.parametrize(
    "name", ["history", "events", "compare", "export.csv", "report", "proof", "proof/state", "records"]
)
def test_another_ones_stored_past_is_answered_like_one_that_is_not_there(
    house: House, wren: Visitor, name: str
) -> None:
    """ASVS 8.2.2 (IDOR on exports and downloads)."""
    now_s = time.time()
    ask = lambda p, n: wren.get(f"/data/{p}/{name}?from={now_s - 20}&to={now_s}&number={n}")  # noqa: E731
    assert ask(OWN, number(house, OWN)).status_code == 200
    foreign, unknown = ask(FOREIGN, number(house, FOREIGN)), ask(UNKNOWN, "1")
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.text.replace(FOREIGN, UNKNOWN) == unknown.text


def test_an_export_says_who_made_it_and_is_audited_first(house: House, wren: Visitor) -> None:
    """ASVS 16.2.1, 16.3.2 (as level 3 has it)."""
    now_s = time.time()
    csv = wren.get(f"/data/{OWN}/export.csv?from={now_s - 20}&to={now_s}&number={number(house, OWN)}").text
    assert "by Dr.Wren (dr.wren)" in csv
    event = house.told("access.export")[0]
    assert (event.who, event.about, event.facts["what"]) == ("dr.wren", OWN, "export.csv")


def test_who_may_only_look_takes_nothing_away_and_does_nothing(house: House) -> None:
    """ASVS 8.2.1 (function level), 8.3.1 (on the server), 16.3.2 (refusals are logged)."""
    vera = Visitor(house)
    vera.sign_in("vera")
    now_s, own = time.time(), number(house, OWN)
    assert vera.get(f"/data/{OWN}/history?from={now_s - 20}&to={now_s}").status_code == 200
    assert vera.get(f"/data/{OWN}/export.csv?from={now_s - 20}&to={now_s}&number={own}").status_code == 403
    assert vera.get("/break-glass").status_code == 404
    assert vera.post("/break-glass", {"csrf": vera.csrf, "number": own, "reason": "because I want"}).status_code == 404
    with line(house, vera, OWN) as room:
        room.until("hello")
        answer = room.ask("act", {"patient": OWN, "number": own, "kind": "pause", "body": {"seconds": 60}})
        assert answer["ok"] is False and "role" in answer["error"]
    assert not house.feed.clinic.acts
    assert {"act", "export", "break-glass"} <= {e.facts["right"] for e in house.told("access.refused", "vera")}


@pytest.mark.parametrize("path", ["/assets/../web/app.py", "/assets/%2e%2e/pyproject.toml",
                                  "/assets/..%2f..%2fetc/passwd",
                                  "/_dash-component-suites/dash/../../../etc/passwd", "/language/..%2f..%2fx",
                                  "/data/..%2f..%2fetc/passwd/history", "/patient/..%2f..%2faudit",
                                  "/assets/%5c..%5cpyproject.toml"])  # fmt: skip
def test_no_path_leads_out_of_what_is_served(house: House, wren: Visitor, path: str) -> None:
    """ASVS 5.3.2 (path traversal)."""
    with socket.create_connection((SETTINGS.host, SETTINGS.port)) as raw:  # no client tidies the path up
        head = f"GET {path} HTTP/1.1\r\nHost: {SETTINGS.host}:{SETTINGS.port}\r\nCookie: {wren.cookie_header}\r\n"
        raw.sendall(f"{head}Connection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    status = int(answer.split(b" ", 2)[1])
    assert status in (400, 404, 500) or (status == 200 and b"<!DOCTYPE html>" in answer), answer[:200]
    assert b"root:" not in answer and b"create_app" not in answer and b"[build-system]" not in answer


def test_what_a_device_or_a_person_is_called_never_becomes_markup(house: House, wren: Visitor) -> None:
    """ASVS 1.2.1, 3.2.2 (XSS through names), 5.4.2 (names of files)."""
    evil = '"><img src=x onerror=alert(1)>'
    house.feed.clinic.cards[OWN] = PatientCard(OWN, evil, 1950, evil, evil, "male", 180.0, 80.0, number="4711")
    house.change("dr.wren", shown=evil)
    wait_until(lambda: house.flask.extensions["relay"].card(OWN).pseudonym == evil)
    now_s = time.time()
    report = wren.get(f"/data/{OWN}/report?from={now_s - 20}&to={now_s}&number=4711")
    pages = [report, *(wren.get(path) for path in ("/account", "/break-glass", f"/patient/{OWN}", "/patients"))]
    sign_in = Visitor(house)
    sign_in.sign_in(evil, "wrong password for sure")
    pages += [sign_in.get(f"/sign-in?next={evil}"), wren.get(f"/patient/{evil}")]
    assert [page.status_code for page in pages] == [200, 200, 200, 200, 200, 200, 404]
    assert all("<img src=x" not in page.text for page in pages)
    assert report.headers["Content-Disposition"].isascii() and '"><' not in report.headers["Content-Disposition"]
    assert "script-src 'self'" in report.headers["Content-Security-Policy"]


# ------------------------------------------------------------------------------------------------ sockets


def test_a_socket_needs_a_session_a_patient_of_hers_and_our_origin(house: House, wren: Visitor) -> None:
    """ASVS 4.4.2, 7.2.1, 8.2.2 (IDOR on sockets)."""
    with line(house, wren, OWN) as room:
        assert room.until("hello")["card"]["id"] == OWN
    for patient in (FOREIGN, UNKNOWN, "", "*"):
        with line(house, wren, patient) as room:
            assert room.closed.wait(5) and not room.names
    nobody = Visitor(house)
    assert Viewer(house.url, OWN, cookie=nobody.cookie_header, may_refuse=True).refused
    for origin in ("https://evil.example", None):
        room = Viewer(house.url, OWN, cookie=wren.cookie_header, origin=origin, may_refuse=True)
        assert room.refused, origin


def test_the_ward_shows_a_person_only_her_patients_also_when_others_change(house: House, wren: Visitor) -> None:
    """ASVS 8.2.2, 8.3.2."""
    with line(house, wren, namespace="/ward") as ward:
        first = ward.until("ward", lambda m: m["rows"])
        assert set(first["rows"]) == {"p-0001", "p-0002"}
        house.feed.clinic.raise_alarm(FOREIGN, "limit-high", "hr_bpm", 3, "156")
        later = [ward.until("ward") for _ in range(3)]
        assert all(set(m["rows"]) <= {"p-0001", "p-0002"} and FOREIGN not in m["gone"] for m in later)
        house.people.accounts.change("dr.wren", lambda a: a.granted(FOREIGN).ungranted("p-0002"))
        now = ward.until("ward", lambda m: m["all"], 3)
        assert set(now["rows"]) == {"p-0001", FOREIGN}


@pytest.mark.parametrize("how", ["session", "disabled", "grant", "sign-out"])
def test_an_open_socket_is_cut_within_two_seconds(house: House, wren: Visitor, how: str) -> None:
    """ASVS 7.4.1, 7.4.2, 8.3.2: a change takes effect at once."""
    room = line(house, wren, OWN)
    room.until("hello")
    start = time.monotonic()
    if how == "session":
        house.people.sessions.end_all("dr.wren")
    elif how == "disabled":
        house.change("dr.wren", disabled=True)
    elif how == "grant":
        house.people.accounts.change("dr.wren", lambda a: a.ungranted(OWN))
    else:
        wren.post("/sign-out", {"csrf": wren.csrf})
    assert room.closed.wait(2), "still open"
    print(f"cut after {time.monotonic() - start:.2f} s")
    assert house.flask.extensions["relay"].viewers(OWN) == []
    room.close()


def test_an_act_on_a_socket_asks_again_and_bears_the_persons_own_name(house: House, wren: Visitor) -> None:
    """ASVS 8.2.2: the patient in a message counts, not the one whose room it is."""
    with line(house, wren, OWN) as room:
        room.until("hello")
        ask = lambda p: {"patient": p, "number": number(house, p), "kind": "pause", "body": {"seconds": 60}}  # noqa: E731
        assert room.ask("act", ask(OWN)) == {"ok": True}
        foreign = room.ask("act", ask(FOREIGN))
        unknown = room.ask("act", ask(OWN) | {"patient": UNKNOWN})
        assert foreign == unknown and foreign["ok"] is False
    assert [(a[0], a[3]) for a in house.feed.clinic.acts] == [(OWN, "Dr.Wren (dr.wren)")]


# ------------------------------------------------------------------------------------------------ callbacks


def callback(visitor: Visitor, output: str, values: dict[str, Any], changed: str) -> requests.Response:
    """Call one of the page's callbacks as Dash's renderer does."""
    spec = next(d for d in visitor.get("/_dash-dependencies").json() if d["output"].startswith(output))
    fill = lambda d: {**d, "value": values.get(f"{d['id']}.{d['property']}")}  # noqa: E731
    outputs = [dict(zip(("id", "property"), o.split("@")[0].rsplit(".", 1), strict=True))
               for o in spec["output"].strip(".").split("...")]  # fmt: skip
    body = {"output": spec["output"], "outputs": outputs if spec["output"].startswith("..") else outputs[0],
            "inputs": [fill(d) for d in spec["inputs"]], "state": [fill(d) for d in spec.get("state", [])],
            "changedPropIds": [changed]}  # fmt: skip
    headers = {CSRF_HEADER: visitor.csrf, "Content-Type": "application/json"}
    return visitor.post("/_dash-update-component", data=json.dumps(body), headers=headers)  # type: ignore[arg-type]


@pytest.mark.parametrize("patient", [OWN, FOREIGN, UNKNOWN])
def test_a_command_reaches_only_a_device_of_ones_own_patient(house: House, wren: Visitor, patient: str) -> None:
    """ASVS 8.2.2 (IDOR on callbacks)."""
    drawn = {"patient": patient, "number": number(house, OWN if patient == UNKNOWN else patient), "connected": True}
    values = {"link.live": drawn, "link.asked": {}, "url.pathname": f"/patient/{patient}", "btn-identify.n_clicks": 1}
    answer = callback(wren, "..link.asked", values, "btn-identify.n_clicks")
    assert answer.status_code == 200
    assert len(house.feed.commands) == (1 if patient == OWN else 0)
    if patient != OWN:
        assert "finding" in answer.text or "patient" in answer.json()["response"]["command-note"]["children"]


def test_the_tables_of_patients_and_devices_hold_only_her_own(house: House, wren: Visitor) -> None:
    """ASVS 8.2.2, 15.3.1."""
    answer = callback(wren, "..eb-patients.children", {"eb-look.n_intervals": 1, "eb-seen.data": "a b"},
                      "eb-look.n_intervals")  # fmt: skip
    text, cards = answer.text, house.feed.clinic.cards
    assert all(cards[p].pseudonym in text and cards[p].number in text for p in ("p-0001", "p-0002"))
    assert not any(cards[p].number in text or cards[p].device in text for p in (FOREIGN, "p-0004"))


def test_a_form_for_anothers_patient_draws_nothing_of_her(house: House, wren: Visitor) -> None:
    """ASVS 8.2.2."""
    answer = callback(wren, "..eb-panel.title", {"eb-who.data": FOREIGN, "eb-tab.value": "record"}, "eb-who.data")
    card = house.feed.clinic.cards[FOREIGN]
    assert card.pseudonym not in answer.text and card.number not in answer.text


def test_who_admits_a_patient_sees_her_and_a_taken_bed_names_nobody(house: House, wren: Visitor) -> None:
    """ASVS 8.2.3: of a bed that somebody else's patient lies in, only that it is taken."""
    from web.acts import Acts  # the form's own way in
    from web.sight import Reach, Sight

    relay, access = house.flask.extensions["relay"], house.flask.extensions["access"]
    body = {"pseudonym": "STORK-11", "number": "700123", "birth_year": "1950", "sex": "male", "height_cm": "181",
            "weight_kg": 80, "device": ""}  # fmt: skip
    with house.flask.test_request_context("/", headers={"Cookie": wren.cookie_header}):
        sight = Sight(relay, access)
        acts = Acts(Reach(house.feed, relay, access), sight, access.who, others=sight.taken)  # type: ignore[arg-type]
        wrong = acts.send("p-new", "admit", body | {"bed": house.feed.clinic.cards[FOREIGN].bed})
        assert wrong["bed"].key == "people.taken" and not wrong["bed"].facts
        assert acts.send("p-new", "admit", body | {"bed": "Bed 99"}) == {}
    assert "p-new" in house.people.accounts.find("dr.wren").grants  # type: ignore[union-attr]
    assert house.told("person.granted")[0].facts["patient"] == "p-new"


# ------------------------------------------------------------------------------------------------ broken glass, audit


def test_glass_is_broken_with_a_reason_for_a_time_and_everybody_concerned_sees_it(house: House, wren: Visitor) -> None:
    """ASVS 8.2.2, 16.3.3."""
    why = {"csrf": wren.csrf, "number": number(house, FOREIGN), "reason": "found on the stairs, not breathing"}
    assert wren.post("/break-glass", why | {"reason": "short"}).status_code == 400
    again = wren.post("/break-glass", why | {"number": "000000"})
    assert again.status_code == 400 and f'value="{why["reason"]}"' in again.text, "nobody types a reason twice"
    assert wren.get(f"/patient/{FOREIGN}").status_code == 404
    assert wren.post("/break-glass", why).headers["Location"] == f"/patient/{FOREIGN}"
    assert wren.get(f"/patient/{FOREIGN}").status_code == 200
    now_s = time.time()
    export = f"/data/{FOREIGN}/export.csv?from={now_s - 20}&to={now_s}&number={number(house, FOREIGN)}"
    assert wren.get(export).status_code == 403
    sec = Visitor(house)
    sec.sign_in("sec")
    page = sec.get("/audit").text
    assert "found on the stairs" in page and "Glass that is broken now" in page
    room = line(house, wren, FOREIGN)
    room.until("hello")
    assert wren.post("/break-glass/end", {"csrf": wren.csrf, "patient": FOREIGN}).status_code == 303
    assert room.closed.wait(2)
    room.close()
    assert wren.get(f"/patient/{FOREIGN}").status_code == 404
    assert [e.about for e in house.told("access.break-glass")] == [FOREIGN, FOREIGN]


def test_guessing_record_numbers_through_the_glass_must_wait(house: House, wren: Visitor) -> None:
    """ASVS 2.4.1 (anti-automation)."""
    why = {"csrf": wren.csrf, "reason": "found on the stairs, not breathing"}
    for i in range(8):
        wren.post("/break-glass", why | {"number": str(i)})
    assert "Too many attempts" in wren.post("/break-glass", why | {"number": number(house, FOREIGN)}).text


def test_the_audit_page_is_for_those_who_audit_and_finds_what_is_asked_for(house: House, wren: Visitor) -> None:
    """ASVS 8.2.1, 16.4.2."""
    assert wren.get("/audit").status_code == 404
    wren.get(f"/patient/{FOREIGN}")
    Visitor(house).sign_in("dr.heron", "not her password at all")
    sec = Visitor(house)
    sec.sign_in("sec")
    body = sec.get("/audit").text.partition("<tbody>")[2]
    assert "dr.wren" in body and "failed to sign in" in body and FOREIGN in body
    assert "dr.wren" not in sec.get("/audit?kind=person.sign-in-failed").text.partition("<tbody>")[2]
    assert sec.get(f"/audit?about={FOREIGN}&who=dr.wren").text.count("<tr>") == 2
    for i in range(130):
        house.flask.extensions["access"].tell("config.changed", "root", f"setting-{i}")
    first = sec.get("/audit?kind=config.changed").text
    older = first.partition('href="/audit?kind=config.changed&amp;before=')[2].partition('"')[0]
    second = sec.get(f"/audit?kind=config.changed&before={older}").text
    assert "setting-129<" in first and "setting-30<" in first and "setting-29<" not in first
    assert "setting-29<" in second and "setting-0<" in second and "setting-30<" not in second


def test_a_view_is_told_once_for_each_session_and_patient(house: House, wren: Visitor) -> None:
    """ASVS 16.3.2 (as level 3 has it): enough to know who saw whom, not a line a request."""
    for _ in range(3):
        with line(house, wren, OWN) as room:
            room.until("hello")
    assert [e.about for e in house.told("access.view", "dr.wren")] == [OWN]
    wren.sign_in("dr.wren")
    with line(house, wren, OWN) as room:
        room.until("hello")
    assert [e.about for e in house.told("access.view", "dr.wren")] == [OWN, OWN]


# ------------------------------------------------------------------------------------------------ beyond loopback


@pytest.mark.parametrize(
    ("more", "lacks"),
    [
        ({}, "sign-in and HTTPS"),
        ({"sign_in": True}, "HTTPS"),
        ({"certificate": Path("c"), "key": Path("k")}, "sign-in"),
    ],
)
def test_the_loopback_address_is_left_only_with_sign_in_and_https(more: dict[str, Any], lacks: str) -> None:
    """ASVS 12.2.1."""
    with pytest.raises(BindRefused, match=rf"without {lacks};"):
        WebSettings(host="0.0.0.0", **more)
    WebSettings(host="0.0.0.0", sign_in=True, certificate=Path("c"), key=Path("k"))


def test_https_is_tls_1_3_says_hsts_and_is_not_held_up_by_who_says_nothing(redis_server, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """ASVS 3.4.1, 12.1.1, 12.2.1."""
    from security.identity import ensure_server, load_or_create_ca

    ca = load_or_create_ca(tmp_path / "ca")
    own = ensure_server(ca, "web", ["127.0.1.92", "localhost"], tmp_path / "servers")
    settings = WebSettings(host="127.0.1.92", port=8592, sign_in=True, certificate=own.chain_path, key=own.key_path)
    house = House(redis_server[0], settings)
    try:
        silent = [socket.create_connection((settings.host, settings.port)) for _ in range(5)]
        answer = requests.get(f"{house.url}/sign-in", verify=str(ca.root_path), timeout=5)
        assert answer.status_code == 200 and house.url.startswith("https://")
        assert answer.headers["Strict-Transport-Security"].startswith("max-age=31536000")
        context = ssl.create_default_context(cafile=str(ca.root_path))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with socket.create_connection((settings.host, settings.port)) as raw, pytest.raises(ssl.SSLError):
            context.wrap_socket(raw, server_hostname="localhost")
        for connection in silent:
            connection.close()
    finally:
        house.close()


def test_while_the_store_is_down_a_socket_is_told_so_and_no_new_one_is_opened(
    house: House, wren: Visitor, redis_server: tuple[object, Any]
) -> None:
    """ASVS 16.5.3: fails closed."""
    with line(house, wren, OWN) as room:
        room.until("hello")
        redis_server[1].kill()
        redis_server[1].wait()
        ask = {"patient": OWN, "number": number(house, OWN), "kind": "pause", "body": {"seconds": 60}}
        assert room.ask("act", ask)["ok"] is False
        assert not house.feed.clinic.acts
        assert Viewer(house.url, OWN, cookie=wren.cookie_header, may_refuse=True).refused

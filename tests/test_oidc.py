"""Signing in at an identity provider, over real HTTP with real signatures; and every lie of it that is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from everbeat.people import oidc_settings
from everbeat.settings import SettingsError
from security.errors import SecurityError
from security.keys import MasterKey
from tests.oidc_provider import CLIENT, SECRET, OpenIdProvider
from tests.people_kit import House, Visitor
from twin_engine.store.people import clock_ms
from twin_engine.store.signin import begun_facts
from web.access import COOKIE
from web.oidc import BEGUN, OidcSettings, account_of
from web.settings import WebSettings

pytestmark = pytest.mark.redis
SETTINGS = WebSettings(host="127.0.1.93", port=8593, block_ms=50, sign_in=True)
PORT = 8594
ROLES = {"admins": "admin", "icu": "clinician"}


@pytest.fixture
def provider() -> Iterator[OpenIdProvider]:
    made = OpenIdProvider(PORT)
    yield made
    made.close()


@pytest.fixture
def house(redis_server, provider: OpenIdProvider) -> Iterator[House]:  # type: ignore[no-untyped-def]
    made = House(redis_server[0], SETTINGS, OidcSettings(provider.issuer, CLIENT, SECRET, "groups", ROLES))
    yield made
    made.close()


def there(visitor: Visitor, to: str = "") -> str:
    """Go to the provider and come back: the path and query of the callback."""
    start = visitor.get(f"/oidc/start{f'?next={to}' if to else ''}")
    assert start.status_code == 303, start.text
    back = requests.get(start.headers["Location"], allow_redirects=False, timeout=10)
    assert back.status_code == 302, back.text
    return str(back.headers["Location"].removeprefix(visitor.house.url))


def test_a_person_signs_in_elsewhere_and_is_somebody_here(house: House) -> None:
    """ASVS 10.5.2."""
    visitor = Visitor(house)
    assert "/oidc/start" in visitor.get("/sign-in").text
    answer = visitor.get(there(visitor, "%2Fpatients"))
    assert answer.status_code == 200 and 'content="0;url=/patients"' in answer.text
    account = next(a for a in house.people.accounts.all() if a.name.startswith("oidc-"))
    assert (account.role, account.shown, account.grants, account.password) == ("clinician", "Ada Wren", frozenset(), "")
    assert visitor.get("/patient/p-0001").status_code == 404, "which patients are hers is said here"
    house.people.accounts.change(account.name, lambda a: a.granted("p-0001"))
    assert visitor.get("/patient/p-0001").status_code == 200
    assert [e.kind for e in house.told(who=account.name)][-1] == "person.sign-in"


def test_her_role_is_what_the_provider_says_today(house: House, provider: OpenIdProvider) -> None:
    first, second = Visitor(house), Visitor(house)
    first.get(there(first))
    provider.claims["groups"] = ["admins"]
    second.get(there(second))
    assert second.get("/audit").status_code == 200
    assert first.get("/session").status_code == 401, "the session with the old role is over"
    provider.claims["groups"] = ["visitors"]
    third = Visitor(house)
    assert third.get(there(third)).status_code == 403 and COOKIE not in third.cookies


@pytest.mark.parametrize(
    "lie",
    [
        lambda c: c | {"nonce": "of another sign-in"},
        lambda c: {k: v for k, v in c.items() if k != "nonce"},
        lambda c: c | {"aud": "somebody-else"},
        lambda c: c | {"aud": ["somebody-else", "a-third"], "azp": "somebody-else"},
        lambda c: c | {"iss": "https://evil.example"},
        lambda c: {k: v for k, v in c.items() if k != "iss"},
        lambda c: c | {"exp": c["iat"] - 120, "iat": c["iat"] - 600},
        lambda c: {k: v for k, v in c.items() if k != "exp"},
        lambda c: c | {"iat": c["iat"] + 3600, "exp": c["exp"] + 3600},
        lambda c: {k: v for k, v in c.items() if k != "sub"},
    ],
)
def test_a_token_for_another_sign_in_house_or_time_is_refused(
    house: House, provider: OpenIdProvider, lie: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """ASVS 9.2.1, 9.2.3, 10.5.1, 10.5.2, 10.5.4."""
    provider.lie = lie
    visitor = Visitor(house)
    assert visitor.get(there(visitor)).status_code == 403
    assert COOKIE not in visitor.cookies and not [a for a in house.people.accounts.all() if a.name.startswith("oidc-")]
    assert house.told("person.sign-in-failed")[0].who == "oidc"


@pytest.mark.parametrize(("sign_as", "kind"), [("other", "RS256"), ("public", "HS256"), ("ec", "ES256")])
def test_a_token_that_the_provider_did_not_sign_is_refused(
    house: House, provider: OpenIdProvider, sign_as: str, kind: str
) -> None:
    """ASVS 6.8.2, 9.1.1, 9.1.2, 9.1.3."""
    provider.sign_as, provider.kind = sign_as, kind
    visitor = Visitor(house)
    assert visitor.get(there(visitor)).status_code == 403 and COOKIE not in visitor.cookies


def test_a_callback_works_once_and_only_in_the_browser_that_began(house: House) -> None:
    """ASVS 10.1.2, 10.2.1 (state, PKCE; login CSRF)."""
    attacker, victim = Visitor(house), Visitor(house)
    back = there(attacker)
    assert victim.get(back).status_code == 403 and COOKIE not in victim.cookies
    kept = dict(attacker.cookies)
    assert attacker.get(back).status_code == 200
    assert attacker.get(back).status_code == 403
    attacker.cookies = kept  # a copy of the cookie of before
    assert attacker.get(back).status_code == 403 and COOKIE not in attacker.cookies
    assert Visitor(house).get("/oidc/callback?state=made-up&code=x").status_code == 403


def test_whoever_begins_a_sign_in_without_end_leaves_nothing_in_the_store(house: House) -> None:
    """ASVS 2.4.1, 10.2.1: what was begun is in the browser, sealed; of a sign-in that succeeds its state is kept."""
    client = house.people.accounts.client
    keeper = house.owner()
    for _ in range(50):
        assert Visitor(house).get("/oidc/start").status_code == 303
    assert list(keeper.scan_iter("eb:signin:*")) == []
    visitor = Visitor(house)
    visitor.get(there(visitor))
    kept = list(keeper.scan_iter("eb:signin:begun:*"))
    assert len(kept) == 1 and 0 < client.pttl(kept[0]) <= 600_000


def test_what_was_begun_is_sealed_for_this_house_and_ten_minutes(house: House) -> None:
    visitor = Visitor(house)
    back = there(visitor)
    token, master = visitor.cookies[BEGUN], house.master
    facts = begun_facts(master, token)
    assert facts and facts["state"] in back and facts["nonce"] not in token and len(token) < 1500
    assert begun_facts(master, token, lambda: clock_ms() + 599_000)
    assert begun_facts(master, token, lambda: clock_ms() + 601_000) is None
    assert begun_facts(MasterKey(bytes(32)), token) is None
    visitor.cookies[BEGUN] = token[:-6] + "AAAAA="
    assert visitor.get(back).status_code == 403 and COOKIE not in visitor.cookies
    for other in ("", "%", "ä", "AAAA", token[4:]):
        assert begun_facts(master, other) is None


def test_an_address_that_is_long_is_not_carried_through_a_cookie(house: House) -> None:
    visitor = Visitor(house)
    answer = visitor.get(there(visitor, "%2Fpatients%3Fq%3D" + "a" * 6000))
    assert answer.status_code == 200 and 'content="0;url=/"' in answer.text


def test_a_stranger_who_fails_without_end_fills_no_log_that_is_kept_for_good(
    house: House, provider: OpenIdProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.oidc.FREE_OF_ADDRESS", 3)
    for _ in range(6):
        visitor = Visitor(house)
        state = there(visitor).partition("state=")[2]
        assert visitor.get(f"/oidc/callback?code=made-up&state={state}").status_code == 403
    assert len(house.told("person.sign-in-failed")) == 3


def test_a_provider_that_is_down_is_not_asked_by_everybody_who_comes(house: House, provider: OpenIdProvider) -> None:
    provider.calls_itself = "https://evil.example"
    assert [Visitor(house).get("/oidc/start").status_code for _ in range(4)] == [403] * 4
    provider.calls_itself = ""
    assert Visitor(house).get("/oidc/start").status_code == 403, "not yet"


def test_a_code_of_another_sign_in_is_refused(house: House) -> None:
    """ASVS 10.1.2: the verifier is bound to the code."""
    one, two = Visitor(house), Visitor(house)
    code_of_two = there(two).partition("code=")[2].partition("&")[0]
    state = there(one).partition("state=")[2]
    assert one.get(f"/oidc/callback?code={code_of_two}&state={state}").status_code == 403


def test_a_provider_that_calls_itself_otherwise_is_not_used(house: House, provider: OpenIdProvider) -> None:
    """ASVS 10.5.3."""
    provider.calls_itself = "https://evil.example"
    assert Visitor(house).get("/oidc/start").status_code == 403


def test_a_disabled_person_stays_out_whatever_the_provider_says(house: House) -> None:
    visitor = Visitor(house)
    visitor.get(there(visitor))
    name = next(a.name for a in house.people.accounts.all() if a.name.startswith("oidc-"))
    house.change(name, disabled=True)
    assert visitor.get("/session").status_code == 401
    assert visitor.get(there(visitor)).status_code == 403


def test_no_local_account_is_taken_over_by_a_name_chosen_elsewhere(house: House, provider: OpenIdProvider) -> None:
    """ASVS 6.8.1: an identity is its issuer and subject."""
    settings = OidcSettings(provider.issuer, CLIENT, SECRET, "groups", ROLES)
    claims = {"sub": "dr.wren", "preferred_username": "dr.wren", "name": "Dr. Wren", "groups": "icu"}
    other = OidcSettings("https://other.example", CLIENT, SECRET, "groups", ROLES)
    assert account_of(settings, claims).name != "dr.wren"
    assert account_of(settings, claims).name != account_of(other, claims).name


def test_settings_that_would_be_unsafe_are_refused() -> None:
    env = {"EVERBEAT_OIDC_ISSUER": "https://id.example", "EVERBEAT_OIDC_CLIENT_ID": "e", "EVERBEAT_OIDC_SECRET": "s",
           "EVERBEAT_OIDC_ROLES": "icu"}  # fmt: skip
    with pytest.raises(SettingsError):
        oidc_settings(env)
    good = oidc_settings(env | {"EVERBEAT_OIDC_ROLES": "cn=icu,ou=x=clinician; it=admin"})
    assert good is not None and good.roles == {"cn=icu,ou=x": "clinician", "it": "admin"} and "'s'" not in repr(good)
    for wrong in ({"EVERBEAT_OIDC_ISSUER": "http://id.example"}, {"EVERBEAT_OIDC_ROLES": "icu=emperor"}):
        with pytest.raises(SecurityError):
            oidc_settings(env | {"EVERBEAT_OIDC_ROLES": "icu=clinician"} | wrong)
    assert oidc_settings({}) is None


def test_who_asks_for_the_callback_without_a_sign_in_fills_no_log_that_is_kept_for_good(house: House) -> None:
    before = len(house.told())
    for number in range(5):
        assert Visitor(house).get(f"/oidc/callback?state=made-up-{number}&code=x").status_code == 403
    assert len(house.told()) == before

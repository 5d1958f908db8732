"""Signing in and out: the gate before every request, cookies, CSRF tokens, and counting who guesses.

Every path needs a session, but those in :data:`OPEN`. What changes something needs the page's origin and a token as
well, which only a page of that very session knows: an HMAC of the session's secret, so that nothing is stored for it.
Dash's renderer sends it by itself, from a cookie into a header. The secret itself is in a cookie no script can read.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, g, request

from security import passwords
from security.people import PATIENCE, Account, Right
from twin_engine.store.errors import StoreError
from twin_engine.store.people import clock_ms
from twin_engine.store.signin import (
    FREE_OF_ACCOUNT,
    FREE_OF_ADDRESS,
    FREE_OF_BROWSER,
    FREE_OF_MACHINE,
    KNOWN_MS,
    browser_of,
    browser_token,
    known_browser,
)
from web.access import COOKIE, Access, People
from web.guard import SAFE_METHODS
from web.hall import RETRY_S, admit, network_of
from web.pages.frame import WARD, back_to, language
from web.pages.people import sign_in_page
from web.pages.sheet import AUDIT
from web.settings import WebSettings

log = logging.getLogger(__name__)

SIGN_IN, SIGN_OUT, SESSION = "/sign-in", "/sign-out", "/session"
OPEN = (SIGN_IN, "/oidc/start", "/oidc/callback", "/downtime", "/downtime/worker.js")  # no patient is in any of them
_OPEN_BELOW = ("/assets/", "/language/")
CSRF_COOKIE, CSRF_HEADER, CSRF_FIELD = "__Host-everbeat-csrf", "X-CSRFToken", "csrf"
IDLE, LEFT = "Everbeat-Idle-S", "Everbeat-Left-S"  # how long the session lasts if nobody is there, and at most
BEFORE, BROWSER = "__Host-everbeat-before", "__Host-everbeat-browser"
PASSWORD_MOST = 1024  # a field longer than this is not looked at
_PURPOSE = b"everbeat csrf"


def csrf_of(secret: str) -> str:
    """The token that goes with a secret."""
    return hmac.digest(secret.encode(), _PURPOSE, "sha256").hex()


def register(server: Flask, access: Access, settings: WebSettings) -> Door:
    """The gate, and the addresses of signing in and out. Call it before anything else that answers."""
    door = Door(access, settings)
    server.before_request(door.check)
    server.register_error_handler(StoreError, door.store_down)
    server.add_url_rule(SIGN_IN, "sign-in", door.ask, methods=["GET"])
    server.add_url_rule(SIGN_IN, "signed-in", door.answer, methods=["POST"])
    server.add_url_rule(SIGN_OUT, "sign-out", door.leave, methods=["POST"])
    server.add_url_rule(SESSION, "session", door.session, methods=["GET", "POST"])
    return door


class Door:
    """Who comes in. One for each server."""

    def __init__(self, access: Access, settings: WebSettings) -> None:
        self._access, self._settings = access, settings

    # ------------------------------------------------------------------------------------------- the gate

    def check(self) -> Response | None:
        """None lets the request through."""
        if not self._access.required:
            admit(request.environ, "")
            return None
        unsafe = request.method not in SAFE_METHODS
        if unsafe and request.headers.get("Origin") not in self._settings.origins:
            return _plain("expected a command from this server's own page, got one that does not say so", 403)
        if request.path in OPEN or request.path.startswith(_OPEN_BELOW):
            return None
        person = self._access.person()
        if person is None or person.session is None or self._access.people is None:
            return self._turned_away()
        if not admit(request.environ, person.session.id):
            again = {"Retry-After": str(RETRY_S)}
            return _plain("expected fewer connections of one session; it was refused", 429, again)
        if unsafe and not _token_fits(request.cookies.get(COOKIE, "")):
            self._access.tell("access.refused", person.name, "", {"why": "csrf", "path": request.path})
            return _plain("expected the token of this page's session, got another; nothing was done", 403)
        if request.headers.get("Sec-Fetch-Mode") == "navigate" or (unsafe and request.path == SESSION):
            self._access.people.sessions.touch(person.session)
        return None

    def _turned_away(self) -> Response:
        if request.method == "GET" and back_to(request.path) == request.path:
            wanted = request.full_path.rstrip("?")
            return Response(status=303, headers={"Location": f"{SIGN_IN}?next={quote(wanted, safe='')}"})
        return _plain("expected somebody who is signed in; nothing was read", 401)

    def store_down(self, error: Exception) -> Response:
        """Nobody is let in, and nothing is done, while that can be neither asked nor told."""
        log.warning("a request was refused: %s", error)
        return _plain("the record store can't be reached; nothing was read", 503)

    # ------------------------------------------------------------------------------------------- in and out

    def ask(self) -> Response:
        """The form."""
        return self._form("ended" if request.args.get("ended") else "", 200)

    def _form(self, problem: str, status: int, wait_s: float = 0.0, name: str = "") -> Response:
        people = self._access.people
        if people is None or not self._access.required:
            return Response(status=303, headers={"Location": WARD})
        before = request.cookies.get(BEFORE, "") or secrets.token_urlsafe(32)
        page = sign_in_page(
            language(), csrf_of(before), _wanted(), problem, wait_s, name, bool(self._access.identity_provider)
        )
        answer = Response(page, status, mimetype="text/html")
        if wait_s:
            answer.headers["Retry-After"] = str(round(wait_s + 0.5))
        cookie(answer, BEFORE, before)
        return answer

    def refuse(self, problem: str) -> Response:
        """The form again, with why."""
        return self._form(problem, 403)

    def answer(self) -> Response:
        """What was typed: the same words, and as much time, whether the name or the password is wrong."""
        people, form = self._access.people, request.form
        if people is None or not _token_fits(request.cookies.get(BEFORE, "")):
            return self._form("stale", 403)
        name, typed = form.get("name", "").strip().casefold()[:64], form.get("password", "")[:PASSWORD_MOST]
        attempt = Attempt(people, name, request.cookies.get(BROWSER, ""), network_of(_address()))
        if wait_s := attempt.wait_s():
            return self._form("wait", 429, wait_s, name)
        account = people.accounts.find(name)
        right = passwords.matches(account.password if account else "", typed)
        if account is None or not right or account.disabled:
            known = account.name if account else "an unknown name"
            self._access.tell("person.sign-in-failed", known, known, {"address": _address()})
            return self._form("wrong", 401, 0.0, name)
        attempt.was_right()
        if passwords.outdated(account.password):
            people.accounts.change(name, lambda found: replace(found, password=passwords.rehash(typed)))
        return self.let_in(account, back_to(request.args.get("next", "")))

    def let_in(self, account: Account, to: str, how: str = "password") -> Response:
        """A new session, whatever there was before. Raises StoreError, and then nobody is let in."""
        people = self._access.people
        if people is None:
            raise RuntimeError("expected a store of accounts, got none; nobody can be let in")
        if old := people.sessions.find(request.cookies.get(COOKIE, "")):
            people.sessions.end(old)
        self._access.tell("person.sign-in", account.name, account.name, {"address": _address(), "how": how})
        secret, _ = people.sessions.begin(account, _address(), request.headers.get("User-Agent", ""))
        if to == WARD and Right.VIEW not in account.rights:
            to = AUDIT  # who sees no patient would stand on an empty ward
        answer = Response(status=303, headers={"Location": to})
        most_s = PATIENCE[account.role].most_s
        cookie(answer, COOKIE, secret, most_s)
        cookie(answer, CSRF_COOKIE, csrf_of(secret), most_s, script=True)
        cookie(answer, BROWSER, browser_token(people.accounts.master, account.name), KNOWN_MS // 1000)
        cookie(answer, BEFORE, "", 0)
        return answer

    def leave(self) -> Response:
        """Sign out: the session is gone from the store, not only from the browser."""
        person, people = self._access.person(), self._access.people
        if person is None or person.session is None or people is None:
            return Response(status=303, headers={"Location": WARD})
        people.sessions.end(person.session)
        self._access.tell("person.sign-out", person.name, person.name)
        g.pop("person", None)
        answer = Response(status=303, headers={"Location": SIGN_IN})
        for name in (COOKIE, CSRF_COOKIE):
            cookie(answer, name, "", 0, script=name == CSRF_COOKIE)
        return answer

    def session(self) -> Response:
        """Whether the session still counts (the gate says 401 where not), and for how long; a POST says that the person
        is there."""
        answer, person = Response(status=204), self._access.person()
        if person is not None and person.session is not None:
            session, now_ms = person.session, clock_ms()
            if request.method == "POST":
                session = replace(session, touched_ms=now_ms)
            idle_s, most_s = session.left_s(now_ms)
            answer.headers[LEFT] = f"{most_s:.0f}"
            if idle_s is not None:
                answer.headers[IDLE] = f"{idle_s:.0f}"
        return answer


class Attempt:
    """One sign-in with a password, and who may have to wait for it: the account, and the place it comes from.

    A browser in which this very person has signed in is counted alone; one in which somebody of the house has, not with
    its address.
    """

    def __init__(self, people: People, name: str, browser: str, address: str) -> None:
        master = people.accounts.master
        self._attempts, self._name = people.attempts, name
        known, machine = known_browser(master, browser, name), browser_of(master, browser)
        self._own = (f"browser|{known}", FREE_OF_BROWSER) if known else (f"account|{name}", FREE_OF_ACCOUNT)
        place = (f"machine|{machine}", FREE_OF_MACHINE) if machine else (f"address|{address}", FREE_OF_ADDRESS)
        self._place = None if known else place
        self._counted = False

    def wait_s(self) -> float:
        """Count it. 0.0: look at the password."""
        wait_s = 0.0
        if self._place is not None:
            bucket, free = self._place
            wait_s, self._counted = self._attempts.crowd(bucket, self._name, free)
        if not wait_s and (wait_s := self._attempts.wait_s(*self._own)):
            self._spare()  # nothing was looked at
        return wait_s

    def was_right(self) -> None:
        """Nobody must wait for it, and the failures of others stay counted."""
        self._attempts.forget(self._own[0])
        self._spare()

    def _spare(self) -> None:
        if self._place is not None:
            self._attempts.spare(self._place[0], self._name, self._counted)


def _token_fits(secret: str) -> bool:
    given = request.headers.get(CSRF_HEADER) or request.form.get(CSRF_FIELD, "")
    return bool(secret) and hmac.compare_digest(given.encode(), csrf_of(secret).encode())


def _wanted() -> str:
    return back_to(request.args.get("next", ""))


def _address() -> str:
    return request.remote_addr or "unknown"


def cookie(
    answer: Response, name: str, value: str, max_age_s: int | None = None, script: bool = False,
    same_site: str = "Strict",
) -> None:  # fmt: skip
    """A cookie of this host alone, for TLS alone; for no script, unless `script`."""
    options: dict[str, Any] = {"secure": True, "samesite": same_site, "path": "/", "httponly": not script}
    answer.set_cookie(name, value, max_age=max_age_s, **options)


def _plain(text: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(f"{text}\n", status, headers, mimetype="text/plain")

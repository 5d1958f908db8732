"""A house with accounts for tests: page, sockets and a real Redis, and a browser's cookies without a browser."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field, replace
from typing import Any

import requests
from flask import Flask

from security.audit import AuditEvent
from security.keys import MasterKey
from security.passwords import hash_password
from security.people import Account
from tests.fake_ward import FakeWard
from tests.web_kit import wait_until
from twin_engine.store.audit import AuditWriter
from twin_engine.store.audit_reader import AuditPage, AuditQuery, SequencedAudit
from twin_engine.store.auditlog import AuditKeeper
from twin_engine.store.connection import connect
from twin_engine.store.people import PeopleStore, clock_ms
from twin_engine.store.server import RedisFiles
from twin_engine.store.sessions import SessionStore
from twin_engine.store.signin import Attempts, Begun
from web.access import COOKIE, People
from web.app import create_app, serve
from web.oidc import OidcSettings
from web.settings import WebSettings
from web.signin import CSRF_COOKIE

PASSWORD = "seven herons over the weir"
_STORED = hash_password(PASSWORD)  # once: it takes a while
FIELD = re.compile(r'name="csrf" value="([0-9a-f]+)"')


def people_of(files: RedisFiles, master: MasterKey) -> People:
    """As everbeat/wiring.py makes it."""
    client = connect(files.login("people"))
    return People(PeopleStore(client, master), SessionStore(client, master), Attempts(client), Begun(client),
                  AuditWriter(connect(files.login("acts")), master))  # fmt: skip


class Sequenced:
    """The audit log as everbeat/wiring.py reads it; before each reading, what waits is given its place in it."""

    def __init__(self, files: RedisFiles, master: MasterKey) -> None:
        self._keeper = AuditKeeper(connect(files.login("notary")), connect(files.login("scribe")), master)
        self._reader = SequencedAudit(connect(files.login("web")), master)

    def read(self, query: AuditQuery) -> AuditPage:
        while self._keeper.take(clock_ms()):
            pass
        return self._reader.read(query)


@dataclass
class House:
    """Served, with accounts dr.wren (p-0001, p-0002), dr.heron (p-0003), vera (a viewer), sec and root."""

    files: RedisFiles
    settings: WebSettings
    provider: OidcSettings | None = None
    with_people: bool = True
    feed: FakeWard = field(default_factory=lambda: FakeWard(5))

    def __post_init__(self) -> None:
        self.master = MasterKey(bytes(range(32)))
        self.people = people_of(self.files, self.master)
        self.reader = Sequenced(self.files, self.master)
        if self.with_people:
            self.add("dr.wren", "clinician", "p-0001", "p-0002")
            self.add("dr.heron", "clinician", "p-0003")
            self.add("vera", "viewer", "p-0001")
            self.add("sec", "security-officer")
            self.add("root", "admin")
        self.app, _ = create_app(self.feed, self.settings, people=self.people, reader=self.reader,
                                 provider=self.provider)  # fmt: skip
        self._server = serve(self.app, self.settings)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        wait_until(lambda: len(self.flask.extensions["relay"].cards()) == 5)

    @property
    def flask(self) -> Flask:
        return self.app.server

    @property
    def url(self) -> str:
        return self.settings.origins[0]

    def add(self, name: str, role: str, *patients: str) -> None:
        self.people.accounts.add(Account(name, role, name.title(), _STORED, frozenset(patients)))

    def change(self, name: str, **facts: Any) -> None:
        self.people.accounts.change(name, lambda account: replace(account, **facts))

    def told(self, kind: str = "", who: str = "") -> list[AuditEvent]:
        """What was audited, newest first."""
        return [event for _, event in self.reader.read(AuditQuery(kind, who, limit=1000)).events]

    def owner(self) -> Any:
        """Redis without our rules: what lies in it, whoever wrote it."""
        return connect(self.files.login("eraser"))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.flask.extensions["lines"].stop()
        self.flask.extensions["relay"].stop()


class Visitor:
    """A browser without a screen. Keeps cookies itself: requests sends none that are Secure over plain HTTP."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.cookies: dict[str, str] = {}

    def get(self, path: str, **headers: str) -> requests.Response:
        return self._ask("GET", path, headers)

    def post(self, path: str, data: dict[str, str] | None = None, **more: Any) -> requests.Response:
        headers = {"Origin": self.house.url} | more.pop("headers", {})
        return self._ask("POST", path, {k: v for k, v in headers.items() if v}, data=data, **more)

    def sign_in(self, name: str, password: str = PASSWORD, to: str = "") -> requests.Response:
        path = f"/sign-in{f'?next={to}' if to else ''}"
        form = FIELD.search(self.get(path).text)
        assert form, "the form has no token"
        return self.post(path, {"name": name, "password": password, "csrf": form[1]})

    @property
    def csrf(self) -> str:
        return self.cookies.get(CSRF_COOKIE, "")

    @property
    def secret(self) -> str:
        return self.cookies.get(COOKIE, "")

    @property
    def cookie_header(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def _ask(self, method: str, path: str, headers: dict[str, str], **more: Any) -> requests.Response:
        own = {"Cookie": self.cookie_header} if self.cookies else {}
        answer = requests.request(method, f"{self.house.url}{path}", headers=own | headers, allow_redirects=False,
                                  timeout=30, **more)  # fmt: skip
        for line in answer.raw.headers.getlist("Set-Cookie"):
            name, _, value = line.split(";")[0].partition("=")
            if "Max-Age=0" in line:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value.strip('"')
        return answer

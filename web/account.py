"""One's own account and broken glass: what their forms do. Every change is audited before it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from dash import dcc, html
from flask import Flask, Response, request

from security import passwords
from security.people import Account, Right
from twin_engine.registry import shown_number
from twin_engine.store.people import clock_ms
from twin_engine.store.sessions import Session
from twin_engine.store.signin import FREE_OF_ACCOUNT
from web.access import COOKIE, Access, People, Person, allowed
from web.pages import shell
from web.pages.frame import language, room_path, translate
from web.pages.people import REASON_LEAST, REASON_MOST, account_page, glass_page
from web.pages.sheet import ACCOUNT, GLASS, PLACES, SIGN_OUT, leaving, strip
from web.relay import Relay
from web.signin import Door, csrf_of

_RIGHT_OF_PLACE = {"glass": Right.BREAK_GLASS, "audit": Right.AUDIT}


def places_of(person: Person) -> list[str]:
    """Where she may go, besides the ward."""
    return [n for n in PLACES if n not in _RIGHT_OF_PLACE or allowed(person, _RIGHT_OF_PLACE[n], "", clock_ms())]


def above(access: Access) -> str:
    """The strip above a document."""
    person = access.person()
    return strip(translate(), person, own_csrf(), places_of(person)) if person and person.session else ""


def own_csrf() -> str:
    """The token of the session at hand, for a form."""
    return csrf_of(request.cookies.get(COOKIE, ""))


def not_there() -> Response:
    """As an address that leads nowhere."""
    return Response(shell.not_found(request.path, language()), 404, mimetype="text/html")


def register(server: Flask, access: Access, relay: Relay, door: Door) -> None:
    """The addresses. `relay` is the whole one: broken glass looks for a patient who is not hers."""
    desk = Desk(access, relay, door)
    rules: list[tuple[str, str, Callable[[People, Person, Session], Response]]] = [
        (ACCOUNT, "GET", desk.account),
        (f"{ACCOUNT}/password", "POST", desk.password),
        (f"{ACCOUNT}/end-others", "POST", desk.end_others),
        (GLASS, "GET", desk.glass),
        (GLASS, "POST", desk.break_glass),
        (f"{GLASS}/end", "POST", desk.mend),
    ]
    for path, method, view in rules:
        server.add_url_rule(path, f"people{path}{method}", _for_people(access, view), methods=[method])


def _for_people(access: Access, view: Callable[[People, Person, Session], Response]) -> Callable[[], Response]:
    def guarded() -> Response:
        person, people = access.person(), access.people
        if person is None or person.session is None or people is None:
            return not_there()
        return view(people, person, person.session)

    return guarded


class Desk:
    """What a signed-in person does with her account."""

    def __init__(self, access: Access, relay: Relay, door: Door) -> None:
        self._access, self._relay, self._door = access, relay, door

    # ------------------------------------------------------------------------------------------- account

    def account(self, people: People, person: Person, session: Session) -> Response:
        """The page."""
        said = request.args.get("done", "")
        return self._account(people, person, session, said if said in ("password_set", "others_ended") else "")

    def _account(self, people: People, person: Person, session: Session, said: str = "", wrong: str = "") -> Response:
        account = people.accounts.find(person.name)
        page = account_page(language(), above(self._access), own_csrf(), session, people.sessions.of(person.name),
                            bool(account and account.password), said, wrong)  # fmt: skip
        return Response(page, 400 if wrong else 200, mimetype="text/html")

    def password(self, people: People, person: Person, session: Session) -> Response:
        """A new password, for who knows the old one; every other session is over, and this one gets a new secret."""
        account = people.accounts.find(person.name)
        now, new = request.form.get("now", "")[:1024], request.form.get("new", "")[:1024]
        if wrong := _not_hers(people, person, account, now):
            return self._account(people, person, session, wrong=wrong)
        if account is None or new != request.form.get("again", ""):
            return self._account(people, person, session, wrong="again")
        try:
            stored = passwords.hash_password(new, (account.name, account.shown))
        except passwords.WeakPassword as error:
            return self._account(people, person, session, wrong=error.reason)
        self._access.tell("person.changed", person.name, person.name, {"what": "password"})
        changed = people.accounts.change(
            person.name, lambda found: replace(found, password=stored, changed_ms=clock_ms())
        )
        people.sessions.end_all(person.name)
        return self._door.let_in(changed, f"{ACCOUNT}?done=password_set", "new password")

    def end_others(self, people: People, person: Person, session: Session) -> Response:
        """Sign out everywhere else, for who knows the password: whoever finds an open screen can't shut her out."""
        account = people.accounts.find(person.name)
        local = account is not None and account.password
        if local and (wrong := _not_hers(people, person, account, request.form.get("now", "")[:1024])):
            return self._account(people, person, session, wrong=wrong)
        self._access.tell("session.ended", person.name, person.name, {"which": "all others"})
        people.sessions.end_all(person.name, keep=session.id)
        return _to(f"{ACCOUNT}?done=others_ended")

    # ------------------------------------------------------------------------------------------- broken glass

    def glass(self, people: People, person: Person, session: Session) -> Response:
        """The page, for whom it may be."""
        return self._glass(people, person) if self._access.may(Right.BREAK_GLASS) else not_there()

    def _glass(self, people: People, person: Person, trouble: str = "", number: str = "", reason: str = "") -> Response:
        mine = [(glass, self._name(glass.patient)) for glass in people.accounts.glasses() if glass.who == person.name]
        page = glass_page(language(), above(self._access), own_csrf(), mine, trouble, number, reason[:REASON_MOST])
        return Response(page, 400 if trouble else 200, mimetype="text/html")

    def _name(self, patient: str) -> str:
        card = self._relay.card(patient)
        return card.pseudonym if card else patient

    def break_glass(self, people: People, person: Person, session: Session) -> Response:
        """See one patient, found by her record number, for an hour; who guesses numbers must wait."""
        if not self._access.may(Right.BREAK_GLASS):
            return not_there()
        number, reason = request.form.get("number", "").strip()[:64], " ".join(request.form.get("reason", "").split())
        if not REASON_LEAST <= len(reason) <= REASON_MOST or not reason.isprintable():
            return self._glass(people, person, "reason", number, reason)
        if people.attempts.wait_s(f"glass|{person.name}", FREE_OF_ACCOUNT):
            return self._glass(people, person, "wait", number, reason)
        fits = [c for c in self._relay.cards() if c.present and shown_number(c).casefold() == number.casefold()]
        if not fits:
            self._access.tell("access.refused", person.name, "", {"right": "break-glass", "reason": reason})
            return self._glass(people, person, "unknown", number, reason)
        self._access.tell("access.break-glass", person.name, fits[0].id, {"reason": reason, "minutes": "60"})
        people.accounts.break_glass(person.name, fits[0].id, reason)
        people.attempts.forget(f"glass|{person.name}")
        return _to(room_path(fits[0].id))

    def mend(self, people: People, person: Person, session: Session) -> Response:
        """Before its time is up."""
        patient = request.form.get("patient", "")[:64]
        if patient in person.glass:
            self._access.tell("access.break-glass", person.name, patient, {"ended": "by herself"})
            people.accounts.mend(person.name, patient)
        return _to(GLASS)


def _not_hers(people: People, person: Person, account: Account | None, password: str) -> str:
    """Why this is not the person's password: "wait" or "now"; "" where it is. Wrong ones are counted as at the door."""
    if people.attempts.wait_s(f"account|{person.name}", FREE_OF_ACCOUNT):
        return "wait"
    if account is None or not passwords.matches(account.password, password):
        return "now"
    people.attempts.forget(f"account|{person.name}")
    return ""


def _to(path: str) -> Response:
    return Response(status=303, headers={"Location": path})


# ---------------------------------------------------------------------------------------------- above the app's pages


def who_strip(access: Access) -> Any:
    """Who is signed in, above every page of the app; in a house without accounts, that nobody had to be."""
    t, person = translate(), access.person()
    if person is None:
        return html.Div()
    if person.session is None:
        said = html.Strong(t("people.demo", who=person.called))
        return html.Aside(said, className="eb-who eb-who-demo", **{"aria-label": t("people.nav.label")})
    out = html.Form([html.Button(t("people.sign_out"), type="submit"), _csrf_field()], action=SIGN_OUT, method="post")
    said = html.Span(t("people.signed_in", who=person.called, role=t(f"people.role.{person.role}")))
    links = [html.A(t(f"people.nav.{name}"), href=PLACES[name]) for name in places_of(person)]
    last = html.Span(id="eb-leave", hidden=True, **leaving(t))
    return html.Nav([said, *links, out, last], className="eb-who", **{"aria-label": t("people.nav.label")})


def glass_banner(access: Access, patient: str) -> Any:
    """Loud, above every page of a patient who is seen through broken glass; None otherwise."""
    person = access.person()
    until_ms = person.glass.get(patient, 0) if person else 0
    if person is None or until_ms <= clock_ms() or allowed(replace(person, glass={}), Right.VIEW, patient, clock_ms()):
        return None
    t = translate()
    until = f"{datetime.fromtimestamp(until_ms / 1000, UTC):%H:%M} UTC"
    return html.Aside(
        [html.Strong(t("people.glass.banner", until=until)), html.A(t("people.glass.end_now"), href=GLASS)],
        className="eb-glass", **{"aria-label": t("people.nav.glass")},
    )  # fmt: skip


def _csrf_field() -> Any:
    return dcc.Input(type="hidden", name="csrf", value=own_csrf())

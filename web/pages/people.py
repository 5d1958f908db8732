"""The pages about people: sign-in, one's own account, broken glass. Values in, HTML out; what they do is elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from urllib.parse import quote

from security.passwords import LEAST
from twin_engine.store.people import Glass
from twin_engine.store.sessions import Session
from web.pages.sheet import ACCOUNT, GLASS, document, field, hidden, problem, table
from web.words import Translate, words

OIDC_START = "/oidc/start"
REASON_LEAST, REASON_MOST = 10, 200


def sign_in_page(
    tongue: str, csrf: str, to: str, trouble: str, wait_s: float, name: str, provider: bool
) -> str:  # fmt: skip
    """The form. `trouble` is "", or ended, stale, wrong, wait or provider."""
    t = words(tongue)
    said = t(f"people.trouble.{trouble}", seconds=round(wait_s + 0.5)) if trouble else ""
    target = f"?next={quote(to, safe='')}" if to != "/" else ""
    other = f'<p class="eb-or"><a class="eb-button" href="{OIDC_START}{target}">{escape(t("people.provider"))}</a></p>'
    body = f"""{problem(said)}
<form method="post" action="/sign-in{target}">
{hidden("csrf", csrf)}
{
        field(
            t("people.name"),
            "name",
            value=name,
            autocomplete="username",
            autocapitalize="none",
            spellcheck="false",
            required="required",
            maxlength="64",
        )
    }
{field(t("people.password"), "password", "password", autocomplete="current-password", required="required")}
<button class="eb-button eb-primary">{escape(t("people.sign_in"))}</button>
</form>
{other if provider else ""}
<p class="eb-small">{escape(t("notice.secondary"))}. <a href="/downtime">{escape(t("nav.downtime"))}</a></p>"""
    return document(tongue, t("people.sign_in"), body, "/")


def account_page(
    tongue: str, above: str, csrf: str, own: Session, sessions: Sequence[Session], local: bool, said: str, wrong: str
) -> str:
    """One's own account: password, and where one is signed in. `wrong` and `said` are keys' ends, or ""."""
    t = words(tongue)
    done = f'<p class="eb-done" role="status">{escape(t(f"people.{said}"))}</p>' if said else ""
    body = f"""{problem(t(f"people.weak.{wrong}", least=LEAST)) if wrong else ""}{done}
{_password_form(t, csrf) if local else f"<p>{escape(t('people.no_password'))}</p>"}
{
        table(
            t("people.sessions"),
            [t(f"people.session.{n}") for n in ("from", "touched", "address", "agent", "this")],
            [_session(t, s, own) for s in sessions],
        )
    }
<form method="post" action="{ACCOUNT}/end-others">{hidden("csrf", csrf)}
{
        field(t("people.password_now"), "now", "password", autocomplete="current-password", required="required")
        if local
        else ""
    }
<button class="eb-button">{escape(t("people.end_others"))}</button></form>"""
    return document(tongue, t("people.nav.account"), body, ACCOUNT, above)


def _password_form(t: Translate, csrf: str) -> str:
    return f"""<h2>{escape(t("people.change_password"))}</h2>
<p>{escape(t("people.password_rule", least=LEAST))}</p>
<form method="post" action="{ACCOUNT}/password">{hidden("csrf", csrf)}
{field(t("people.password_now"), "now", "password", autocomplete="current-password", required="required")}
{field(t("people.password_new"), "new", "password", autocomplete="new-password", required="required")}
{field(t("people.password_again"), "again", "password", autocomplete="new-password", required="required")}
<button class="eb-button eb-primary">{escape(t("people.change_password"))}</button></form>"""


def _session(t: Translate, session: Session, own: Session) -> list[str]:
    this = t("people.this_one") if session.id == own.id else ""
    return [moment(session.from_ms), moment(session.touched_ms), escape(session.address), escape(session.agent),
            escape(this)]  # fmt: skip


def glass_page(
    tongue: str, above: str, csrf: str, mine: Sequence[tuple[Glass, str]], trouble: str, number: str, reason: str
) -> str:
    """The form, and what is open now, each with the patient's name."""
    t = words(tongue)
    open_now = table(t("people.glass.open"), [t(f"people.glass.{n}") for n in ("patient", "reason", "until", "end")],
                     [_glass(t, csrf, glass, name) for glass, name in mine])  # fmt: skip
    body = f"""{problem(t(f"people.glass.trouble.{trouble}", least=REASON_LEAST)) if trouble else ""}
<p class="eb-loud">{escape(t("people.glass.what"))}</p>
<form method="post" action="{GLASS}">{hidden("csrf", csrf)}
{field(t("people.glass.number"), "number", value=number, required="required", maxlength="64", autocomplete="off")}
{
        field(
            t("people.glass.reason"),
            "reason",
            value=reason,
            required="required",
            minlength=str(REASON_LEAST),
            maxlength=str(REASON_MOST),
            autocomplete="off",
        )
    }
<button class="eb-button eb-danger">{escape(t("people.glass.do"))}</button></form>
{open_now if mine else ""}"""
    return document(tongue, t("people.nav.glass"), body, GLASS, above)


def _glass(t: Translate, csrf: str, glass: Glass, name: str) -> list[str]:
    end = (f'<form method="post" action="{GLASS}/end">{hidden("csrf", csrf)}{hidden("patient", glass.patient)}'
           f'<button class="eb-button">{escape(t("people.glass.end_now"))}</button></form>')  # fmt: skip
    room = f'<a href="/patient/{quote(glass.patient, safe="")}">{escape(name)}</a>'
    return [room, escape(glass.reason), moment(glass.until_ms), end]


def moment(t_ms: int) -> str:
    """A time for a table, to the second, UTC."""
    made = datetime.fromtimestamp(t_ms / 1000, UTC)
    return f'<time datetime="{made.isoformat(timespec="seconds")}">{made:%Y-%m-%d %H:%M:%S} UTC</time>'

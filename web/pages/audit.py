"""The audit page: who saw, took, changed or was refused what, newest first; and what glass is broken now.

For those with the right to audit; to others it is an address that leads nowhere. Reading it is audited, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import urlencode

from flask import Flask, Response, request

from security.audit import KINDS, AuditEvent
from security.people import Right
from twin_engine.store.audit_reader import AuditPage, AuditQuery, AuditReader
from twin_engine.store.people import Glass
from web.access import Access
from web.account import above, not_there
from web.pages.frame import language
from web.pages.people import moment
from web.pages.sheet import AUDIT, document, field, table
from web.words import Translate, words

PAGE = 100


def register(server: Flask, access: Access, reader: AuditReader | None) -> None:
    """The page."""

    @server.get(AUDIT)
    def audit() -> Response:
        person, people = access.person(), access.people
        if people is None or reader is None or person is None or person.session is None:
            return not_there()
        if not access.may(Right.AUDIT):
            return not_there()
        query = asked()
        if not query.before:
            access.saw("audit", "audit")
        found = reader.read(query)
        page = audit_page(language(), above(access), query, found, people.accounts.glasses())
        return Response(page, mimetype="text/html")


def asked() -> AuditQuery:
    """What the address asks for; a kind that there is not counts as none."""
    kind = request.args.get("kind", "")
    who, about, before = (request.args.get(name, "")[:64] for name in ("who", "about", "before"))
    return AuditQuery(kind if kind in KINDS else "", who.strip(), about.strip(), before, PAGE)


def audit_page(tongue: str, strip: str, query: AuditQuery, found: AuditPage, glasses: Sequence[Glass]) -> str:
    """The document."""
    t = words(tongue)
    rows = [_row(t, place, event) for place, event in found.events]
    heads = [t(f"audit.{name}") for name in ("time", "who", "kind", "about", "facts")]
    body = f"""{_glasses(t, glasses)}
<form method="get" action="{AUDIT}" class="eb-filter">{_kinds(t, query.kind)}
{field(t("audit.who"), "who", value=query.who, maxlength="64")}
{field(t("audit.about"), "about", value=query.about, maxlength="64")}
<button class="eb-button">{escape(t("audit.filter"))}</button></form>
{table(t("audit.events"), heads, rows) if rows else f'<p role="status">{escape(t("audit.none"))}</p>'}
{_older(t, query, found.before)}"""
    return document(tongue, t("people.nav.audit"), body, AUDIT, strip)


def _row(t: Translate, place: str, event: AuditEvent) -> list[str]:
    facts = " · ".join(f"{name}: {text}" for name, text in sorted(event.facts.items()))
    kind = f'<span title="{escape(event.kind)}">{escape(t(f"audit.kind.{event.kind}"))}</span>'
    return [moment(event.t_ms), escape(event.who), kind, escape(event.about), escape(facts)]


def _kinds(t: Translate, chosen: str) -> str:
    options = "".join(
        f'<option value="{kind}"{" selected" if kind == chosen else ""}>{escape(t(f"audit.kind.{kind}"))}</option>'
        for kind in sorted(KINDS)
    )
    return (
        f'<label>{escape(t("audit.kind"))}<select name="kind"><option value="">{escape(t("audit.any"))}</option>'
        f"{options}</select></label>"
    )


def _glasses(t: Translate, glasses: Sequence[Glass]) -> str:
    if not glasses:
        return ""
    heads = [t("audit.who"), t("people.glass.patient"), t("people.glass.reason"), t("people.glass.until")]
    rows = [[escape(g.who), escape(g.patient), escape(g.reason), moment(g.until_ms)] for g in glasses]
    return f'<div class="eb-glass" role="status">{table(t("audit.glass_now"), heads, rows)}</div>'


def _older(t: Translate, query: AuditQuery, before: str) -> str:
    if not before:
        return ""
    kept = {"kind": query.kind, "who": query.who, "about": query.about, "before": before}
    link = f"{AUDIT}?{urlencode({name: text for name, text in kept.items() if text})}"
    return f'<p><a class="eb-button" href="{escape(link)}">{escape(t("audit.older"))}</a></p>'

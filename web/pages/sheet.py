"""Documents of their own, in the product's look, without a script: sign-in, account, broken glass, audit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from urllib.parse import quote

from web.access import Person
from web.pages.frame import WARD
from web.words import LANGUAGES, Translate, words

LEAVING = ("idle", "most", "days", "stay", "anew", "title", "text", "again")  # words of session.js
ACCOUNT, GLASS, AUDIT, SIGN_OUT = "/account", "/break-glass", "/audit", "/sign-out"


def document(tongue: str, title: str, body: str, here: str, above: str = "") -> str:
    """A whole page. `body` and `above` are HTML; `here` is where a change of language leads back to."""
    t = words(tongue)
    return f"""<!DOCTYPE html>
<html lang="{tongue}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="dark">
<title>{escape(title)} · {escape(t("app.name"))}</title>
<link rel="icon" type="image/svg+xml" href="/assets/favicon.svg">
<link rel="stylesheet" href="/assets/everbeat.css">
<link rel="stylesheet" href="/assets/people.css">
{'<script src="/assets/session.js" defer></script>' if above else ""}
</head>
<body class="eb-document">
<a class="eb-skip" href="#content">{escape(t("nav.skip"))}</a>
{above}
<main id="content">
<header><p class="eb-brand">{escape(t("app.name"))}</p>{_languages(t, tongue, here)}</header>
<h1>{escape(title)}</h1>
{body}
</main>
</body>
</html>"""


def strip(t: Translate, person: Person, csrf: str, places: Iterable[str]) -> str:
    """Who is signed in, where she may go, and the way out, above a document. `places`: of account, glass, audit."""
    links = "".join(f'<a href="{PLACES[name]}">{escape(t(f"people.nav.{name}"))}</a>' for name in places)
    said = t("people.signed_in", who=person.called, role=t(f"people.role.{person.role}"))
    out = (
        f'<form method="post" action="{SIGN_OUT}">{hidden("csrf", csrf)}<button>{escape(t("people.sign_out"))}</button>'
    )
    return f"""<nav class="eb-who" aria-label="{escape(t("people.nav.label"))}"><span>{escape(said)}</span>
<a href="{WARD}">{escape(t("nav.ward"))}</a>{links}{out}</form>{_leaving(t)}</nav>"""


def leaving(t: Translate) -> dict[str, str]:
    """What session.js says before a session ends and after it: attributes of an element that nobody sees."""
    holes = {name: f"{{{name}}}" for name in ("minutes", "time", "date")}  # session.js fills them
    return {f"data-{name}": t(f"people.leave.{name}", **holes) for name in LEAVING}


def _leaving(t: Translate) -> str:
    said = " ".join(f'{name}="{escape(text)}"' for name, text in leaving(t).items())
    return f'<span id="eb-leave" hidden {said}></span>'


PLACES: Mapping[str, str] = {"account": ACCOUNT, "glass": GLASS, "audit": AUDIT}


def hidden(name: str, value: str) -> str:
    """A field that nobody fills in."""
    return f'<input type="hidden" name="{name}" value="{escape(value)}">'


def field(label: str, name: str, kind: str = "text", **more: str) -> str:
    """A field and its label; `more` are attributes, with _ for -."""
    rest = "".join(f' {key.replace("_", "-")}="{escape(value)}"' for key, value in more.items())
    return f'<label>{escape(label)}<input name="{name}" type="{kind}"{rest}></label>'


def problem(text: str) -> str:
    """What went wrong, read out at once; nothing where nothing did."""
    return f'<p class="eb-problem" role="alert">{escape(text)}</p>' if text else ""


def table(caption: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of HTML cells."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="eb-scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _languages(t: Translate, tongue: str, here: str) -> str:
    links = "".join(
        f'<a href="/language/{name}?next={quote(here, safe="")}" lang="{name}" hreflang="{name}"'
        f'{" aria-current=true" if name == tongue else ""} title="{escape(t(f"language.{name}"))}">{name.upper()}</a>'
        for name in LANGUAGES
    )
    return f'<nav class="eb-languages" aria-label="{escape(t("nav.language"))}">{links}</nav>'

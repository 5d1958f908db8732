"""The HTML around the app: its head, what shows until the app is there, and the page for a wrong address."""

from __future__ import annotations

from html import escape

from web.words import words

TITLE = "Everbeat"
_HEAD = """<meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="dark">
    <meta name="theme-color" content="#05080d">
    <link rel="preload" as="font" type="font/woff2" href="/assets/fonts/inter-latin-wght-normal.woff2" crossorigin>
    <link rel="icon" type="image/svg+xml" href="/assets/favicon.svg">"""

INDEX = f"""<!DOCTYPE html>
<html lang="en" data-mantine-color-scheme="dark">
  <head>
    {_HEAD}
    <title>{{%title%}}</title>
    {{%css%}}
  </head>
  <body>
    {{%app_entry%}}
    <noscript><p class="eb-notfound">{{%noscript%}}</p></noscript>
    <footer>{{%config%}}{{%scripts%}}{{%renderer%}}</footer>
  </body>
</html>"""


def not_found(path: str, language: str) -> str:
    """A page that says what was asked for and where to go instead."""
    t = words(language)
    return f"""<!DOCTYPE html>
<html lang="{language}">
  <head>
    {_HEAD}
    <title>{t("ward.missing_short")} · {TITLE}</title>
    <link rel="stylesheet" href="/assets/everbeat.css">
  </head>
  <body>
    <main class="eb-notfound">
      <h1>{t("ward.missing_title")}</h1>
      <p>{t("ward.missing_at")} <code>{escape(path[:200])}</code>.</p>
      <p>{t("ward.missing_text")}</p>
      <p><a href="/">{t("ward.missing_go")}</a></p>
    </main>
  </body>
</html>"""

"""Every sentence a person reads on a page, by key and language: one folder a language, one file a part of the house.

Python asks :func:`words`; the browser has the same files in its bundle (`web/ui/src/i18n.js`). A language is added by
adding a folder: a test holds every language to the same keys and the same placeholders.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
DEFAULT = "en"
LANGUAGES = tuple(sorted((path.name for path in HERE.iterdir() if (path / "common.json").exists()), key="en".__ne__))
COOKIE = "eb-language"

Translate = Callable[..., str]


@cache
def catalogue(language: str) -> dict[str, str]:
    """key -> text of one of LANGUAGES. KeyError on another."""
    if language not in LANGUAGES:
        raise KeyError(f"expected one of {', '.join(LANGUAGES)}, got {language!r}; no words for it")
    merged: dict[str, str] = {}
    for path in sorted((HERE / language).glob("*.json")):
        merged |= json.loads(path.read_text("utf-8"))
    return merged


def words(language: str) -> Translate:
    """``t(key, **facts)`` in one language: the text with its {placeholders} filled. KeyError on an unknown key."""
    texts = catalogue(language if language in LANGUAGES else DEFAULT)

    def t(key: str, **facts: object) -> str:
        return texts[key].format(**facts)

    return t


def best(cookie: str | None, accepted: list[str]) -> str:
    """The language of a visitor: her choice, else the first that her browser accepts, else English."""
    wanted = [cookie or "", *(tag.split("-")[0].lower() for tag in accepted)]
    return next((language for language in wanted if language in LANGUAGES), DEFAULT)

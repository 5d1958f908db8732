"""Every sentence of a page is in the catalogue: all languages have the same keys and placeholders, every key is used,
and neither components nor pages hold words of their own."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from web import ui
from web.words import LANGUAGES, catalogue, words

WEB = Path(ui.__file__).parents[1]
SRC = Path(ui.__file__).parent / "src"
COMPONENTS = sorted((SRC / "components").glob("*.js"))
PAGES = sorted((WEB / "pages").glob("*.py"))
SHARED = ("sex.", "button.", "region.")  # vocabulary that any page may take up
PLACEHOLDER = re.compile(r"\{(\w+)\}")
WORDY = re.compile(r"[A-Za-zÄÖÜäöüß]{2,}")


def source(folder: Path, *patterns: str) -> str:
    return "\n".join(p.read_text("utf-8") for pattern in patterns for p in sorted(folder.rglob(pattern)))


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "en"])
def test_every_language_has_the_same_keys_with_the_same_placeholders(language: str) -> None:
    english, other = catalogue("en"), catalogue(language)
    assert set(english) == set(other)
    differing = [k for k in english if sorted(PLACEHOLDER.findall(english[k])) != sorted(PLACEHOLDER.findall(other[k]))]
    assert differing == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_empty_and_no_key_stands_in_two_files(language: str) -> None:
    folder = WEB / "words" / language
    assert all(text.strip() for text in catalogue(language).values())
    per_file = [len(re.findall(r'^\s*"[^"]+":', p.read_text("utf-8"), re.M)) for p in folder.glob("*.json")]
    assert sum(per_file) == len(catalogue(language)), "a key stands twice"


def test_every_key_of_the_catalogue_is_used() -> None:
    code = source(WEB, "*.py") + source(SRC, "*.js")
    starts = set(re.findall(r"[`\"']([a-z]+\.(?:[\w.-]+\.)?(?:\w+_)?)(?:\$\{|\{)", code)) | {"event.", "alarm."}
    unused = [key for key in catalogue("en") if key not in code and not key.startswith((*starts, *SHARED))]
    assert unused == []


def test_every_key_that_code_asks_for_exists() -> None:
    code = source(SRC, "*.js") + source(WEB / "pages", "*.py")
    asked = set(re.findall(r"\bt\(\s*['\"]([a-z]+\.[\w.-]+)['\"]", code))
    assert asked and sorted(asked - set(catalogue("en"))) == []


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda p: p.name)
def test_a_component_holds_no_words_of_its_own(path: Path) -> None:
    assert own_words_of_script(path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_a_page_holds_no_words_of_its_own(path: Path) -> None:
    assert own_words_of_python(path.read_text("utf-8")) == []


def test_the_search_for_own_words_finds_them() -> None:
    assert own_words_of_script("<p>Nothing here</p>") == ["Nothing here"]
    assert own_words_of_script('<i title="Central interval" />') == ["Central interval"]
    assert own_words_of_script("put(node, 'no honest value');") == ["no honest value"]
    assert own_words_of_script("put(node, `${x} seconds ago`);") == ["${x} seconds ago"]
    assert own_words_of_script("// a <b>comment</b> 'of some words'\nt('room.body')") == []
    assert own_words_of_python('x = "No such patient: not sent."') == ["No such patient: not sent."]
    assert own_words_of_python('html = f"<h1>{t(a)}</h1><p>Go away</p>"') == ["Go away"]
    assert own_words_of_python('def f():\n    """Says a thing or two."""\n    log.warning("it went all wrong")') == []


def test_facts_are_put_into_the_text_in_both_languages() -> None:
    for language in LANGUAGES:
        assert "13:02:11" in words(language)("alarms.over", time="13:02:11")


def own_words_of_script(text: str) -> list[str]:
    """Text between tags, in spoken attributes, and string literals of two words or more."""
    text = re.sub(r"/\*.*?\*/|(?<![:'\"`])//[^\n]*", "", text, flags=re.S)
    text = "\n".join(line for line in text.split("\n") if not re.match(r"\s*(import|console\.)|.*console\.warn", line))
    found = [m.strip() for m in re.findall(r"(?<=[\w\"'}/])>\s*([^<>{}();=&\n]+?)\s*<(?=/|\w)", text)]
    found += re.findall(r"(?:aria-label|title|placeholder|alt)=\"([^\"]+)\"", text)
    literals = re.findall(r"'((?:[^'\\\n]|\\.)*)'", text) + re.findall(r"`([^`]*)`", text)
    found += [
        s for s in literals if re.search(r"(?<![\w.#-])[A-Za-z]{2,} [a-z]{2,}", s) and not re.search(r"eb-|[<>=:]", s)
    ]
    return [m for m in found if WORDY.search(re.sub(r"\$\{[^}]*\}", "", m))]


def own_words_of_python(text: str) -> list[str]:
    """String literals of three words or more that are no docstring, no log line and no error, and text between tags."""
    tree = ast.parse(text)
    quiet = {id(node) for outer in ast.walk(tree) if is_quiet(outer) for node in ast.walk(outer)}
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in quiet:
            continue
        if "<" in node.value:
            between = re.sub(r"\{%\w+%\}", "", node.value)  # Dash's own marks
            found += [m.strip() for m in re.findall(r">([^<>]+)<", between) if WORDY.search(m)]
        elif re.search(r"[A-Za-z]{2,}[,:]? [a-z]{2,} [a-z]{2,}", node.value) and not re.search(r"[{}]", node.value):
            found.append(node.value)
    return found


def is_quiet(node: ast.AST) -> bool:
    """Whether what is below is read by engineers: docstrings, logs, errors, and the kept sheet's worker."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return isinstance(node.func.value, ast.Name) and node.func.value.id == "log"
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id in ("WORKER", "STYLE") for target in node.targets)
    return isinstance(node, ast.Raise)

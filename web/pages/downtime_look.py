"""How the downtime sheet looks on screen and on paper, and its pictures: two things and the line between them.

Style and pictures are in the document itself, so that one kept copy is whole.
"""

from __future__ import annotations

STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #10202e; font: 16px/1.5 Inter, system-ui, "Segoe UI", sans-serif; }
main { max-width: 960px; margin: 0 auto; padding: 24px; }
header { border-bottom: 4px solid #b00d15; margin-bottom: 14px; }
h1 { margin: 0; font-size: 30px; }
header p { margin: 2px 0 10px; color: #3c4c5a; }
h2 { font-size: 20px; margin: 0 0 8px; }
h3 { font-size: 15px; margin: 10px 0 2px; }
ol { margin: 4px 0 0; padding-left: 26px; }
li { margin: 3px 0; }
.first { border: 3px solid #10202e; border-radius: 8px; padding: 14px 18px; font-size: 19px; }
.call { margin: 10px 0 0; }
.state { display: grid; grid-template-columns: minmax(0, 1fr) 220px; column-gap: 22px; padding: 18px 0 14px;
  border-bottom: 1px solid #9db0bf; break-inside: avoid; }
.state > * { grid-column: 1; }
.state svg { grid-column: 2; grid-row: 1 / span 4; width: 220px; }
dl { margin: 0; }
dt { font-weight: 650; }
dd { margin: 0 0 6px; }
.notes div { height: 150px; border: 1px solid #9db0bf;
  background: repeating-linear-gradient(#fff 0 29px, #c9d4dd 29px 30px); }
.notes { padding-top: 18px; break-inside: avoid; }
nav { padding: 16px 0; }
a { color: #0b5394; display: inline-block; min-height: 24px; }
@media (max-width: 620px) { .state { display: block; } }
@media print {
  main { padding: 0; max-width: none; }
  body { font-size: 11.5pt; }
  nav, .lead { display: none; }
}
"""

_BROKEN = (
    '<path d="M74 32h18m16 0h18" stroke="#b00d15" stroke-width="4" stroke-dasharray="6 4"/>'
    '<path d="M92 24l16 16m0-16L92 40" stroke="#b00d15" stroke-width="4"/>'
)
_WHOLE = '<path d="M74 32h52" stroke="#10202e" stroke-width="3"/>'
_LINE = 'fill="none" stroke="#10202e" stroke-width="3"'


def _screen(x: int) -> str:
    return f'<path d="M{x} 12h54v32h-54zM{x + 18} 54h18m-9-10v10" {_LINE}/>'


def _box(x: int, dead: bool = False) -> str:
    cross = f'<path d="M{x + 12} 20l26 26m0-26l-26 26" stroke="#b00d15" stroke-width="4"/>' if dead else ""
    return f'<path d="M{x} 10h50v44h-50zM{x + 8} 18h8m-8 8h8" {_LINE}/>{cross}'


def _drum(x: int) -> str:
    return f'<path d="M{x} 16c0-8 50-8 50 0v32c0 8-50 8-50 0zm0 0c0 8 50 8 50 0" {_LINE}/>'


def _lock(x: int) -> str:
    return f'<path d="M{x} 33h18v13h-18zm4 0v-5c0-6 10-6 10 0v5" fill="#fff" stroke="#b00d15" stroke-width="3"/>'


def _band(x: int) -> str:
    return f'<circle cx="{x + 27}" cy="32" r="20" {_LINE}/><path d="M{x + 14} 32h7l5-9 6 18 5-9h6" {_LINE}/>'


PICTURES = {
    "network": _screen(12) + _BROKEN + _box(134),
    "server": _screen(12) + _WHOLE + _box(134, dead=True),
    "engine": _box(18) + _WHOLE + _box(134, dead=True),
    "store": _box(18) + _BROKEN + _drum(134),
    "locked": _box(18) + _WHOLE + _drum(134) + _lock(150),
    "devices": _band(12) + _BROKEN + _box(134),
}

"""Prints the tolerances in docs/clinical-safety.md from the table of signals: `python scripts/tolerances.py`."""

from __future__ import annotations

from device.signals import SIGNALS, Signal


def main() -> None:
    """The table as Markdown, one row a signal."""
    print("| signal | id | unit | plausible range | tolerance | source |")
    print("|---|---|---|---|---|---|")
    for row in SIGNALS.values():
        print(
            f"| {row.label} | `{row.id}` | {row.unit} | {row.low:g} to {row.high:g} | {_words(row)} | {_source(row)} |"
        )


def _words(row: Signal) -> str:
    parts = [f"{row.tolerance.absolute:g} {row.unit}"] if row.tolerance.absolute else []
    parts += [f"{row.tolerance.relative:.0%} of the value"] if row.tolerance.relative else []
    return " or ".join(parts) + (", the larger" if len(parts) == 2 else "")


def _source(row: Signal) -> str:
    return "chosen by the project, see below" if "clinical relevance" in row.tolerance.source else row.tolerance.source


if __name__ == "__main__":
    main()

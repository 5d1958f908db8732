"""Latency by payload as a page with one drawing in it, without scripts."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

Delays = Sequence[tuple[int, dict[str, tuple[float, float]]]]  # payload B; by side: median and 95th percentile, ms


def draw(table: Delays, out: Path) -> None:
    """Write the page."""
    page = f"<!doctype html><meta charset=utf-8><title>Latency by payload</title>\n{plotted(table)}"
    out.write_text("\n".join(line.rstrip() for line in page.splitlines()) + "\n")
    print(f"drawn to {out}")


def plotted(table: Delays) -> str:
    """The drawing, as SVG."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    sizes = [size / 1000 for size, _ in table]
    for name, colour in (("secured", "#0b7285"), ("plain", "#868e96")):
        axes.plot(sizes, [row[name][0] for _, row in table], "-o", color=colour, label=f"{name}, median", ms=4)
        axes.plot(sizes, [row[name][1] for _, row in table], "--", color=colour, label=f"{name}, 95th percentile")
    axes.set(xscale="log", xlabel="payload, KB", ylabel="latency, ms", ylim=(0, None), title="Device to disk, loopback")
    axes.legend()
    axes.grid(alpha=0.3)
    held = io.StringIO()
    figure.savefig(held, format="svg", bbox_inches="tight", metadata={"Date": None})
    return held.getvalue()

"""Commands over recordings: ``twin`` runs the engine over one, ``train`` and ``evaluate`` make and judge the model."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from everbeat.console import fail, one_line_errors, progress, progress_of_each, say
from everbeat.settings import Settings

app = typer.Typer()

Recording = Annotated[Path, typer.Argument(help="A recording: CSV or CSV.gz, first column time_s.")]


@app.command()
def twin(
    recording: Recording,
    out: Annotated[Path, typer.Option(help="What was shown, row by row (CSV).")],
    revisions: Annotated[Path | None, typer.Option(help="What was revised when gaps closed (CSV).")] = None,
) -> None:
    """Run the twin over a recording: what would it have shown, knowing only what came before?"""
    from device.recording import read_recording
    from everbeat.weights import signers
    from twin_engine.model import Generator
    from twin_engine.offline import HEADER, twin_of_recording

    with one_line_errors(), progress("twin") as step:
        read = read_recording(recording)
        for warning in read.warnings:
            say.print(f"warning: {warning}", style="yellow")
        if read.skipped:
            say.print(f"columns without a signal, skipped: {', '.join(read.skipped)}", style="dim")
        settings = Settings.from_env()
        model = Generator.load(settings.weights, signers=signers(settings))
        lines, revised = twin_of_recording(read, model, step)
        _write_lines(out, HEADER, lines)
        if revisions is not None:
            _write_lines(revisions, HEADER, iter(revised))


@app.command()
def train(
    data: Annotated[Path, typer.Option(help="Folder of recordings (CSV.gz, one folder a device).")],
    out: Annotated[
        Path | None,
        typer.Option(help="Where to; default: weights/, with --baselines rivals/ in the state directory."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps a signal; default: the recipe's.")] = None,
    signals: Annotated[str | None, typer.Option(help="Only these, with commas between; default: all.")] = None,
    device: Annotated[str, typer.Option(help="auto (a graphics card where there is one), cpu or cuda.")] = "auto",
    workers: Annotated[int | None, typer.Option(min=1, help="Signals at once; default: a core each.")] = None,
    resume: Annotated[bool, typer.Option("--resume/--fresh", help="Keep what was trained, or begin anew.")] = True,
    release: Annotated[
        bool, typer.Option(help="Sign with the release key, which every installation believes.")
    ] = False,
    ablate: Annotated[
        bool, typer.Option(help="Also train without latent and without baselines, for the model card: thrice the time.")
    ] = False,
    baselines: Annotated[bool, typer.Option(help="Train the rivals for `evaluate` instead (SAITS, BRITS).")] = False,
    seconds: Annotated[float, typer.Option(help="With --baselines: processor time to train.")] = 1200.0,
) -> None:
    """Train the generative model; write its weights, signed, and its model card."""
    from everbeat.training import TrainingPlan, run

    with one_line_errors(), progress_of_each() as show:
        settings = Settings.from_env()
        if baselines:
            from twin_engine.lab.fit_rivals import train_rivals

            train_rivals(data, out or settings.state / "rivals", seconds=seconds, seed=seed, progress=show)
            return
        chosen = _names(signals)
        plan = TrainingPlan(data, out or Path("weights"), seed, steps, chosen, device, workers, resume, release, ablate)
        run(settings, plan, show, lambda line: say.print(line, soft_wrap=True, highlight=False))


@app.command()
def evaluate(
    data: Annotated[Path, typer.Option(help="Folder of recordings, in any folders below it.")],
    json_out: Annotated[Path, typer.Option("--json", help="Write every number to this JSON file.")],
    report: Annotated[Path, typer.Option(help="Write the page with plots and tables to this HTML file.")],
    model: Annotated[Path | None, typer.Option(help="Folder of weights; default: the packaged ones.")] = None,
    baselines: Annotated[
        Path | None,
        typer.Option(help="Folder that `train --baselines` wrote; default: rivals/ in the state directory, else ours."),
    ] = None,
    signals: Annotated[str | None, typer.Option(help="Only these, with commas between; default: all.")] = None,
    gaps: Annotated[int, typer.Option(min=1, help="Gaps a channel, length, kind of place and seed.")] = 24,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; default: a core each.")] = None,
) -> None:
    """The model beside every rival, on people it has never seen: tables, JSON, a page of plots, the model card."""
    from everbeat.weights import signers
    from twin_engine.lab import evaluate as story
    from twin_engine.lab.card import write_card
    from twin_engine.lab.outcome import outcome, text, write_json
    from twin_engine.lab.report import write_report
    from twin_engine.lab.rivals import CACHED

    chosen = _names(signals)
    with one_line_errors(), progress("evaluate") as step:
        settings = Settings.from_env()
        size = story.Settings(count=gaps, signals=chosen, jobs=jobs or os.cpu_count() or 1)
        own = settings.state / "rivals"
        rivals = baselines or (own if own.exists() else CACHED)
        try:
            told = outcome(story.evaluate(data, model, size, rivals, signers(settings), step))
        except story.EvaluationError as error:
            fail(str(error), code=1)
        write_json(told, json_out)
        write_card(json_out.parent, told.evaluation.metadata, json.loads(json_out.read_text()))
        write_report(told, report)
    print(text(told))


def _write_lines(path: Path, header: str, lines: Iterator[str]) -> None:
    """All or nothing: a run that is cut off leaves no half file behind."""
    part = path.with_name(path.name + ".part")
    with part.open("w") as file:
        file.write(header + "\n")
        file.writelines(line + "\n" for line in lines)
    part.replace(path)


def _names(text: str | None) -> tuple[str, ...] | None:
    """What stands between commas; None where nothing was asked for."""
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())

"""``everbeat keys`` and ``everbeat erase``: the keys at rest, for who looks after the house."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from everbeat.console import one_line_errors, say
from everbeat.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Keys at rest: list and rotate them.")


@app.command("list")
def list_keys() -> None:
    """Versions and fingerprints of the master key, and which patients have keys. Never a key."""
    from everbeat import erasing, rotation
    from security.keyhome import fingerprint

    with one_line_errors():
        settings = Settings.from_env()
        home = erasing.home_of(settings)
        for version, key in sorted(home.versions.keys.items()):
            use = "wraps and opens" if version == home.versions.current else "opens only: a rotation is not over"
            say.print(f"master key {version}  {fingerprint(key)}  {use}", highlight=False)
        with erasing.redis_of(settings):
            for row in rotation.key_rows(settings):
                say.print(row, highlight=False, soft_wrap=True)
        for stone in sorted(home.tombstones.values(), key=lambda stone: stone.t_ms):
            say.print(f"erased {stone.name.hex()}  {stone.when}  by {stone.who}", highlight=False)


@app.command()
def rotate(
    patient: Annotated[str | None, typer.Option(help="Only this patient's data key; default: the master key.")] = None,
) -> None:
    """A new version of the master key, or of one patient's data key, while everybody writes on. May be repeated."""
    from everbeat import erasing, rotation

    with one_line_errors():
        settings = Settings.from_env()
        erasing.home_of(settings)
        with erasing.redis_of(settings):
            if patient is not None:
                version = rotation.rotate_patient(settings, patient)
                say.print(f"the data key of {patient} has version {version}; the one before opens for six hours more")
                return
            done = rotation.rotate_master(settings)
        say.print(f"master key {done.version} wraps from now on; {done.rewrapped} wraps were made anew")
        if done.held:
            say.print(f"older versions are kept, something lies under them: {', '.join(done.held)}", style="yellow")
            raise typer.Exit(1)
        gone = ", ".join(map(str, done.destroyed)) or "none"
        say.print(f"destroyed: version {gone}. Copies of Redis of before can't be read any more: make a new backup.")


@app.command()
def certificate(
    file: Annotated[Path, typer.Argument(help="A certificate that `everbeat erase` wrote.")],
    apply: Annotated[bool, typer.Option(help="Erase her again, where everything was restored from before.")] = False,
) -> None:
    """Check a certificate of erasure against this house's key."""
    from everbeat import erasing
    from security import signing

    with one_line_errors():
        settings = Settings.from_env()
        key = erasing.home_of(settings).house_key()
        facts = erasing.check_certificate(file.read_text(), {signing.public_of(key): "this house"})
        say.print(f"signed by this house: {facts['patient']} was erased on {facts['erased']} by {facts['who']}")
        if apply:
            with erasing.redis_of(settings):
                made = erasing.erase(settings, erasing.apply_certificate(settings, file.read_text()))
            print(erasing.told(made))


def erase(
    patient: Annotated[str, typer.Argument(help="Her id, pseudonym or record number.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    certificate: Annotated[Path | None, typer.Option(help="Where to write the certificate (JSON).")] = None,
) -> None:
    """Erase a patient for good: her keys are destroyed, in Redis and outside it. Prints a certificate."""
    from everbeat import erasing

    with one_line_errors():
        settings = Settings.from_env()
        erasing.home_of(settings)
        with erasing.redis_of(settings):
            found, card = erasing.find(settings, patient)
            if not yes:
                asked = "her id again" if card is None else "her pseudonym or record number"
                since = datetime.fromtimestamp(card.admitted_ms / 1000, UTC).strftime(" (admitted %F)") if card else ""
                say.print(f"This erases {found}{since} for good. Nobody can bring her data back.", style="yellow")
                if not erasing.confirms(found, card, typer.prompt(f"Type {asked} to go on", err=True)):
                    say.print("That is not hers; nobody was erased.", style="red")
                    raise typer.Exit(2)
            made = erasing.erase(settings, found)
            where = erasing.keep(settings, made, certificate)
        print(erasing.told(made))
        say.print(f"certificate: {where}", soft_wrap=True, highlight=False)

"""The ``everbeat`` command: which commands there are. Each stands in the file that its group is taken from."""

from __future__ import annotations

import typer

from everbeat import keys, logs, modelling, people, pki, processes

app = typer.Typer(add_completion=False, no_args_is_help=True, help="A medical digital twin that never goes blank.")
app.command()(keys.erase)
app.add_typer(processes.app)
app.add_typer(modelling.app)
app.add_typer(logs.app)
app.add_typer(people.app, name="user")
app.add_typer(pki.app, name="pki")
app.add_typer(keys.app, name="keys")


if __name__ == "__main__":
    app()

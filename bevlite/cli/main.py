"""`bevlite`: collects the commands, and turns every error that a user can mend into one line."""

from __future__ import annotations

import errno
import importlib
import sys
from importlib.metadata import entry_points

import click
import typer

from bevlite import __version__
from bevlite.errors import BevliteError

# A command is a module here with a function `register(app)`.
COMMANDS = ("variant", "data", "train", "evaluate", "show", "export", "latency")


def build_app() -> typer.Typer:
    """The whole command line, with the commands of installed applications (such as `search`)."""
    app = typer.Typer(
        name="bevlite",
        help="Redesigns camera + LiDAR bird's-eye-view networks for a real car computer.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    @app.callback(invoke_without_command=True)
    def top(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
        if version:
            typer.echo(f"bevlite {__version__}")
            raise typer.Exit()

    for name in COMMANDS:
        importlib.import_module(f"bevlite.cli.{name}").register(app)
    for point in entry_points(group="bevlite.commands"):
        app.add_typer(point.load(), name=point.name)
    return app


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 a check failed, 2 bad input, 130 stopped by Ctrl-C."""
    try:
        result = build_app()(standalone_mode=False)
        sys.exit(result if isinstance(result, int) else 0)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt):
        typer.echo("stopped", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BevliteError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        where = f": {error.filename}" if error.filename else ""
        typer.echo(f"error: {error.strerror}{where}; nothing that was finished before is lost", err=True)
        sys.exit(2)

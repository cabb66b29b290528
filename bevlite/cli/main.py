"""`bevlite`: collects the commands, and turns every error that a user can mend into one line."""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # at run time inside `main`, where a Ctrl-C is caught from the first import on
    import typer

# A command is a module here with a function `register(app)`.
COMMANDS = (
    "init",
    "variant",
    "data",
    "importing",
    "train",
    "evaluate",
    "show",
    "analyze",
    "prune",
    "quantize",
    "compress",
    "ledger",
    "export",
    "latency",
    "device",
    "deploy",
    "package",
    "plan_b",
    "release",
)


USERS_TO_MEND = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR,
     errno.ENAMETOOLONG, errno.ELOOP, errno.EIO, errno.EMFILE}
)  # fmt: skip
"""What an operating system says of disks, permissions and paths."""


class Stopped(Exception):
    """Ctrl-C reached a command."""


def build_app() -> typer.Typer:
    """The whole command line, with the commands of installed applications (such as `search`)."""
    from importlib.metadata import entry_points

    import typer
    from typer.core import TyperGroup

    from bevlite import __version__

    class Group(TyperGroup):
        """Typer would turn a Ctrl-C into its own exit, without a word."""

        def invoke(self, ctx: Any) -> Any:
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                raise Stopped from None

    app = typer.Typer(
        name="bevlite",
        cls=Group,
        help="Redesigns camera + LiDAR bird's-eye-view networks for a real car computer.",
        no_args_is_help=True,
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


def completed(words: Sequence[str]) -> list[str]:
    """The words of a command with what they leave out: `--resume` alone is `--resume auto`."""
    found: list[str] = []
    for word, following in zip(words, [*words[1:], "-"], strict=False):
        found += [word, "auto"] if word == "--resume" and following.startswith("-") else [word]
    return found


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 a check failed, 2 bad input, 3 emulated only, 130 Ctrl-C."""
    try:
        code = _run()
    except (KeyboardInterrupt, Stopped):
        from bevlite.cli.stopped import stopped_words

        print(stopped_words(sys.argv[1:]), file=sys.stderr)
        code = 130
    sys.exit(code)


def _run() -> int:
    """The exit code of the command that was asked for; an error that the user can mend is printed as one line."""
    import typer

    from bevlite.cli.say import said_again
    from bevlite.errors import BevliteError

    # Typer works with click, or in newer versions with a copy of its own, whose classes are others.
    click: Any = importlib.import_module(typer.BadParameter.__module__)
    try:
        with said_again():
            result = build_app()(completed(sys.argv[1:]), prog_name="bevlite", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        raise Stopped from None
    except click.ClickException as error:
        error.show()
        return int(error.exit_code)
    except BevliteError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if error.errno not in USERS_TO_MEND:
            raise
        where = f": {error.filename}" if error.filename else ""
        print(f"error: {error.strerror}{where}; nothing that was finished before is lost", file=sys.stderr)
        return 2

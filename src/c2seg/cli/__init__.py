"""The command ``c2seg``: one module per command, imported only when that command runs.

Exit codes: 0 done; 2 the user's input is wrong (one line on stderr, no traceback); 1 an internal error;
130 and 143 stopped by SIGINT and SIGTERM, and what can be resumed is on disk.
"""

from __future__ import annotations

import importlib
import itertools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NoReturn

import typer

from c2seg._version import __version__
from c2seg.cli.completion import completed_command
from c2seg.cli.help import COMMAND_GROUPS, with_help
from c2seg.cli.options import with_options
from c2seg.cli.stopping import how_to_resume
from c2seg.errors import C2SegError, unknown_name
from c2seg.outputs.faults import fault_of_files
from c2seg.process import keep_freed_memory, set_up, stop_on_sigterm

__all__ = ["COMMANDS", "main", "run"]

# One line of help by command. Listed here so that `c2seg --help` imports none of the modules.
COMMANDS = {
    "demo": "See everything in minutes, without data.",
    "simulate": "Make two cities with a known ground truth.",
    "init": "Write city.yaml from what rasters say of themselves.",
    "inspect": "Show what a city holds and what is wrong.",
    "prepare": "Make a city folder from satellite products.",
    "convert": "Write a city in another layout.",
    "label": "Make reference labels from OpenStreetMap.",
    "recipes": "List the recipes, or print one.",
    "fit": "Train a model on labeled cities.",
    "predict": "Predict the map of a whole city.",
    "fuse": "Fuse maps of one city, also class by class.",
    "export": "Write a model as ONNX.",
    "score": "Score a map against the ground truth.",
    "assess": "Estimate where a map is likely wrong.",
    "sample": "Draw points of a map to check it with.",
    "estimate": "Estimate accuracy and area from a labeled sample.",
    "certify": "Show where at most a share of a map is wrong.",
    "suggest": "Pick points to label for training.",
    "report": "Make a self-contained HTML page of runs.",
    "package": "Gather a map and its side files in one folder.",
    "benchmark": "Compare recipes on pairs of cities.",
    "submit": "Pack or check a challenge submission.",
    "challenge": "Run a leaderboard with withheld ground truth.",
    "serve": "Run a challenge of several teams on a server.",
}
_SHELL = {"--install-completion", "--show-completion"}  # a shell may follow them
_PREDICTING = {"assess", "demo", "fit", "predict"}  # they run a predictor over a city


# Options of 0.1.0 by command -> current names; the old names are removed in the next release.
RENAMED_OPTIONS = {
    ("benchmark", "--reference"): "--baseline",
    ("challenge", "--numbering"): "--label-map",
    ("challenge", "--truth"): "--reference",
    ("fit", "--numbering"): "--label-map",
    ("inspect", "--numbering"): "--label-map",
    ("predict", "--second"): "--runner-up",
    ("report", "--numbering"): "--label-map",
    ("report", "--truth"): "--reference",
    ("score", "--numbering"): "--label-map",
    ("simulate", "--knob"): "--parameter",
}


def main() -> NoReturn:
    """Entry point of the console script."""
    set_up()
    if _named_command(sys.argv[1:]) in _PREDICTING:
        keep_freed_memory()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code; errors go to stderr."""
    command = _named_command(arguments)
    previous = stop_on_sigterm()
    try:
        if command is not None and command not in COMMANDS:
            raise C2SegError(unknown_name("command", command, COMMANDS))
        arguments = [_current_option(command, argument) for argument in arguments]
        application = _application(completed_command(COMMANDS) or command)
        result = application.main(args=arguments or ["--help"], prog_name="c2seg", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except C2SegError as error:
        return _fail(str(error), 2)
    except (KeyboardInterrupt, _StoppedError) as stop:
        return _fail(f"stopped{how_to_resume(command, arguments)}", 143 if "SIGTERM" in stop.args else 130)
    except BrokenPipeError:  # the reader of a pipe has closed it: not an error
        _drop_output()
        return 0
    except Exception as error:
        if (reason := fault_of_files(error)) is not None:
            _drop_output()
            return _fail(reason, 2)
        # typer's usage errors (click's, under several module paths by version) format their messages themselves.
        message: Callable[[], str] | None = getattr(error, "format_message", None)
        if message is None:
            raise
        return _fail(message(), 2)
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def _named_command(arguments: Sequence[str]) -> str | None:
    """Return the first word that is no option; None if there is none, or if it is the value of an option."""
    words = itertools.takewhile(lambda word: word not in _SHELL, arguments)
    return next((word for word in words if not word.startswith("-")), None)


def _drop_output() -> None:
    """Lose what could not be written to stdout, so that the interpreter does not try again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _application(command: str | None) -> Any:
    """Return the application, click's object, with one command, or as an overview of all."""
    groups = {name: group for group, names in COMMAND_GROUPS.items() for name in names}
    root = typer.Typer(
        name="c2seg",
        help="Land-cover maps of a city without labels, from models trained on another city.",
        rich_markup_mode="rich",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    root.callback()(_root)  # a callback makes typer keep sub-commands even when there is one
    for name in COMMANDS:
        if command is None:
            root.command(name, help=COMMANDS[name], rich_help_panel=groups.get(name))(_nothing)
        elif name == command:
            module = importlib.import_module(f"c2seg.cli.{name}")
            if hasattr(module, "app"):
                for entry in module.app.registered_commands:
                    entry.callback = _guard(entry.callback)
                root.add_typer(module.app, name=name, help=COMMANDS[name])
            else:
                root.command(name)(_guard(module.command))
    return with_help(typer.main.get_command(root))


def _current_option(command: str | None, argument: str) -> str:
    """Return an argument; a renamed option gets its new name, with a warning."""
    option, equals, value = argument.partition("=")
    new = RENAMED_OPTIONS.get((command or "", option))
    if new is None:
        return argument
    print(f"c2seg: {option} is now {new}; the old name is removed in the next release", file=sys.stderr)  # noqa: T201
    return f"{new}{equals}{value}"


class _StoppedError(Exception):
    """A KeyboardInterrupt on its way through typer, which would turn it into exit code 130 whatever its cause."""


def _guard(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def guarded(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except KeyboardInterrupt as stop:
            raise _StoppedError(*stop.args) from stop

    return guarded


def _version(show: bool) -> None:
    if show:
        typer.echo(f"c2seg {__version__}")
        raise typer.Exit(0)


def _root(
    version: bool = typer.Option(False, "--version", help="Print the version.", is_eager=True, callback=_version),
) -> None:
    pass


def _nothing() -> None:
    """Stand in for a command in the overview."""


def _fail(message: str, code: int) -> int:
    print(f"c2seg: {with_options(' '.join(message.split()))}", file=sys.stderr)  # noqa: T201
    return code

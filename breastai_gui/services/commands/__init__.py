"""The commands that have many options: one module each, so that a command's options and what it does stand together.

A module `breastai_gui.services.commands.NAME` is the command ``breastai NAME``. It has `add`, which adds its options to the
parser, and `run`, which does what was asked and returns the exit code; at import it loads nothing slow.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from breastai_gui.services.places import Places

NOT_YET = 3
"""Exit code of a long command that stopped after its minutes; the same command goes on."""
_COMMANDS = ("phantom", "train", "evaluate", "prove", "models", "compare")


class Command(Protocol):
    """What a command's module holds."""

    def add(self, commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        """Add the command with its options to the parser."""

    def run(self, options: argparse.Namespace, places: Places, say: Callable[[str], None]) -> int:
        """Do what was asked and return the exit code; `say` prints a line at once."""


def names() -> tuple[str, ...]:
    """Return the names of the commands that are there, in the order of the help."""
    return tuple(name for name in _COMMANDS if find_spec(f"{__name__}.{name}") is not None)


def command(name: str) -> Command:
    """Return the module of one of `names`."""
    return cast("Command", import_module(f"{__name__}.{name}"))

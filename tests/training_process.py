"""Training in processes of its own, forked from one that has everything imported: to import it costs seconds each time."""

from __future__ import annotations

import multiprocessing
import os
import resource
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess
    from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "lightning_fabric",
        "lightning_fabric.strategies.ddp",
        "breastai_model.training.cross_validation",
        "breastai_gui.services.command_line",
    ]
)


def started(work: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Return a process that does the work."""
    process = _FORKS.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def train_as_the_command_does(run: Path, output: Path, limit: int, size: int) -> None:
    """Be `breastai train RUN` under a limit of the system, what is said going into a file."""
    from breastai_gui.services import command_line

    resource.setrlimit(limit, (size, size))
    say_into(output)
    raise SystemExit(command_line.run(command_line.parse(["train", str(run)])))


def say_into(output: Path) -> None:
    """Let what this process prints go to the end of a file."""
    said = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(said, stream)


def train_and_save_after_every_batch(run: Path) -> None:
    """Train, with a checkpoint after each batch."""
    from breastai_model.run_folder import RunFolder
    from breastai_model.training import train
    from breastai_model.training.cross_validation import train as train_run

    train.SAVE_SECONDS = 0.0
    train_run(RunFolder(run))

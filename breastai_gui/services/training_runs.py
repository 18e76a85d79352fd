"""Training runs: start one in a process of its own, list them, watch, pause, finish early, go on. Never trains itself.

What a run is doing is read from its folder each time, never remembered: the window that watches need not be the one
that started it, and a killed window costs nothing.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from breastai_gui.services.backbones import FOLDER
from breastai_gui.services.places import Places, worker_command
from breastai_model.run_folder import Progress, RunFolder, RunState

if TYPE_CHECKING:
    from pathlib import Path

    from breastai_gui.services.cohort import Cohort
    from breastai_model.plan import Plan

log = logging.getLogger(__name__)

STARTING_SECONDS = 30.0
"""How long a process that has not yet taken its lock is still believed to be starting (measured: 0.3 s when idle)."""


class RunError(Exception):
    """A run cannot be started or changed; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """What a run's folder says at one moment.

    Attributes
    ----------
    state
        "starting", "running", "finished", "stopped" (as asked; it can go on) or "broken" (it can go on as well).
    why
        One sentence where it is stopped or broken: the trainer's last words.
    result
        The metrics of a finished run.
    """

    folder: Path
    title: str
    epochs_planned: int
    """0 where the plan cannot be read."""
    state: RunState
    progress: Progress
    why: str
    result: dict[str, Any] | None

    @property
    def can_go_on(self) -> bool:
        """True for a run that stopped or broke and whose plan can be read."""
        return self.state in {"stopped", "broken"} and self.epochs_planned > 0

    @property
    def alive(self) -> bool:
        """True while a trainer works on it."""
        return self.state in {"starting", "running"}


class TrainingRuns:
    """The runs below the program's own `runs` folder."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def start(self, plan: Plan, cohort: Cohort) -> Path:
        """Make a run's folder and start its process, which outlives this one; return the folder at once.

        Raises
        ------
        RunError
            If the cohort is not ready, or the folder or the process cannot be made.
        """
        if reason := cohort.why_not_yet():
            raise RunError(reason)
        run = RunFolder(self._free_folder(plan.name))
        try:
            run.create(plan, cohort.to_json())
        except OSError as error:
            raise RunError(f"The run's folder cannot be written: {error.strerror or 'the disk refused'}.") from error
        self._launch(run)
        return run.path

    def go_on(self, folder: Path) -> None:
        """Start a stopped or broken run again: it goes on from its last checkpoint. Raises RunError when it is not one."""
        status = self.status(folder)
        if status.alive:
            raise RunError("This run is at work already.")
        if status.state == "finished":
            raise RunError("This run is finished; start a new one.")
        run = RunFolder(folder)
        run.clear_stop()
        self._launch(run)

    def pause(self, folder: Path) -> None:
        """Ask the trainer to save and end after the batch it is at."""
        RunFolder(folder).ask_to_stop("pause")

    def finish_early(self, folder: Path) -> None:
        """Ask the trainer to stop now and make its model from the best epoch so far."""
        RunFolder(folder).ask_to_stop("finish")

    def remove(self, folder: Path) -> None:
        """Delete a run that no trainer works on. Raises RunError while one does."""
        if self.status(folder).alive:
            raise RunError("This run is still at work: pause it first.")
        shutil.rmtree(folder)

    def backbones(self) -> tuple[str, ...]:
        """Return the SHA-256 of each imported backbone that a run of the full size may start from."""
        return tuple(sorted(path.stem for path in (self._places.models / FOLDER).glob("*.safetensors")))

    def list(self) -> tuple[RunStatus, ...]:
        """Return all runs, the newest first."""
        folders = [path for path in self._places.runs.iterdir() if RunFolder(path).has_plan()]
        return tuple(self.status(path) for path in sorted(folders, key=lambda path: path.name, reverse=True))

    def status(self, folder: Path) -> RunStatus:
        """Return what the folder says now."""
        run = RunFolder(folder)
        # Before its words: a run that ends between the two looks would otherwise have died without a last one. And once more
        # after them, for one that has begun in between.
        alive = run.is_locked()
        words = _since_start(run.last_words())
        ended = next((line.removeprefix(ENDED) for line in reversed(words) if line.startswith(ENDED)), "")
        try:
            plan, result = run.plan(), run.result()
        except ValueError as error:
            why = f"It is damaged, or was made by another version of the program, and cannot go on: {error}"
            return RunStatus(folder, folder.name[len("2026-01-01-000000-") :], 0, "broken", run.progress(), why, None)
        state: RunState
        why = ""
        if result is not None:
            state = "finished"
        elif alive or run.is_locked():
            state = "running"
        elif not words and _age_s(run.output) < STARTING_SECONDS and run.is_silent():
            state = "starting"
        elif ended.startswith(AS_ASKED):
            state, why = "stopped", ended
        else:
            state, why = "broken", ended or _broken_sentence(run, words)
        return RunStatus(folder, plan.name, plan.epochs, state, run.progress(), why, result)

    def _free_folder(self, title: str) -> Path:
        # The date keeps the list in order; the title is made safe for any file system.
        safe = re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-")[:40] or "run"
        stamp = dt.datetime.now().astimezone().strftime("%Y-%m-%d-%H%M%S")
        for extra in ("", *(f"-{number}" for number in range(2, 100))):
            if not (path := self._places.runs / f"{stamp}-{safe}{extra}").exists():
                return path
        raise RunError("Too many runs were started at once.")

    def _launch(self, run: RunFolder) -> None:
        environment = os.environ | {"PYINSTALLER_RESET_ENVIRONMENT": "1", "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
        try:
            with run.output.open("ab") as output:
                output.write(f"{STARTING}\n".encode())
                output.flush()
                # A session of its own: neither the window's end nor a kill of it reaches the trainer.
                detached: dict[str, Any] = (
                    {"creationflags": 0x00000008 | 0x00000200} if os.name == "nt" else {"start_new_session": True}
                )  # DETACHED_PROCESS, CREATE_NEW_PROCESS_GROUP
                process = subprocess.Popen(
                    worker_command("train", str(run.path)),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=run.path,
                    env=environment,
                    close_fds=True,
                    **detached,
                )
        except OSError as error:
            raise RunError(f"The training process cannot be started: {error.strerror or 'the system refused'}.") from error
        # Nobody waits for it, which is meant. Collected when it ends before this process does; no warning when it outlives it.
        _launched.append(process)
        _launched[:] = [known for known in _launched if known.poll() is None]
        log.info("Started a training run")


STARTING = "Starting"
ENDED = "Ended: "
"""The trainer's last line begins with this; a run without it was killed."""
AS_ASKED = "as asked"

LITTLE_ROOM = 50e6
"""Bytes free below which a silent end is put down to a full disk."""

_launched: list[subprocess.Popen[bytes]] = []


def _since_start(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return what was said since the trainer was last started: how an earlier one ended says nothing of this one."""
    return words[len(words) - words[::-1].index(STARTING) :] if STARTING in words else words


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _broken_sentence(run: RunFolder, words: tuple[str, ...]) -> str:
    went = "It can go on from its last checkpoint." if run.checkpoint.is_file() else "It can be started again."
    if shutil.disk_usage(run.path).free < LITTLE_ROOM:
        went = f"The disk is full: free at least 2 GB. {went}"
    last = f" Its last line: {words[-1][:200]}" if words else ""
    return f"The training process ended without a word, as when it is killed or the computer stops. {went}{last}"

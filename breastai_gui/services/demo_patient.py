"""The demo patient's files: made once in a process of their own, then kept in the program's cache."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from typing import TYPE_CHECKING

from breastai_gui import __version__
from breastai_gui.services.jobs import Cancelled
from breastai_gui.services.places import worker_command

if TYPE_CHECKING:
    from pathlib import Path

    from breastai_gui.services.jobs import Task
    from breastai_gui.services.places import Places

COMPLETE = "complete"
"""A file of this name stands beside the images once all of them are written."""


class DemoError(Exception):
    """The demo patient could not be made; the text is one sentence."""


def demo_patient(places: Places, task: Task | None = None) -> Path:
    """Return the folder with the demo patient's DICOM files, written first where they are not there.

    Parameters
    ----------
    places
        Its cache holds them.
    task
        Cancelled, it ends the process that makes them.

    Raises
    ------
    DemoError
        If they could not be made.
    Cancelled
        If the task was cancelled.
    """
    folder = places.cache / f"demo-patient-{__version__}"
    if (folder / COMPLETE).is_file():
        return folder / "dicom"
    making = places.cache / f"demo-patient-{secrets.token_hex(4)}"  # two programs may make it at once
    try:
        make_demo(making / "dicom", task)
        (making / COMPLETE).touch()
        if not (folder / COMPLETE).is_file():
            shutil.rmtree(folder, ignore_errors=True)
            making.replace(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder / "dicom"


def make_demo(folder: Path, task: Task | None = None, seed: int = 1) -> None:
    """Write one made-up patient below a folder, in another process: the window stays quick, and it can be given up.

    Raises
    ------
    DemoError
        If that process failed.
    Cancelled
        If the task was cancelled.
    """
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        worker_command("phantom", str(folder), "--seed", str(seed)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    if task is not None:
        task.when_cancelled(process.kill)
    _, complaint = process.communicate()
    if task is not None:
        task.when_cancelled(lambda: None)
        if task.cancelled:
            raise Cancelled
    if process.returncode:
        lines = complaint.decode("utf-8", "replace").strip().splitlines()
        raise DemoError(f"The demo patient could not be made: {lines[-1] if lines else f'its process ended with {process.returncode}'}")

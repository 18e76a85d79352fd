"""What `breastai train RUN` does: prepare the cases, identity left behind, then train. Runs in a process of its own.

Everything printed lands in the run's `output.txt`: sentences with case numbers, never a name or a path. The window
translates numbers through `cohort.json`. Started by torchrun or srun there are several of it: the first prepares the cases, prints and
writes, the others wait for it and compute.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from filelock import Timeout

from breastai_gui.services.training_runs import AS_ASKED, ENDED
from breastai_model.run_folder import RunFolder
from breastai_model.training.processes import place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from breastai_model.network.net import BreastNet

PATIENTS_A_PROCESS = 16
"""Fewer are made sooner than another process has started (2 s)."""
_NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


class _Terminated(Exception):
    """The system asked this process to end."""


def main(run_folder: Path) -> int:
    """Train what the folder's plan says, from where it stands. Returns the exit code: 0 finished or paused, 1 failed."""
    run = RunFolder(run_folder)
    if not run.has_plan():
        print(f"{ENDED}this folder holds no training run.")  # noqa: T201  output.txt is this process's standard output
        return 1
    if not place().first:
        return _follow(run)
    lock = run.lock()
    try:
        lock.acquire()
    except Timeout:
        print("Another process trains in this folder.")  # noqa: T201
        return 1
    run.say = _print
    code, sentence = _guarded(run, _work)
    # A full disk may also hold output.txt: the exit code says then that something failed. The lock goes last, so that no
    # watcher sees a silent end.
    try:
        print(f"{ENDED}{sentence}", flush=True)  # noqa: T201
    except OSError:
        code = 1
    lock.release()
    return code


def _follow(run: RunFolder) -> int:
    """Be one of the further processes; return the exit code."""
    code, sentence = _guarded(run, _help)
    if code:
        print(f"Process {place().rank + 1} of {place().world}: {sentence}", file=sys.stderr, flush=True)  # noqa: T201
    return code


def _guarded(run: RunFolder, work: Callable[[RunFolder], tuple[int, str]]) -> tuple[int, str]:
    """Return exit code and last words, whatever happens."""
    try:
        signal.signal(signal.SIGTERM, _terminate)
        return work(run)
    except _Terminated:
        if place().world > 1:
            return 1, f"all {place().world} training processes were stopped, because one of them died or the system asked. {_CAN_GO_ON}"
        return 0, f"{AS_ASKED} by the system; it can go on from its last checkpoint."
    except KeyboardInterrupt:
        return 0, f"{AS_ASKED} from the keyboard; it can go on from its last checkpoint."
    except Exception as error:  # noqa: BLE001  the border of a process: the last words must be a sentence
        return 1, _sentence(error)


_CAN_GO_ON = "The run can go on from its last checkpoint."


def _print(sentence: str) -> None:
    print(sentence, flush=True)  # noqa: T201


def _terminate(*_: object) -> None:
    raise _Terminated


def _work(run: RunFolder) -> tuple[int, str]:
    if run.result() is not None:
        return 0, "this run is finished already."
    begin = _beginning(run.plan().start_from)
    prepare_cases(run)
    if run.stop_wish() == "pause":
        return 0, f"{AS_ASKED}, before training began."
    run.tell_ready()
    sentence = _trained(run, begin)
    run.clear_stop()  # it was heard: whoever goes on by hand is not stopped again
    return 0, sentence


def _help(run: RunFolder) -> tuple[int, str]:
    """Wait for the first process to prepare the cases, then compute with it."""
    while not run.is_ready():
        if run.stop_wish() == "pause":
            return 0, ""
        time.sleep(0.5)
    return (0, "") if run.result() is not None else (0, _trained(run, _beginning(run.plan().start_from)))


def _trained(run: RunFolder, begin: Callable[[BreastNet], None] | None) -> str:
    from breastai_model.training.cross_validation import train

    return train(run, begin)


def _beginning(backbone: str) -> Callable[[BreastNet], None] | None:
    """Return what starts a fresh network from the imported backbone that the plan names."""
    if not backbone:
        return None
    from breastai_gui.services.backbones import backbone_file
    from breastai_gui.services.places import Places
    from breastai_model.network.imported_backbone import load_backbone

    path = backbone_file(backbone, Places())

    def begin(net: BreastNet) -> None:
        load_backbone(net, path)

    return begin


def prepare_cases(run: RunFolder) -> None:
    """Make the run's cases, where they are not there yet: of its phantom cohort, or of the folders that cohort.json names."""
    if run.plan().data is None:
        _prepare_folders(run)
    else:
        _prepare_phantoms(run)


def _prepare_phantoms(run: RunFolder) -> None:
    from breastai_model.phantom.cohort import PhantomCohort, write_cohort
    from breastai_model.training.cases import prepare_phantoms

    plan = run.plan()
    if plan.data is None or len(run.case_paths()) == plan.data.patients:
        return
    run.say(f"Making {plan.data.patients} made-up patients of the scenario {plan.data.scenario}.")
    folder, processes = run.path / "phantoms", min(os.cpu_count() or 1, -(-plan.data.patients // PATIENTS_A_PROCESS))
    write_cohort(folder, plan.data, processes=processes, tell=run.tell_preparing)
    prepare_phantoms(PhantomCohort(folder), plan.recipe, run, run.tell_preparing, processes)


def _prepare_folders(run: RunFolder) -> None:
    """Turn the cohort's folders into numbered cases that hold no identity; a case that is there already is kept.

    A case that cannot be read any more (its files changed since the check) is named by its number and left out.
    """
    from pathlib import Path

    from breastai_gui.data.reader_process import Reader
    from breastai_gui.data.study import ReadError
    from breastai_gui.services.assess import AssessError, case_of
    from breastai_gui.services.cohort import accepted_choices, labels_from_json, read_study
    from breastai_model.prepare import prepare
    from breastai_model.training.dataset import case_arrays

    recipe = run.plan().recipe
    entries = run.cohort()["cases"]
    missing = [entry for entry in entries if not run.case_path(entry["number"]).is_file()]
    if not missing:
        return
    with Reader() as reader:
        for done, entry in enumerate(entries, start=1):
            number = entry["number"]
            if not run.case_path(number).is_file():
                try:
                    study = read_study(Path(entry["folder"]), reader)
                    case = case_of(study, accepted_choices(entry["accepted"]), "joint")
                    run.write_case(number, case_arrays(prepare(case, recipe), labels_from_json(entry["labels"]), entry["group"]))
                except (ReadError, AssessError, ValueError):
                    # Not the reader's own words: they may name a file, and files may be named after patients.
                    run.tell_note(f"Case {number} was left out: its files can no longer be used as they were at the check.")
            run.tell_preparing(done, len(entries))
            if run.stop_wish() == "pause":
                return


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError):
        if error.errno in _NO_ROOM:
            return f"the disk is full: free at least 2 GB and go on. {_CAN_GO_ON}"
        return f"a file cannot be written ({error.strerror})."
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):
        return "memory ran out: choose a smaller batch or preset."
    if type(error).__module__.startswith("breastai") or isinstance(error, ValueError):
        return str(error)
    words = (str(error).splitlines() or ["no reason given"])[0]
    if place().world > 1 and (type(error).__name__.startswith("Dist") or "gloo" in words):
        return f"the connection to another of the {place().world} training processes was lost: that process may have died. {_CAN_GO_ON}"
    return f"an unexpected failure ({type(error).__name__}): {words}"

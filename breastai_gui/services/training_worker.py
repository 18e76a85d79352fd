"""What `breastai train RUN` does: prepare the cases, identity left behind, then train. Runs in a process of its own.

Everything printed lands in the run's `output.txt`: sentences with case numbers, never a name or a path. The window
translates numbers through `cohort.json`.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from filelock import Timeout

from breastai_gui.services.training_runs import AS_ASKED, ENDED
from breastai_model.run_folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path


class _Terminated(Exception):
    """The system asked this process to end."""


def main(run_folder: Path) -> int:
    """Train what the folder's plan says, from where it stands. Returns the exit code: 0 finished or paused, 1 failed."""
    run = RunFolder(run_folder)
    if not run.has_plan():
        print(f"{ENDED}this folder holds no training run.")  # noqa: T201  output.txt is this process's standard output
        return 1
    lock = run.lock()
    try:
        lock.acquire()
    except Timeout:
        print("Another process trains in this folder.")  # noqa: T201
        return 1
    try:
        signal.signal(signal.SIGTERM, _terminate)
        code, sentence = _work(run)
    except _Terminated:
        code, sentence = 0, f"{AS_ASKED} by the system; it can go on from its last checkpoint."
    except KeyboardInterrupt:
        code, sentence = 0, f"{AS_ASKED} from the keyboard; it can go on from its last checkpoint."
    except Exception as error:  # noqa: BLE001  the border of a process: the last words must be a sentence
        code, sentence = 1, _sentence(error)
    finally:
        sys.stdout.flush()
    print(f"{ENDED}{sentence}", flush=True)  # noqa: T201  before the lock goes, so that no watcher sees a silent end
    lock.release()
    return code


def _terminate(*_: object) -> None:
    raise _Terminated


def _work(run: RunFolder) -> tuple[int, str]:
    if run.result() is not None:
        return 0, "this run is finished already."
    prepare_cases(run)
    if run.stop_wish() == "pause":
        return 0, f"{AS_ASKED}, before training began."
    from breastai_model.training.train import train

    return 0, train(run)


def prepare_cases(run: RunFolder) -> None:
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
                    sentence = f"Case {number} was left out: its files can no longer be used as they were at the check."
                    run.tell_note(sentence)
                    print(sentence, flush=True)  # noqa: T201
            run.tell_preparing(done, len(entries))
            if run.stop_wish() == "pause":
                return


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError):
        full = error.errno == 28
        return "the disk is full: free at least 2 GB and go on." if full else f"a file cannot be written ({error.strerror})."
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "memory ran out: choose a smaller batch or preset."
    if type(error).__module__.startswith("breastai") or isinstance(error, ValueError):
        return str(error)
    return f"an unexpected failure ({type(error).__name__}): {(str(error).splitlines() or ['no reason given'])[0]}"

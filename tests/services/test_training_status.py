"""What a watcher reads of a run at the very moment at which it ends."""

import subprocess
import sys
import time
from pathlib import Path

from breastai_gui.services.places import Places
from breastai_gui.services.training_runs import AS_ASKED, ENDED, TrainingRuns
from breastai_model.plan import plan_with
from breastai_model.recipe import preset
from breastai_model.run_folder import RunFolder

ENDS = 40
ENDING = f"""
import random, sys, time
from pathlib import Path
from breastai_model.run_folder import RunFolder
chance = random.Random(1)
for path in sys.argv[1:]:
    run = RunFolder(Path(path))
    lock = run.lock()
    lock.acquire()
    (run.path / "began").touch()
    time.sleep(0.02 * chance.random())
    with run.output.open("ab") as output:
        output.write({f"{ENDED}{AS_ASKED}."!r}.encode() + b"\\n")
    lock.release()
    while not (run.path / "seen").exists():
        time.sleep(0.0005)
"""
"""The last things that a trainer does, one run after the other: its last word, then its lock."""


def test_a_run_that_ends_while_it_is_looked_at_never_reads_as_broken(tmp_path: Path) -> None:
    runs = TrainingRuns(Places())
    folders = [tmp_path / str(number) for number in range(ENDS)]
    for folder in folders:
        run = RunFolder(folder)
        run.create(plan_with("x", preset("tiny"), "stable"), {"cases": []})
        run.output.write_text("Began.\n", "utf-8")
    with subprocess.Popen([sys.executable, "-c", ENDING, *map(str, folders)]) as trainer:
        try:
            for folder in folders:
                while not (folder / "began").exists():
                    assert trainer.poll() is None
                    time.sleep(0.0005)
                states = ["running"]
                while states[-1] == "running":
                    states.append(runs.status(folder).state)
                assert states[-1] == "stopped", f"the run of folder {folder.name} read as {states[-1]} while it ended"
                (folder / "seen").touch()
            assert trainer.wait(timeout=20) == 0
        finally:
            trainer.kill()

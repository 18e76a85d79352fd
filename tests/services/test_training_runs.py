"""Runs: a process of its own that outlives who started it; its state is read from its folder, never remembered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from breastai_gui.data.reader_process import Reader
from breastai_gui.services import training_worker
from breastai_gui.services.cohort import check
from breastai_gui.services.labels_table import propose_columns, read_table
from breastai_gui.services.phantom_cohort import write_phantom_cohort
from breastai_gui.services.places import Places
from breastai_gui.services.training_plan import PRESETS, plan_for
from breastai_gui.services.training_runs import RunError, TrainingRuns
from breastai_model.plan import LOSSES
from breastai_model.run_folder import RunFolder


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    write_phantom_cohort(folder, 6, seed=1)
    table = read_table(folder / "labels.csv")
    with Reader() as reader:
        return check(folder, table, propose_columns(table.header), 20, reader)


def plan(cohort, epochs=2):
    return plan_for("a first try", PRESETS[0], cohort, epochs=epochs, batch_size=4, device="cpu")


def wait_for(runs, folder, condition, seconds=90):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = runs.status(folder)
        if condition(status):
            return status
        time.sleep(0.05)
    pytest.fail(f"the run stayed {status.state}: {RunFolder(folder).last_words()}")


def processes_of(folder) -> list[int]:
    found = subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, text=True, check=False).stdout.split()
    return [int(pid) for pid in found if int(pid) != os.getpid()]


def test_t8_a_run_outlives_the_program_that_started_it_can_pause_go_on_and_finish(cohort):
    """And nothing of it but cohort.json holds a patient's name or a folder's."""
    runs = TrainingRuns(Places())
    folder = runs.start(plan(cohort, epochs=300), cohort)
    status = wait_for(runs, folder, lambda status: status.progress.epochs or not status.alive)
    assert status.state == "running"
    other_window = TrainingRuns(Places())
    assert [(run.folder, run.title, run.state) for run in other_window.list()] == [(folder, "a first try", "running")]
    with pytest.raises(RunError, match="at work already"):
        other_window.go_on(folder)
    with pytest.raises(RunError, match="pause it first"):
        other_window.remove(folder)

    asked = time.monotonic()
    other_window.pause(folder)
    status = wait_for(runs, folder, lambda status: not status.alive)
    assert time.monotonic() - asked < 10
    assert (status.state, status.why[:8]) == ("stopped", "as asked")
    wait_gone(folder)
    done = len(status.progress.epochs)

    other_window.go_on(folder)
    assert runs.status(folder).state in ("starting", "running")
    wait_for(runs, folder, lambda status: len(status.progress.epochs) > done)
    other_window.finish_early(folder)
    status = wait_for(runs, folder, lambda status: not status.alive)
    assert status.state == "finished"
    assert status.result["learnt_from"] + status.result["held_out"] == 6
    assert RunFolder(folder).model.is_file()
    secrets = [b"phantom-00", b"BREASTAI-DEMO", b"Demo^", str(cohort.folder).encode()]
    files = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert b"phantom-00" in files.pop("cohort.json")
    assert len(files) > 10
    assert [name for name, content in files.items() if any(secret in content for secret in secrets)] == []
    with pytest.raises(RunError, match="is finished"):
        runs.go_on(folder)
    runs.remove(folder)
    assert runs.list() == ()


def wait_gone(folder):
    deadline = time.monotonic() + 20
    while processes_of(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_of(folder) == []  # no orphan process


def test_t8_it_goes_on_when_the_starter_is_killed_and_a_killed_trainer_is_called_broken(cohort, tmp_path):
    starter = tmp_path / "starter.py"
    runs = TrainingRuns(Places())
    path = runs._free_folder("killed")
    RunFolder(path).create(plan(cohort, epochs=300), cohort.to_json())
    starter.write_text(
        "import time\nfrom pathlib import Path\nfrom breastai_gui.services.places import Places\n"
        "from breastai_gui.services.training_runs import TrainingRuns\n"
        f"TrainingRuns(Places()).go_on(Path({str(path)!r}))\nprint('started', flush=True)\ntime.sleep(600)\n",
        "utf-8",
    )
    process = subprocess.Popen([sys.executable, str(starter)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    status = wait_for(runs, path, lambda status: status.progress.done or not status.alive)
    assert status.state == "running"
    for pid in processes_of(path):
        os.kill(pid, signal.SIGKILL)
    status = wait_for(runs, path, lambda status: not status.alive)
    assert status.state == "broken"
    assert "ended without a word" in status.why
    assert "It can be started again" in status.why


def test_a_run_that_was_paused_went_on_and_was_killed_is_broken_not_paused(cohort):
    runs = TrainingRuns(Places())
    run = RunFolder(runs._free_folder("went on"))
    run.create(plan(cohort), cohort.to_json())
    run.tell_batch(1, 1, 2, 2, 0.7)
    run.output.write_text("Starting\nEnded: as asked, in epoch 1 of 2; it can go on.\n", "utf-8")
    assert runs.status(run.path).state == "stopped"
    time.sleep(0.02)
    with run.output.open("a") as output:
        output.write("Starting\n")
    assert runs.status(run.path).state == "starting", "it imports; nothing was told since"
    run.tell_note("Went on in epoch 1, after batch 1.")
    run.checkpoint.write_bytes(b"as the killed trainer left it")
    status = runs.status(run.path)
    assert (status.state, status.can_go_on) == ("broken", True)
    assert "ended without a word" in status.why
    assert status.why.endswith("It can go on from its last checkpoint.")


def test_a_run_with_a_damaged_plan_is_broken_and_says_why(cohort):
    runs = TrainingRuns(Places())
    run = RunFolder(runs._free_folder("damaged"))
    run.create(plan(cohort), cohort.to_json())
    (run.path / "plan.json").write_text("{}", "utf-8")
    (status,) = runs.list()
    assert (status.state, status.can_go_on, status.title) == ("broken", False, "damaged")
    assert "plan.json is not a plan of this version of the program" in status.why


def test_the_worker_ends_with_a_sentence_for_every_failure(cohort, capsys):
    run = RunFolder(TrainingRuns(Places())._free_folder("damaged"))
    assert training_worker.main(run.path) == 1
    run.create(plan(cohort), cohort.to_json())
    (run.path / "plan.json").write_text("{}", "utf-8")
    assert training_worker.main(run.path) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Ended: this folder holds no training run."
    assert said[1].startswith("Ended: plan.json is not a plan of this version of the program")
    assert len(said) == 2
    assert not run.is_locked()


def test_the_losses_and_the_start_that_are_chosen_reach_the_plan(cohort):
    stable = plan_for("x", PRESETS[1], cohort, epochs=5, batch_size=4, device="cpu")
    assert (stable.recipe.losses, stable.recipe.subtraction, stable.losses) == ("stable", True, LOSSES["stable"])
    full = plan_for("x", PRESETS[2], cohort, epochs=5, batch_size=6, device="cpu", losses="faithful", start_from="0" * 64)
    assert (full.losses, full.recipe.subtraction, full.recipe.head) == (LOSSES["faithful"], False, "linear")
    assert (full.epochs, full.learning_rate, full.schedule, full.watch) == (5, 1e-4, "plateau", "training")
    assert (full.micro_batch, full.checkpoint_activations, full.start_from) == (1, True, "0" * 64)


def test_a_name_that_cannot_stand_in_a_weights_file_is_refused_at_once(cohort):
    with pytest.raises(RunError, match="name of a model"):
        plan_for("<b>x</b>", PRESETS[0], cohort, epochs=1, batch_size=4, device="cpu")

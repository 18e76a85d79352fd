"""The run folder: what one side writes, the other reads; a kill at any moment leaves something whole."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import time

import numpy as np
import pytest
from safetensors import safe_open

from breastai_model.plan import Plan
from breastai_model.recipe import preset
from breastai_model.run_folder import Epoch, RunFolder
from breastai_model.whole_file import replace_file


def plan(**changes) -> Plan:
    return Plan(name="first try", recipe=preset("tiny"), epochs=2, batch_size=4, **changes)


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "run 中文")
    folder.create(plan(seed=7), {"cases": [{"number": 1}]})
    return folder


def test_plan_and_cohort_come_back_as_written(run):
    again = RunFolder(run.path)
    assert again.plan() == plan(seed=7)
    assert again.cohort() == {"cases": [{"number": 1}]}
    assert again.result() is None
    with pytest.raises(FileExistsError):
        again.create(plan(), {})


@pytest.mark.parametrize(
    "changes",
    [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"validation_share": 1.0}, {"drop_mri": 0.7, "drop_ultrasound": 0.7}],
)
def test_a_plan_that_cannot_be_is_refused(changes):
    with pytest.raises(ValueError, match=r"plan|share"):
        Plan(**{"name": "x", "recipe": preset("tiny"), **changes})


def test_a_damaged_plan_is_said_in_one_sentence(run):
    (run.path / "plan.json").write_text("{", "utf-8")
    with pytest.raises(ValueError, match=r"damaged: plan\.json cannot be read"):
        run.plan()
    (run.path / "plan.json").write_text('{"name": "x", "epochs": 3}', "utf-8")
    with pytest.raises(ValueError, match=r"not a plan of this version of the program: its entry recipe is missing\."):
        run.plan()


def test_progress_counts_cases_then_batches_and_keeps_the_last_telling_of_an_epoch(run):
    run.tell_preparing(2, 3)
    assert (run.progress().stage, run.progress().done, run.progress().total) == ("preparing", 2, 3)
    for batch in (1, 2):
        run.tell_batch(1, batch, 2, 4, 0.9 - 0.1 * batch)
    first = Epoch(1, 0.8, 0.9, {"high_grade": 0.5}, 1e-3, 2.0, True)
    run.tell_epoch(first)
    again = Epoch(1, 0.7, None, {"high_grade": None}, 1e-3, 2.0, False)
    run.tell_epoch(again)  # repeated after a kill
    run.tell_batch(2, 1, 2, 4, 0.5)
    run.tell_note("Case 3 was left out.")
    seen = run.progress()
    assert (seen.stage, seen.done, seen.total) == ("training", 3, 8)
    assert seen.epochs == (again,)
    assert [place for place, _ in seen.batch_losses] == [0.5, 1.0, 1.5]
    assert seen.notes == ("Case 3 was left out.",)


def test_half_a_line_is_left_for_the_next_look_and_spoils_no_later_one(run):
    run.tell_batch(1, 1, 2, 1, 0.5)
    with (run.path / "progress.jsonl").open("ab") as file:
        file.write(b'{"kind": "batch", "epo')
    assert run.progress().done == 1
    run.tell_batch(1, 2, 2, 1, 0.4)
    assert run.progress().done == 2


def test_cases_are_plain_arrays_and_come_in_order(run):
    for number in (10000, 2, 1):
        run.write_case(number, {"mri": np.full((2, 3), number, dtype=np.float16)})
    assert [path.name for path in run.case_paths()] == ["0001.safetensors", "0002.safetensors", "10000.safetensors"]
    with safe_open(run.case_path(2), framework="np") as case:
        values = case.get_tensor("mri")
    assert values.dtype == np.float16
    assert (values == 2).all()


def test_the_lock_tells_whether_a_trainer_lives(run):
    assert not run.is_locked()
    lock = run.lock()
    with lock:
        assert run.is_locked()
    assert not run.is_locked()


def _hold(path) -> None:
    with RunFolder(path).lock():
        time.sleep(60)


def test_the_lock_of_a_killed_trainer_is_free_again(run):
    process = multiprocessing.get_context("spawn").Process(target=_hold, args=(run.path,))
    process.start()
    try:
        deadline = time.monotonic() + 20
        while not run.is_locked() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert run.is_locked()
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert not run.is_locked()


def test_wishes_and_last_words(run):
    assert run.stop_wish() is None
    run.ask_to_stop("finish")
    assert run.stop_wish() == "finish"
    run.ask_to_stop("pause")
    assert run.stop_wish() == "pause"
    run.clear_stop()
    assert run.stop_wish() is None
    assert run.last_words() == ()
    run.output.write_text("one\n\ntwo\nthree\n", "utf-8")
    assert run.last_words(2) == ("two", "three")


def test_r4_a_write_that_fails_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path):
    target = tmp_path / "checkpoint.safetensors"
    target.write_bytes(b"old")

    def half(path):
        path.write_bytes(b"ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        replace_file(target, half)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no umask of this kind")
@pytest.mark.parametrize("umask", [0o022, 0o007])
def test_files_can_be_read_by_whom_the_umask_lets_but_the_names_of_folders_by_the_owner_alone(tmp_path, umask):
    before = os.umask(umask)
    try:
        run = RunFolder(tmp_path / "run")
        run.create(plan(), {"cases": [{"number": 1, "folder": "secret"}]})
        run.write_case(1, {"mri": np.zeros(2)})
        run.ask_to_stop("pause")
        replace_file(tmp_path / "rewritten", lambda path: path.write_bytes(b"old"), 0o600)
        replace_file(tmp_path / "rewritten", lambda path: path.write_bytes(b"new"))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
    assert modes.pop("cohort.json") == 0o600
    assert set(modes) == {"plan.json", "0001.safetensors", "stop", "rewritten"}
    assert set(modes.values()) == {0o666 & ~umask}

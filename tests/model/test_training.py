"""The training loop on made-up patients: it learns, goes on bit for bit, stops when asked, and never keeps a NaN."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from breastai_model.case import TASKS, InputsUsed, Labels
from breastai_model.plan import Plan
from breastai_model.prepare import Prepared
from breastai_model.recipe import preset
from breastai_model.run_folder import RunFolder
from breastai_model.training.augment import augmented, mirrored, rolled, without
from breastai_model.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from breastai_model.training.dataset import CaseFiles, case_arrays
from breastai_model.training.train import Training, TrainingError, train
from breastai_model.weights import read_weights

RECIPE = preset("tiny")


@pytest.fixture(autouse=True)
def _determinism_ends_with_the_test():
    yield
    torch.use_deterministic_algorithms(False)


def made_case(number: int, positive: bool) -> Prepared:
    """A bright ball in the affected breast that washes in when the label is positive, and a dark one in every angle."""
    chance = np.random.default_rng(number)
    mri = chance.uniform(0.2, 0.3, (5, 2, *RECIPE.mri_shape)).astype(np.float32)
    us = chance.uniform(0.4, 0.6, (12, *RECIPE.us_shape)).astype(np.float32)
    mri[1:, 0, 2:6, 8:20, 8:20] += 0.6 if positive else 0.05
    us[:, 8:20, 8:20] = 0.1 if positive else 0.35
    none = InputsUsed((), 0, (), 0, (), False, ())
    return Prepared(mri, np.ones((5, 2), dtype=bool), us, np.ones(12, dtype=bool), ("left", "right"), False, None, (), (), none)


def make_run(path, **changes) -> RunFolder:
    run = RunFolder(path)
    run.create(
        Plan(**{"name": "test", "recipe": RECIPE, "epochs": 3, "batch_size": 3, "device": "cpu", "validation_share": 0.34} | changes), {}
    )
    for number in range(1, 10):
        positive = number % 2 == 0
        labels = Labels(positive, None if number < 3 else positive, not positive)
        run.write_case(number, case_arrays(made_case(number, positive), labels, number))
    return run


def test_it_tells_a_plain_difference_apart_and_leaves_a_whole_model(tmp_path):
    run = make_run(tmp_path / "run", epochs=12, learning_rate=3e-3, drop_view=0.0)
    assert "finished after 12 epochs" in train(run)
    progress = run.progress()
    assert [epoch.number for epoch in progress.epochs] == list(range(1, 13))
    assert progress.done == progress.total == 24
    assert progress.epochs[-1].train_loss < 0.8 * progress.epochs[0].train_loss
    result = run.result()
    assert result["metrics"]["lymph_node_metastasis"]["auc"] == 1.0
    assert (result["learnt_from"], result["held_out"], result["trained_on"]) == (6, 3, "synthetic")
    weights = read_weights(run.model)
    assert (weights.name, weights.metrics["best_epoch"]) == ("test", result["best_epoch"])
    assert weights.recipe == RECIPE
    card = (run.path / "model_card.md").read_text("utf-8")
    assert "Learnt from 6 made-up patients" in card
    assert "| lymph node metastasis | 1.00 |" in card
    assert "say nothing about real patients" in card


def test_t1_paused_and_gone_on_ends_bit_for_bit_where_an_uninterrupted_run_does(tmp_path):
    whole, halved = make_run(tmp_path / "whole"), make_run(tmp_path / "halved")
    train(whole)
    halved.ask_to_stop("pause")  # after the first batch of the first epoch
    assert train(halved).startswith("as asked, in epoch 1 of 3")
    assert halved.result() is None
    halved.clear_stop()
    train(halved)
    assert any("Went on in epoch 1, after batch 1" in note for note in halved.progress().notes)
    one, other = load_file(whole.model), load_file(halved.model)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [e.train_loss for e in whole.progress().epochs] == [e.train_loss for e in halved.progress().epochs]


def test_t1_killed_in_the_middle_it_goes_on_from_the_last_epoch(tmp_path):
    whole, killed = make_run(tmp_path / "whole"), make_run(tmp_path / "killed")
    train(whole)
    code = (
        "from pathlib import Path; from breastai_model.run_folder import RunFolder; "
        f"from breastai_model.training.train import train; train(RunFolder(Path({str(killed.path)!r})))"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not killed.progress().epochs and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert killed.progress().epochs
    assert "finished" in train(killed)
    one, other = load_file(whole.model), load_file(killed.model)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_stop_early_keeps_the_best_epoch(tmp_path):
    run = make_run(tmp_path / "run", epochs=50)
    run.ask_to_stop("finish")
    assert "finished after 1 epochs; the model is that of epoch 1" in train(run)
    assert read_weights(run.model).metrics["epochs"] == 1


def test_t4_a_loss_that_is_no_number_never_reaches_a_checkpoint(tmp_path):
    run = make_run(tmp_path / "run")
    training = Training(run)
    training.train_epoch()
    training.end_epoch()
    with torch.no_grad():  # weights that are finite, whose product is not: what a learning rate that is too large leads to
        training.net.heads["high_ki67"][0].weight.fill_(3e38)
        training.net.heads["high_ki67"][3].weight.fill_(3e38)
    with pytest.raises(TrainingError, match="not a number 3 times in a row"):
        training.run()
    assert all(bool(value.isfinite().all()) for value in load_file(run.checkpoint).values())
    assert len(run.progress().epochs) == 2
    assert sum("skipped" in note for note in run.progress().notes) == 3


def test_a_network_with_nan_is_not_saved(tmp_path):
    net = torch.nn.Linear(2, 2)
    save_checkpoint(tmp_path / "c.safetensors", net, None, {"epoch": 1})
    before = (tmp_path / "c.safetensors").read_bytes()
    with torch.no_grad():
        net.weight[0, 0] = float("nan")
    with pytest.raises(CheckpointError, match="not finite"):
        save_checkpoint(tmp_path / "c.safetensors", net, None, {"epoch": 2})
    assert (tmp_path / "c.safetensors").read_bytes() == before
    (tmp_path / "c.safetensors").write_bytes(before[:-5])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path / "c.safetensors", net, None)


def test_t15_a_changed_plan_is_a_new_run(tmp_path):
    run = make_run(tmp_path / "run")
    run.ask_to_stop("pause")
    train(run)
    plan = (run.path / "plan.json").read_text("utf-8").replace('"learning_rate": 0.001', '"learning_rate": 0.002')
    (run.path / "plan.json").write_text(plan, "utf-8")
    with pytest.raises(TrainingError, match="plan was changed"):
        train(run)


def test_t3_a_damaged_case_is_named_by_its_number(tmp_path):
    run = make_run(tmp_path / "run")
    run.case_path(4).write_bytes(run.case_path(4).read_bytes()[:2000])
    with pytest.raises(ValueError, match="Case 4 is damaged"):
        train(run)


def test_a_case_file_gives_back_what_the_network_takes_and_holds_no_identity(tmp_path):
    run = make_run(tmp_path / "run")
    case = CaseFiles(run.case_paths()).load(3)
    before = made_case(4, True)
    assert np.abs(case.mri - before.mri).max() < 1e-3
    assert np.abs(case.us - before.us).max() < 1e-3
    with np.load(run.case_path(4)) as file:
        assert sorted(file.files) == ["both_orders", "group", "labels", "mri", "mri_present", "right_first", "us", "us_present"]


def test_mirroring_a_sweep_twice_or_rolling_it_round_gives_it_back():
    us = np.random.default_rng(0).random((12, 6, 5), dtype=np.float32)
    present = np.arange(12) != 3
    again, seen = mirrored(*mirrored(us, present))
    assert np.array_equal(again, us)
    assert np.array_equal(seen, present)
    flipped, seen = mirrored(us, present)
    assert np.array_equal(flipped[9], us[3][:, ::-1])  # 45 degrees becomes 135, in the mirror
    assert not seen[9]
    half, half_seen = rolled(us, present, 5)
    assert np.array_equal(half[0], us[5])
    assert np.array_equal(half[11], us[4][:, ::-1])
    # a half turn more, with the mirror at the wrap, is the mirror image of every slice
    whole, whole_seen = rolled(half, half_seen, 7)
    assert np.array_equal(whole, us[:, :, ::-1])
    assert np.array_equal(whole_seen, present)


def test_phases_of_one_patient_are_changed_alike():
    case, plan = made_case(2, True), Plan(name="x", recipe=RECIPE, drop_mri=0.0, drop_ultrasound=0.0)
    for seed in range(20):
        seen = augmented(case, np.random.default_rng(seed), plan)
        for phase in range(2, 5):  # equal before, equal after: one brightness and one shift for all
            assert np.corrcoef(seen.mri[1, 0].ravel(), seen.mri[phase, 0].ravel())[0, 1] > 0.95
        order = [seen.mri[phase, 0].mean() for phase in range(5)]
        assert min(order[1:]) > order[0]
        assert seen.mri_present[0].all()


def test_never_both_modalities_are_taken_and_never_the_only_one():
    plan = Plan(name="x", recipe=RECIPE, drop_mri=0.5, drop_ultrasound=0.5, drop_view=0.9)
    whole, mri_only = made_case(1, False), without(made_case(1, False), "ultrasound")
    kinds = set()
    for seed in range(40):
        seen = augmented(whole, np.random.default_rng(seed), plan)
        kinds.add((bool(seen.mri_present.any()), bool(seen.us_present.any())))
        assert augmented(mri_only, np.random.default_rng(seed), plan).mri_present.any()
    assert kinds == {(True, False), (False, True)}
    assert without(mri_only, "mri").mri_present.any()


def test_labels_of_all_tasks_are_kept_in_order(tmp_path):
    run = make_run(tmp_path / "run")
    assert CaseFiles(run.case_paths()).labels[:3].tolist() == [[0, -1, 1], [1, -1, 0], [0, 0, 1]]
    assert TASKS == ("lymph_node_metastasis", "high_grade", "high_ki67")

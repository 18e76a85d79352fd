"""The training loop on made-up patients: it learns, goes on bit for bit, stops when asked, and never keeps a NaN."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from breastai_model.case import TASKS
from breastai_model.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from breastai_model.training.cross_validation import train
from breastai_model.training.dataset import CaseFiles
from breastai_model.training.train import TrainingError
from breastai_model.weights import read_weights
from training_cases import CHANNELS, RECIPE, made_case, make_run


@pytest.fixture(autouse=True)
def _determinism_ends_with_the_test():
    yield
    torch.use_deterministic_algorithms(False)


def test_it_tells_a_plain_difference_apart_and_leaves_a_whole_model(tmp_path):
    run = make_run(tmp_path / "run", epochs=6, learning_rate=3e-3, drop_view=0.0)
    assert "finished after 6 epochs" in train(run)
    progress = run.progress()
    assert [epoch.number for epoch in progress.epochs] == list(range(1, 7))
    assert progress.done == progress.total == 12
    assert progress.epochs[-1].train_loss < 0.8 * progress.epochs[0].train_loss
    result = run.result()
    assert result["metrics"]["lymph_node_metastasis"]["auc"] == 1.0
    assert (result["learnt_from"], result["held_out"], result["trained_on"]) == (6, 3, "synthetic")
    weights = read_weights(run.model)
    assert (weights.name, weights.metrics["best_epoch"]) == ("test", result["best_epoch"])
    assert weights.recipe == RECIPE
    card = (run.path / "model_card.md").read_text("utf-8")
    assert read_weights(run.model).card == card
    assert "Learnt from 6 made-up patients" in card
    assert "| lymph node metastasis | 1.00 |" in card
    assert "say nothing about real patients" in card


def test_t1_paused_and_gone_on_ends_bit_for_bit_where_an_uninterrupted_run_does(tmp_path):
    whole, halved = (make_run(tmp_path / name, epochs=2) for name in ("whole", "halved"))
    train(whole)
    halved.ask_to_stop("pause")  # after the first batch of the first epoch
    assert train(halved).startswith("as asked, in epoch 1 of 2")
    assert halved.result() is None
    halved.clear_stop()
    train(halved)
    assert any("Went on in epoch 1, after batch 1" in note for note in halved.progress().notes)
    one, other = load_file(whole.model), load_file(halved.model)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [e.train_loss for e in whole.progress().epochs] == [e.train_loss for e in halved.progress().epochs]


def test_stop_early_keeps_the_best_epoch(tmp_path):
    run = make_run(tmp_path / "run", epochs=50, recipe=CHANNELS)
    run.ask_to_stop("finish")
    assert "finished after 1 epochs; the model is that of epoch 1" in train(run)
    assert read_weights(run.model).metrics["epochs"] == 1


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
    run = make_run(tmp_path / "run", recipe=CHANNELS)
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
    with safe_open(run.case_path(4), framework="np") as file:
        assert sorted(file.keys()) == ["both_orders", "group", "labels", "mri", "mri_present", "right_first", "us", "us_present"]


def test_labels_of_all_tasks_are_kept_in_order(tmp_path):
    run = make_run(tmp_path / "run")
    assert CaseFiles(run.case_paths()).labels[:3].tolist() == [[0, -1, 1], [1, -1, 0], [0, 0, 1]]
    assert TASKS == ("lymph_node_metastasis", "high_grade", "high_ki67")

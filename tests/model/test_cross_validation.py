"""A plan with folds: everybody is held out once, from a network that has not met them, and that calibrates the final one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from breastai_model.case import TASKS, Labels
from breastai_model.training.calibrate import calibrated
from breastai_model.training.cross_validation import train
from breastai_model.training.dataset import CaseFiles, case_arrays
from breastai_model.training.features import predict_cases
from breastai_model.training.folds import stratified_folds
from breastai_model.training.predictions import Predictions
from breastai_model.weights import read_weights
from training_cases import CHANNELS, a_plan, made_case, make_run

PATIENTS = 44
"""22 of each answer: a calibration needs 20."""
PLAN = a_plan(recipe=CHANNELS, epochs=1, folds=2, batch_size=8, learning_rate=3e-3, validation_share=0.2)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = make_run(tmp_path_factory.mktemp("folds") / "run", patients=PATIENTS, plan=PLAN)
    try:
        assert train(made).startswith("finished after 1 epochs")
    finally:
        torch.use_deterministic_algorithms(mode=False)
    return made


def test_everybody_is_held_out_once_and_read_by_the_network_of_that_fold(run):
    seen = Predictions.read(run.path / "predictions.json")
    assert sorted(seen.groups.tolist()) == list(range(1, PATIENTS + 1))
    assert np.bincount(seen.folds).tolist() == [PATIENTS // 2] * 2
    cases = CaseFiles(run.case_paths())
    for fold in (0, 1):
        model = read_weights(run.folds / str(fold) / "model.safetensors")
        assert model.metrics["learnt_from"] + model.metrics["held_out"] == PATIENTS // 2
        members = np.flatnonzero(np.isin(cases.groups, seen.groups[seen.folds == fold]))
        for scope, absent in (("both", ""), ("mri", "ultrasound"), ("us", "mri")):
            answers = predict_cases(model.net, cases, members, absent).logits
            assert np.abs(answers - seen.log_odds[scope][seen.folds == fold]).max() < 1e-4


def test_the_out_of_fold_predictions_calibrate_the_final_network_which_is_none_of_the_folds(run):
    final = read_weights(run.model)
    assert final.calibration == calibrated(Predictions.read(run.path / "predictions.json"))
    both = final.calibration.both
    assert all(both.task(task).fitted for task in TASKS)
    assert any(both.task(task).temperature != 1 for task in TASKS)
    assert run.result()["calibrated_on"] == "folds"
    assert run.result()["learnt_from"] + run.result()["held_out"] == PATIENTS
    for fold in (0, 1):
        weights = load_file(run.folds / str(fold) / "model.safetensors")
        assert any(not torch.equal(value, load_file(run.model)[name]) for name, value in weights.items())


def test_a_fold_learns_nothing_of_its_held_out_patients(run, tmp_path):
    """Other pictures of them leave the fold's network what it was, bit for bit; the other fold's learns from them."""
    other = make_run(tmp_path / "other", patients=PATIENTS, plan=PLAN)
    cases = CaseFiles(run.case_paths())
    folds = stratified_folds(cases.labels, cases.groups, 2, PLAN.seed)
    for index in np.flatnonzero(folds == 0):
        answers = [None if answer < 0 else bool(answer) for answer in cases.labels[index]]
        other.write_case(int(index) + 1, case_arrays(made_case(1000 + int(index), False, CHANNELS), Labels(*answers), int(index) + 1))
    try:
        train(other)
    finally:
        torch.use_deterministic_algorithms(mode=False)
    one, same = (load_file(each.folds / "0" / "model.safetensors") for each in (run, other))
    two, changed = (load_file(each.folds / "1" / "model.safetensors") for each in (run, other))
    assert [name for name in one if not torch.equal(one[name], same[name])] == []
    assert [name for name in two if not torch.equal(two[name], changed[name])] != []

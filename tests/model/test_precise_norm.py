"""The norms of F^a after training: what they hold, and that no answer changes."""

from __future__ import annotations

import numpy as np
import torch

from breastai_model.network.masked_norm import MaskedNorm
from breastai_model.network.net import BreastNet
from breastai_model.training.dataset import CaseFiles
from breastai_model.training.features import predict_cases
from breastai_model.training.precise_norm import settle, settle_agnostic_norms
from breastai_model.training.train import Training
from breastai_model.weights import read_weights
from training_cases import CHANNELS, make_run

PATIENTS = 12


def test_a_norm_holds_the_mean_and_variance_of_present_positions_of_all_that_passed():
    chance = np.random.default_rng(1)
    values, present = chance.normal(3.0, 2.0, (10, 5, 4)), chance.random((10, 4)) < 0.6
    norm = MaskedNorm(5, affine=False).eval()
    x, mask = torch.from_numpy(values).float(), torch.from_numpy(present)
    settle([norm], lambda: [norm(x[part], mask[part]) for part in (slice(0, 3), slice(3, 10))])
    wanted = np.stack([values[patient, :, place] for patient, place in np.argwhere(present)])
    assert np.allclose(norm.running_mean, wanted.mean(axis=0), atol=1e-5)
    assert np.allclose(norm.running_var, wanted.var(axis=0, ddof=1), atol=1e-5)
    before = norm.running_mean.clone()
    norm(x + 100, mask)
    assert torch.equal(norm.running_mean, before), "nothing is watched any more"


def test_a_norm_that_nothing_reached_keeps_what_it_has():
    norm = MaskedNorm(3).eval()
    norm.running_mean.fill_(0.5)
    settle([norm], lambda: norm(torch.ones(2, 3, 1), torch.zeros(2, 1, dtype=torch.bool)))
    assert norm.running_mean.tolist() == [0.5] * 3


def test_agnostic_features_of_the_learning_cases_are_centred_and_no_answer_changes(tmp_path):
    cases = CaseFiles(make_run(tmp_path / "run", patients=PATIENTS, recipe=CHANNELS).case_paths())
    everyone = np.arange(PATIENTS)
    torch.manual_seed(1)
    net = BreastNet(CHANNELS).eval()
    before = predict_cases(net, cases, everyone)
    settle_agnostic_norms(net, cases, everyone)
    after = predict_cases(net, cases, everyone)
    assert np.array_equal(before.logits, after.logits)
    for features, earlier in ((after.agnostic_mri, before.agnostic_mri), (after.agnostic_us, before.agnostic_us)):
        assert np.abs(earlier.mean(axis=0)).max() > 0.01, "otherwise there was nothing to settle"
        assert np.abs(features.mean(axis=0)).max() < 1e-3
        assert 0.9 < np.median(features.std(axis=0, ddof=1)) <= 1, "of features with next to no variance 1e-5 in the root takes a part"


def test_the_model_of_a_run_has_settled_norms(tmp_path):
    run = make_run(tmp_path / "run", patients=PATIENTS, recipe=CHANNELS, epochs=1)
    training = Training(run)
    learning = training.learning
    try:
        training.run()
    finally:
        torch.use_deterministic_algorithms(mode=False)
    cases, net = CaseFiles(run.case_paths()), read_weights(run.model).net
    features = predict_cases(net, cases, learning)
    assert np.abs(features.agnostic_mri.mean(axis=0)).max() < 1e-3
    assert np.abs(features.agnostic_us.mean(axis=0)).max() < 1e-3

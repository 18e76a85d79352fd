"""The five published comparators, each fitted on made-up patients: what they answer, what they may see, and that they learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from breastai_model.baselines.adsvm_ranet import adsvm_ranet
from breastai_model.baselines.deep_pachi import deep_pachi
from breastai_model.baselines.efficientnet_lite import EfficientNetLite0, imagenet_file
from breastai_model.baselines.efficientnet_svm import efficientnet_svm
from breastai_model.baselines.mpifr_svm import mpifr_svm
from breastai_model.baselines.particle_swarm import Swarm
from breastai_model.baselines.six_b_net import six_b_net
from breastai_model.baselines.system import Budget
from breastai_model.baselines.systems import SYSTEMS
from breastai_model.phantom.patient import make_patient
from breastai_model.prepare import prepare
from breastai_model.recipe import preset
from breastai_model.run_folder import RunFolder
from breastai_model.training.dataset import CaseFiles, case_arrays

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from breastai_model.baselines.picture_system import FittedPictures, PictureSystem

RECIPE = preset("tiny", mri_shape=(4, 16, 16), mri_spacing_mm=(36.0, 12.0, 12.0), us_shape=(16, 16))
PUBLISHED: dict[str, Callable[[], PictureSystem]] = {
    "mpifr-svm": mpifr_svm,
    "adsvm-ranet": adsvm_ranet,
    "efficientnet-svm": efficientnet_svm,
    "deep-pachi": deep_pachi,
    "6b-net": lambda: six_b_net(Swarm(particles=4, iterations=2)),
}
EPOCHS = {"mpifr-svm": 2, "adsvm-ranet": 8, "efficientnet-svm": 1, "deep-pachi": 30, "6b-net": 4}
"""Until the planted answers are learnt; support vector machines need none."""
SLOW_LEARNERS = ("adsvm-ranet", "deep-pachi")
NO_MRI, NO_ULTRASOUND, NO_GRADE = 2, 5, 1


def written(folder: Path, cases: list[dict[str, Any]]) -> CaseFiles:
    run = RunFolder(folder)
    run.cases.mkdir(parents=True)
    for number, arrays in enumerate(cases, start=1):
        run.write_case(number, arrays)
    return CaseFiles(run.case_paths())


@pytest.fixture(scope="module")
def phantoms() -> list[dict[str, Any]]:
    """Five phantoms and their mirror images, four angles each: one has no MRI, one no ultrasound, one no known grade."""
    patients = [make_patient(300 + number) for number in range(5)]
    made = []
    for number in range(10):
        patient = patients[number // 2]
        arrays = case_arrays(prepare(patient.case, RECIPE), patient.labels, number)
        if number % 2:
            arrays["us"], arrays["mri"] = arrays["us"][..., ::-1], arrays["mri"][..., ::-1]
        arrays["labels"] = np.array([number % 2, (number // 2) % 2, (number // 3) % 2])
        arrays["us_present"] = np.arange(12) % 3 == 0
        made.append(arrays)
    made[NO_MRI]["mri_present"] = np.zeros_like(made[NO_MRI]["mri_present"])
    made[NO_ULTRASOUND]["us_present"] = np.zeros_like(made[NO_ULTRASOUND]["us_present"])
    made[NO_GRADE]["labels"][1] = -1
    return made


def fitted(name: str, cases: CaseFiles, learning: list[int], held_out: list[int], folder: Path, epochs: int = 1) -> FittedPictures:
    budget = Budget(RECIPE, epochs=epochs, batch_size=4, seed=3, learning_rate=1e-3)
    return PUBLISHED[name]().fit(cases, np.array(learning), np.array(held_out), budget, folder, lambda sentence: None)


@pytest.mark.parametrize("name", PUBLISHED)
def test_answers_all_tasks_and_learns_from_nothing_that_is_held_out(name: str, phantoms: list[dict[str, Any]], tmp_path: Path) -> None:
    cases = written(tmp_path / "one", phantoms)
    one = fitted(name, cases, list(range(6)), [6, 7], tmp_path / "fit one")
    answers = one.probabilities(cases, np.arange(8, 10))
    assert answers.shape == (2, 3)
    assert ((answers > 0) & (answers < 1)).all()
    assert one.seconds > 0
    assert one.notes[0].startswith("pictures of 32 x 32")

    # The held-out cases become others, and so do their labels: too few to choose by, so not a digit may move.
    other = [dict(arrays) for arrays in phantoms]
    for number in (6, 7):
        other[number]["us"] = 1 - other[number]["us"]
        other[number]["mri"] = other[number]["mri"][..., ::-1] * np.float16(0.5)
        other[number]["labels"] = 1 - other[number]["labels"]
    changed = written(tmp_path / "two", other)
    two = fitted(name, changed, list(range(6)), [6, 7], tmp_path / "fit two")
    if name == "adsvm-ranet":  # the threshold of its exits is what it may choose there
        for modality in ("mri", "ultrasound"):
            nets = [made.scorers[modality].net.state_dict() for made in (one, two)]
            assert all(torch.equal(nets[0][key], nets[1][key]) for key in nets[0])
    else:
        np.testing.assert_array_equal(two.probabilities(cases, np.arange(8, 10)), answers)

    # An absent modality: named, or absent in the case itself, it is the same; with nothing left the prevalence answers.
    without = one.probabilities(cases, np.array([8]), "mri")
    bare = [dict(arrays) for arrays in phantoms]
    bare[8]["mri_present"] = np.zeros_like(bare[8]["mri_present"])
    bare[8]["mri"] = np.full_like(bare[8]["mri"], 0.7)
    np.testing.assert_array_equal(one.probabilities(written(tmp_path / "bare", bare), np.array([8])), without)
    assert (one.probabilities(cases, np.array([8]), "ultrasound") != without).any()
    nothing = one.probabilities(cases, np.array([NO_MRI]), "ultrasound")
    known = cases.labels[:6]
    np.testing.assert_allclose(nothing[0], [(known[:, task] == 1).sum() / (known[:, task] >= 0).sum() for task in range(3)])


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> CaseFiles:
    """Thirty-two patients of three angles alone whose first two answers show: a bright disc, a dark left half. The third is chance."""
    chance = np.random.default_rng(5)
    row, column = np.mgrid[0:16, 0:16]
    cases = []
    for number in range(32):
        answers = chance.random(3) < 0.5
        us = chance.uniform(0.3, 0.6, (12, 16, 16))
        if answers[0]:
            centre = chance.uniform(6, 9, 2)
            us[:, (row - centre[0]) ** 2 + (column - centre[1]) ** 2 < 12] += 0.35
        if answers[1]:
            us[:, 10:] *= 0.4
        cases.append(
            {
                "mri": np.zeros((5, 2, *RECIPE.mri_shape), dtype=np.float16),
                "mri_present": np.zeros((5, 2), dtype=bool),
                "us": us.astype(np.float16),
                "us_present": np.arange(12) % 4 == 0,
                "right_first": np.array(False),
                "both_orders": np.array(False),
                "labels": answers.astype(np.int64),
                "group": np.array(number),
            }
        )
    return written(tmp_path_factory.mktemp("planted") / "run", cases)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] if name in SLOW_LEARNERS else []) for name in PUBLISHED])
def test_learns_what_the_pictures_show(name: str, planted: CaseFiles, tmp_path: Path) -> None:
    made = fitted(name, planted, list(range(16)), list(range(16, 20)), tmp_path / "fit", epochs=EPOCHS[name])
    new = np.arange(20, 32)
    answers = made.probabilities(planted, new)
    for task in (0, 1):
        positive = planted.labels[new, task] == 1
        assert np.mean(answers[positive, task][:, None] > answers[~positive, task][None, :]) > 0.85


def test_they_stand_in_the_table_under_their_names() -> None:
    order = ["mpifr-svm", "adsvm-ranet", "efficientnet-svm", "deep-pachi", "6b-net"]
    assert [name for name in SYSTEMS if name in order] == order
    for name in order:
        system = SYSTEMS[name]()
        assert system.name == name
        assert len(system.source) > 40


def test_the_source_says_where_the_feature_network_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    here = mpifr_svm().source
    assert ("ImageNet weights" in here) == (imagenet_file() is not None)
    monkeypatch.setattr("breastai_model.baselines.efficientnet_lite.FILE", ("no_such_package", "file.pth"))
    for make in (mpifr_svm, adsvm_ranet, efficientnet_svm):
        assert "from scratch (the optional package is absent)" in make().source


def test_without_the_package_the_feature_network_is_taught_and_the_table_says_so(
    planted: CaseFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("breastai_model.baselines.efficientnet_lite.FILE", ("no_such_package", "file.pth"))
    made = fitted("efficientnet-svm", planted, list(range(6)), [], tmp_path / "fit")
    assert any("taught from scratch" in note for note in made.notes)
    assert (tmp_path / "fit" / "ultrasound-efficientnet-lite0" / "best.safetensors").is_file()
    torch.manual_seed(3)
    untaught = EfficientNetLite0().state_dict()
    taught = made.scorers["ultrasound"].net.state_dict()
    assert any(not torch.equal(untaught[key], taught[key]) for key in untaught)

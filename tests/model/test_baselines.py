"""Every comparator of ours: it learns, answers all three tasks with any inputs, and never looks where it must not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from breastai_model.baselines.absence import prevalence, shown
from breastai_model.baselines.shaspec import ShaSpecNet
from breastai_model.baselines.small_networks import EarlyConcatenation
from breastai_model.baselines.system import PieceOver
from breastai_model.baselines.systems import SYSTEMS
from breastai_model.case import Labels
from breastai_model.prepare import collate
from breastai_model.training.dataset import CaseFiles
from breastai_model.training.evaluate import auc
from comparator_cases import PLAIN, Spoilt, Watched, a_budget, case_files, phantom_files, plain_case, plain_files

if TYPE_CHECKING:
    from pathlib import Path

    from breastai_model.baselines.system import Absent, Budget, Fitted

OF_PICTURES = ("mpifr-svm", "adsvm-ranet", "efficientnet-svm", "deep-pachi", "6b-net")
"""Tested on their own."""
NAMES = tuple(name for name in SYSTEMS if name not in OF_PICTURES)
LEARNING, HELD_OUT, TEST = np.arange(6), np.arange(6, 8), np.arange(8, 10)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> CaseFiles:
    return phantom_files(tmp_path_factory.mktemp("phantoms") / "run", 10)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> CaseFiles:
    return plain_files(tmp_path_factory.mktemp("plain") / "run", 48)


def fitted(
    name: str, cases: CaseFiles, budget: Budget, folder: Path, learning: np.ndarray = LEARNING, held_out: np.ndarray = HELD_OUT
) -> Fitted:
    folder.mkdir(parents=True, exist_ok=True)
    return SYSTEMS[name]().fit(cases, learning, held_out, budget, folder, lambda _: None)


def test_the_systems_stand_in_the_order_of_the_tables() -> None:
    assert list(SYSTEMS) == [
        *("mum-net", "mpifr-svm", "adsvm-ranet"),
        *("prevalence", "hand-features", "us-only", "mri-only", "late-fusion", "early-concat"),
        *("ours", "without-mmaff", "without-affinity", "without-adversary", "without-lc", "faithful", "channels", "head-inputs-full"),
        *("shaspec", "efficientnet-svm", "deep-pachi", "6b-net"),
    ]
    for name, make in SYSTEMS.items():
        system = make()
        assert system.name == name
        assert len(system.title) > 3
        assert len(system.source) > 30  # a publication, and what was changed


@pytest.mark.parametrize("name", NAMES)
def test_a_system_learns_and_answers(name: str, phantoms: CaseFiles, tmp_path: Path) -> None:
    watched = Watched(phantoms)
    system = fitted(name, watched, a_budget(), tmp_path)
    assert watched.read <= set(LEARNING.tolist() + HELD_OUT.tolist())
    assert system.seconds >= 0

    for absent in ("", "mri", "ultrasound"):
        answers = system.probabilities(phantoms, TEST, absent)
        assert answers.shape == (2, 3)
        assert answers.dtype == np.float64
        assert ((answers >= 0) & (answers <= 1)).all()
        if absent:
            assert np.array_equal(system.probabilities(Spoilt(phantoms, "mri" if absent == "mri" else "us"), TEST, absent), answers)


@pytest.mark.parametrize(("name", "absent"), [("us-only", "ultrasound"), ("mri-only", "mri")])
def test_what_a_system_cannot_see_is_answered_with_the_prevalence(name: str, absent: Absent, phantoms: CaseFiles, tmp_path: Path) -> None:
    system = fitted(name, phantoms, a_budget(), tmp_path)
    share = prevalence(phantoms.labels[LEARNING])
    assert np.allclose(system.probabilities(phantoms, TEST, absent), share)
    other: Absent = "mri" if absent == "ultrasound" else "ultrasound"
    assert np.array_equal(system.probabilities(phantoms, TEST, other), system.probabilities(phantoms, TEST))
    assert not np.allclose(system.probabilities(phantoms, TEST), share)


def test_late_fusion_is_the_mean_of_what_is_there(plain: CaseFiles, tmp_path: Path) -> None:
    system = fitted("late-fusion", plain, a_budget(1, PLAIN), tmp_path)
    mri, us = (fitted(name, plain, a_budget(1, PLAIN), tmp_path / name).probabilities(plain, TEST) for name in ("mri-only", "us-only"))
    assert np.allclose(system.probabilities(plain, TEST), (mri + us) / 2)
    assert np.allclose(system.probabilities(plain, TEST, "ultrasound"), mri)
    assert np.allclose(system.probabilities(plain, TEST, "mri"), us)


@pytest.mark.parametrize("name", ["ours", "early-concat"])
def test_the_same_seed_gives_the_same_answers_also_in_pieces(name: str, plain: CaseFiles, tmp_path: Path) -> None:
    def answers(folder: Path, seed: int) -> np.ndarray:
        return fitted(name, plain, a_budget(2, PLAIN, seed), folder).probabilities(plain, TEST)

    whole = answers(tmp_path / "whole", 1)
    piece = a_budget(2, PLAIN, 1)
    with pytest.raises(PieceOver, match="it can go on"):
        fitted(name, plain, type(piece)(PLAIN, 2, 8, 1, 3e-3, deadline=0.0), tmp_path / "pieces")
    assert np.array_equal(answers(tmp_path / "pieces", 1), whole)
    assert not np.array_equal(answers(tmp_path / "other", 2), whole)


@pytest.mark.parametrize("name", ["early-concat", "ours"])
def test_a_folder_of_another_budget_is_refused(name: str, plain: CaseFiles, tmp_path: Path) -> None:
    fitted(name, plain, a_budget(1, PLAIN), tmp_path)
    with pytest.raises(ValueError, match="another budget"):
        fitted(name, plain, a_budget(1, PLAIN, learning_rate=1e-3), tmp_path)


@pytest.mark.parametrize("name", ["ours", "mum-net", "us-only", "mri-only", "early-concat", "shaspec", "hand-features"])
def test_an_easy_sign_is_learnt(name: str, plain: CaseFiles, tmp_path: Path) -> None:
    learning, held_out, test = np.arange(24), np.arange(24, 30), np.arange(30, 48)
    system = fitted(name, plain, a_budget(3, PLAIN, learning_rate=5e-3, batch_size=6), tmp_path, learning, held_out)
    answers = system.probabilities(plain, test)
    for task in (0, 1):
        value = auc(answers[:, task], plain.labels[test, task])
        assert value is not None
        assert value > 0.9
    for absent in ("mri", "ultrasound"):  # with one modality dropped while learning, the other is read as well
        value = auc(system.probabilities(plain, test, absent)[:, 0], plain.labels[test, 0])
        assert value is not None
        # "ours": its norms have seen a dozen steps, a modality alone in a third of them; `breastai prove` measures it properly
        if name not in ("us-only", "mri-only", "mum-net", "ours"):
            assert value > 0.8


@pytest.mark.parametrize("net", [EarlyConcatenation, ShaSpecNet])
def test_a_missing_label_teaches_nothing(net: type[EarlyConcatenation | ShaSpecNet]) -> None:
    torch.manual_seed(1)
    chance = np.random.default_rng(1)
    batch = collate([shown(plain_case(chance, positive=number % 2 == 0), "") for number in range(4)])
    made = net(PLAIN)
    labels = torch.tensor([[1, 0, -1], [0, -1, -1], [1, 1, -1], [-1, 0, -1]])
    made.loss(batch, labels).backward()
    gradient = made.heads[-1].bias.grad
    assert gradient is not None
    assert (gradient[:4] != 0).all()
    assert (gradient[4:] == 0).all()  # both answers of the third task


def test_a_question_without_answers_is_not_answered(plain: CaseFiles, tmp_path: Path) -> None:
    plain = CaseFiles(plain._paths)
    plain.labels[:, 2] = -1
    for name in ("prevalence", "hand-features", "early-concat"):
        system = fitted(name, plain, a_budget(1, PLAIN), tmp_path / name)
        answers = system.probabilities(plain, TEST)
        assert np.isfinite(answers).all()
        assert name == "early-concat" or np.allclose(answers[:, 2], 0.5)


def test_faithful_does_not_know_the_affected_side(plain: CaseFiles, tmp_path: Path) -> None:
    # The same patient, stored with the right breast first: `faithful` reads (left, right), ours reads (affected, other).
    chance = np.random.default_rng(3)
    case = plain_case(chance, positive=True)
    answers = Labels(lymph_node_metastasis=True, high_grade=None, high_ki67=False)
    pair = case_files(tmp_path / "run", [(case, answers), (case.swapped(), answers)], PLAIN)
    for name, alike in (("faithful", True), ("ours", False)):
        system = fitted(name, plain, a_budget(1, PLAIN), tmp_path / name)
        first, second = system.probabilities(pair, np.arange(2))
        assert np.array_equal(first, second) == alike

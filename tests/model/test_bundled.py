"""``breastai train --bundled``: one command from nothing to the weights file that the program ships with."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from breastai_model.case import TASKS
from breastai_model.phantom.cohort import PhantomCohort
from breastai_model.prepare import prepare
from breastai_model.proof.prove import Wish, pieces_of, prove
from breastai_model.proof.weights_pieces import Given
from breastai_model.recipe import preset
from breastai_model.run_folder import RunFolder
from breastai_model.training import bundled, bundled_cases
from breastai_model.training.cases import prepare_phantoms
from breastai_model.training.dataset import CaseFiles
from breastai_model.training.lesion_window import lesion_place
from breastai_model.training.train import TrainingError
from breastai_model.weights import read_weights

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = ["--preset", "tiny", "--patients", "24", "--calibration", "24", "--full-size", "1", "--window-epochs", "1", "--whole-epochs", "1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundled")
    assert bundled.main(["--out", str(folder), *COMMAND, "--minutes", "0"]) == bundled.NOT_YET
    assert not list(folder.glob("*.safetensors")), "its time was over before the first epoch"
    assert bundled.main(["--out", str(folder), *COMMAND]) == 0
    return folder


def test_the_weights_carry_calibration_distribution_and_where_they_come_from(made: Path) -> None:
    path = made / "breastai-demonstration.safetensors"
    weights = read_weights(path)
    assert weights.recipe.trained_on == "synthetic"
    assert (weights.metrics["phantoms"], weights.metrics["calibrated_on"], weights.metrics["full_size"]) == (24, 24, 1)
    assert weights.calibration is not None
    assert weights.distribution is not None
    assert set(weights.metrics["auc"]) == {"both", "mri", "us"}
    assert (made / "SHA256SUMS").read_text().split()[0] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not any("readout" in name for name in weights.net.state_dict())


def test_the_second_stage_begins_with_the_first_ones_network_and_asks_for_latents(made: Path) -> None:
    for stage, weight in (("windows", 1.0), ("whole", 0.5)):
        run = RunFolder(made / stage)
        assert run.plan().losses.lambda_latents == weight
        (epoch,) = run.progress().epochs
        assert 0 < epoch.parts["L_Z"] < 10
    first, second = (RunFolder(made / stage).progress().epochs[0].train_loss for stage in ("windows", "whole"))
    assert second < first


def test_started_again_it_goes_on_and_writes_the_same_weights(made: Path) -> None:
    path = made / "breastai-demonstration.safetensors"
    before, epochs = read_weights(path), len(RunFolder(made / "windows").progress().epochs)
    path.unlink()
    bundled.main(["--out", str(made), *COMMAND])
    after = read_weights(path)  # the texts in a safetensors file stand in any order, so its hash is another
    assert all(torch.equal(value, after.net.state_dict()[name]) for name, value in before.net.state_dict().items())
    assert (after.metrics, after.calibration) == (before.metrics, before.calibration)
    assert len(RunFolder(made / "windows").progress().epochs) == epochs


def test_a_folder_that_was_begun_with_other_numbers_is_refused(made: Path) -> None:
    with pytest.raises(TrainingError, match="windows was begun with other numbers"):
        bundled.main(["--out", str(made), *COMMAND, "--window-epochs", "2"])


def test_the_control_networks_differ_in_what_they_control(made: Path) -> None:
    bundled.main(["--out", str(made), *COMMAND, "--control", "shuffled"])
    bundled.main(["--out", str(made), *COMMAND, "--control", "leaky"])
    shuffled, leaky, ours = (read_weights(made / f"{name}.safetensors") for name in ("shuffled", "leaky", "breastai-demonstration"))
    assert shuffled.recipe == ours.recipe
    assert (leaky.recipe.agnostic_norm, ours.recipe.agnostic_norm) == (False, True)
    assert shuffled.calibration is leaky.calibration is None
    parts = {name: RunFolder(made / f"{name}windows").progress().epochs[0].parts for name in ("", "shuffled-", "leaky-")}
    assert parts["shuffled-"]["L_Z"] == 0 < parts["leaky-"]["L_Z"]
    assert parts["leaky-"]["L_C"] == 0 < parts["shuffled-"]["L_C"]


def place_of(cohort: PhantomCohort, index: int) -> list[int]:
    stored, recipe = cohort.patient(index), preset("compact")
    affine = prepare(stored.case, recipe).mri_affine
    assert affine is not None
    return lesion_place(stored.lesion_mm, stored.side, affine, recipe.mri_shape)


def test_a_window_shows_the_lesion_where_it_lies(made: Path) -> None:
    """On a finer grid than the tiny one, so that the window is smaller than the breast."""
    cohort, recipe = PhantomCohort(made / "learn-cohort"), preset("compact")
    run = RunFolder(made / "fine")
    prepare_phantoms(cohort, recipe, run, lambda _done, _all: None, 1)
    lesions = np.array([place_of(cohort, index) for index in range(3)])
    cases = bundled_cases.WindowCases(run.case_paths()[:3], cohort.latents, 1.0, lesions)
    for index in range(3):
        window, stored = cases.load(index), cohort.patient(index)
        assert window.mri.shape[2:] == bundled_cases.WINDOW
        whole = prepare(stored.case, recipe).mri
        # The brightest place of the early subtraction near the stored lesion is in the window, with the same values.
        place = tuple(lesions[index])
        change = (whole[1, 0] - whole[0, 0])[place]
        assert np.isclose((window.mri[1, 0] - window.mri[0, 0]), change, atol=2e-3).any()
        assert change > 0.02


def test_without_the_other_breast_only_that_is_gone(made: Path) -> None:
    cohort = PhantomCohort(made / "learn-cohort")
    paths = RunFolder(made / "learn").case_paths()
    alone, whole = bundled_cases.LearningCases(paths, cohort.latents, 0.0), CaseFiles(paths)
    for index in (0, 1):
        assert alone.load(index).mri_present[:, 0].all()
        assert not alone.load(index).mri_present[:, 1].any()
        assert np.array_equal(alone.load(index).mri, whole.load(index).mri)


def test_the_labels_are_those_of_the_clinic(made: Path) -> None:
    described = json.loads((made / "learn-cohort" / "cohort.json").read_text())
    assert described["data"] == {"scenario": "clinic", "patients": 24, "seed": bundled_cases.LEARN_SEED}
    assert np.array(described["labels"]).shape == (24, len(TASKS))


def test_weights_are_judged_on_fresh_phantoms_beside_their_controls(made: Path, tmp_path: Path) -> None:
    """Every claim of `breastai prove --weights` is measured, on too few phantoms to say much; nothing is measured twice."""
    bundled.main(["--out", str(made), *COMMAND, "--control", "leaky"])
    given = Given(made / "breastai-demonstration.safetensors", leaky=made / "leaky.safetensors", cohort=made / "calibration-cohort")
    # One control is brought, the other is made.
    wish = Wish(given=replace(given, controls=bundled.Wish(patients=16, window_epochs=1, preset="tiny")), weights_alone=True)
    assert [piece.name for piece in pieces_of(wish)][:2] == ["control-phantoms", "control-shuffled"]
    assert prove(wish, tmp_path, 10.0, 1, lambda _line: None)
    table = json.loads((tmp_path / "result.json").read_text("utf-8"))
    rows = {row["claim"]: row for piece in table["pieces"] for row in piece["rows"]}
    for claim in (
        *(f"{task} {what}" for task in TASKS for what in ("AUC", "AUC, MRI", "AUC, US", "ECE", "coverage, negative", "coverage, positive")),
        *("false alarms", "probe, MLP(64)", "control network of the probe", "positive control of the probe", "retrieval"),
        *("F^a_M → s", "F^a_M → p_M", "F^s_U → p_U", "us_agnostic feature, hit", "mri_agnostic high_grade, target"),
    ):
        assert claim in rows
        few = "coverage" in claim or "ECE" in claim  # calibrated on 24: too few for sets
        assert few or rows[claim]["measured"] is not None, claim
    assert "labels shuffled" in rows["us_agnostic feature, hit"]["note"]
    stamp = (tmp_path / "pieces" / "reading-1.json").stat().st_mtime_ns
    assert prove(wish, tmp_path, 10.0, 1, lambda _line: None)
    assert (tmp_path / "pieces" / "reading-1.json").stat().st_mtime_ns == stamp

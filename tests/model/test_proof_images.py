"""Image phantoms of the proof: their labels, a training that can be stopped, and the tests of order, roll and mirror."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from breastai_model.case import TASKS, Labels
from breastai_model.phantom.latents import LATENT_NAMES, draw_latents
from breastai_model.plan import plan_with
from breastai_model.prepare import Prepared
from breastai_model.proof import image_claims, image_swaps
from breastai_model.proof.image_cases import ImageCohort, labels_of, of_scenario, read_cases, same_images, write_cases
from breastai_model.proof.image_pieces import QUICK, cohorts, image_pieces, interaction_rows
from breastai_model.proof.image_training import trained_net
from breastai_model.proof.independence import lively, random_batch
from breastai_model.proof.intervals import auc_interval
from breastai_model.proof.latent_claims import share_of_change
from breastai_model.proof.pieces import Bench, OutOfTime
from breastai_model.proof.recipe_pieces import Length, recipe_pieces
from breastai_model.recipe import preset
from breastai_model.run_folder import RunFolder
from breastai_model.training.dataset import CaseFiles, case_arrays, ordered_for

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = preset(
    "tiny", mri_shape=(4, 16, 16), us_shape=(16, 16), subtraction=True, feature_width=16, staf_widths=(16,), temporal_strides=(1,)
)


def bench(folder: Path, seconds: float = 300.0) -> Bench:
    return Bench(folder, time.monotonic() + seconds, 1, lambda _line: None)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> CaseFiles:
    """Twelve made-up inputs, their labels a coin's."""
    run = RunFolder(tmp_path_factory.mktemp("cases"))
    run.cases.mkdir()
    batch = random_batch(RECIPE, 12, 1)
    for index in range(12):
        arrays = [getattr(batch, name)[index].numpy() for name in ("mri", "us")]
        present = np.ones((RECIPE.phases, 2), dtype=bool), np.ones(RECIPE.angles, dtype=bool)
        prepared = Prepared(arrays[0], present[0], arrays[1], present[1], ("left", "right"), False, None, (), (), None)
        run.write_case(index + 1, case_arrays(prepared, Labels(index % 2 == 0, index % 3 == 0, index % 2 == 1), index))
    return CaseFiles(run.case_paths())


def test_scenarios_share_images_and_differ_in_labels():
    cohort = ImageCohort("clinic", 600, 10_000, RECIPE, RECIPE.mri_shape)
    latents = np.array([draw_latents(seed).values for seed in range(10_000, 10_600)])
    slope, size = (latents[:, LATENT_NAMES.index(name)] for name in ("slope", "size"))
    shared, private = labels_of(cohort, of_scenario("S1")), labels_of(cohort, of_scenario("S2"))
    assert auc_interval(size, shared[:, 0]).low > 0.8
    assert auc_interval(slope, private[:, 0]).low > 0.8
    assert auc_interval(size, private[:, 0]).low < 0.5 < auc_interval(size, private[:, 0]).high
    assert [same_images(name) for name in ("S1", "S5", "S6", "S7")] == ["clinic", "clinic", "S6", "S7"]


@pytest.mark.timeout(600)
def test_what_shows_in_the_images_is_learnt_and_a_coin_is_not(tmp_path: Path):
    """The proof's own chain at a tenth of its budget: phantoms, windows, training, fresh phantoms, AUC."""
    work = bench(tmp_path, 500)
    budget = replace(QUICK, learn=120, test=60, epochs=10)
    learn, test = cohorts("clinic", budget)
    sources = ("S1", TASKS[0]), ("S1", TASKS[1]), ("S5", TASKS[0])
    for cohort in (learn, test):
        write_cases(cohort, range(1, cohort.patients + 1), work)
    net = trained_net("small", budget.plan("small", "stable"), read_cases(learn, work, sources), work)
    answers = image_claims.read(net, read_cases(test, work, sources))
    assert max(answers.auc("both", place).low for place in (0, 1)) > 0.55, "size, lobulation and margin"
    coin = answers.auc("both", 2)
    assert coin.low < 0.5 < coin.high


def test_phantoms_are_written_once_and_gone_on_with(tmp_path: Path):
    cohort = ImageCohort("S7", 2, 77, RECIPE, RECIPE.mri_shape)
    with pytest.raises(OutOfTime):
        write_cases(cohort, range(1, 3), bench(tmp_path, -1))
    write_cases(cohort, range(1, 2), bench(tmp_path))
    first = next(tmp_path.rglob("0001.safetensors"))
    stamp = first.stat().st_mtime_ns
    write_cases(cohort, range(1, 3), bench(tmp_path))
    assert first.stat().st_mtime_ns == stamp
    found = read_cases(cohort, bench(tmp_path), of_scenario("S7"))
    assert len(found) == 2
    assert np.array_equal(found.labels, labels_of(cohort, of_scenario("S7")))
    assert cohort.folder(tmp_path) != replace(cohort, recipe=preset("tiny")).folder(tmp_path), "another preparation is another cohort"


def test_a_training_stops_with_the_time_and_goes_on(tmp_path: Path, cases: CaseFiles):
    plan = plan_with("proof", RECIPE, "stable", epochs=2, batch_size=4, validation_share=0.25, device="cpu", augment=False)
    with pytest.raises(OutOfTime):
        trained_net("one", plan, cases, bench(tmp_path, 1e-3))
    net = trained_net("one", plan, cases, bench(tmp_path))
    again = trained_net("one", plan, cases, bench(tmp_path, 1e-3))
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in net.state_dict().items()), "a finished training is read"
    with pytest.raises(ValueError, match="had another plan"):
        trained_net("one", replace(plan, epochs=3), cases, bench(tmp_path))


def test_order_and_roll_are_told_from_a_real_network(cases: CaseFiles):
    answers = image_claims.read(lively(RECIPE, 3), cases)
    rolled, greatest, shuffled, tokens = image_claims.roll_rows(answers, steps=(1, 5))
    assert rolled.measured is not None
    assert greatest.measured is not None
    assert 0 < rolled.measured.value < greatest.measured.value, "images that differ give other answers when rolled"
    assert shuffled.verdict == "reported"
    assert tokens.verdict == "holds"
    (order,) = image_claims.order_rows(answers)
    assert order.measured is not None
    still = image_claims.roll_rows(answers, steps=(0,))[0].measured
    assert still is not None
    assert still.value == 0, "a sweep that was not rolled is itself"


def test_a_mirrored_phantom_gets_the_same_answer_and_another_side_does_not(cases: CaseFiles):
    net = lively(RECIPE, 3)
    assert image_claims.mirror_change(net, 900, count=1) < 1e-4, "the bound of the table"
    other, _ = image_claims.healthy_side_rows(image_claims.read(net, cases), 900, mirrored=1)
    assert other.measured is not None
    assert other.measured.value > 1e-4


def test_another_patients_agnostic_ultrasound_reaches_the_fused_feature_and_nothing_else(cases: CaseFiles):
    answers = image_claims.read(lively(RECIPE, 3), cases)
    every = np.arange(len(cases))
    own = 1 / (1 + np.exp(-answers.said["both"].logits[:, 0]))
    assert image_swaps.swapped(answers, every, 0) == pytest.approx(own, abs=1e-5), "a patient that is its own partner"
    assert np.abs(image_swaps.swapped(answers, np.roll(every, 1), 0) - own).max() > 1e-3
    assert share_of_change(np.zeros(12), np.zeros(12)) is None, "a network that does not read the feature keeps no promise"
    share = share_of_change(np.full(12, 0.02), np.full(12, 0.08))
    assert share is not None
    assert share.value == pytest.approx(0.25)
    level = image_swaps.levelled_row(answers, ("S2", TASKS[0]), 0)
    assert level.measured is not None
    assert level.measured.value != 0
    unsure = replace(answers, said=answers.said | {"us": replace(answers.said["us"], logits=np.zeros((12, 3)))})
    ignorant = image_swaps.ignorance_row(unsure, ("S2", TASKS[0]), 0)
    assert ignorant.measured is not None
    assert ignorant.measured.value == pytest.approx(abs(0.5 - cases.labels[:, 0].mean()))


def test_interaction_is_asked_of_stable_and_not_of_linear_heads(cases: CaseFiles):
    answers = image_claims.read(lively(RECIPE, 3), cases)
    for losses, words in (("stable", "above 0.5"), ("faithful", "interval contains 0.5")):
        rows = interaction_rows(answers, losses)
        assert len(rows) == 9
        assert {str(row.expected) for row in rows if row.claim.endswith("MRI + US")} == {words}
        assert {str(row.expected) for row in rows if row.claim.endswith("alone")} == {"interval contains 0.5"}


@pytest.mark.parametrize("quick", [True, False])
def test_every_scenario_has_its_piece_after_its_phantoms(quick: bool):
    pieces = {piece.name: piece for piece in image_pieces(quick=quick)}
    wanted = {"S1-S2", "S5", "S7"} if quick else {f"S{number}" for number in range(1, 9)} | {"S4-faithful", "recipe-faithful", "recipes"}
    assert wanted <= set(pieces)
    for name in wanted:
        assert pieces[name].after
        assert set(pieces[name].after) <= set(pieces)
        assert "epochs" in pieces[name].constants, "the budget stands in the table"


@pytest.mark.timeout(300)
def test_both_recipes_end_by_themselves_and_are_set_side_by_side(tmp_path: Path):
    work = bench(tmp_path, 280)
    learn, test = (ImageCohort("clinic", count, seed, RECIPE, RECIPE.mri_shape) for count, seed in ((16, 10_000), (24, 20_000)))
    for cohort in (learn, test):
        write_cases(cohort, range(1, cohort.patients + 1), work)
    length = Length(epochs=3, patience=1)
    *alone, together = recipe_pieces(learn, test, ["phantoms"], length)
    assert together.after == tuple(piece.name for piece in alone) == ("recipe-stable", "recipe-faithful", "recipe-faithful-slow")
    rows = {piece.name: piece.measure(work) for piece in (*alone, together)}
    assert all(row.measured is not None for each in rows.values() for row in each)
    plans = {piece.name: RunFolder(tmp_path / "runs" / piece.name).plan() for piece in alone}
    assert [plans[piece.name].learning_rate for piece in alone] == [1e-3, 1e-3, 1e-4]
    assert (plans["recipe-faithful"].schedule, plans["recipe-faithful"].watch) == ("plateau", "training"), "the recipe's own"
    assert plans["recipe-faithful"].recipe.head == "linear"
    plain = read_cases(test, work, of_scenario("clinic"))
    first = {plain.load(index).sides[0] for index in range(len(plain))}
    assert first == {"left", "right"}, "the affected breast is the first"
    told_nothing = ordered_for(plans["recipe-faithful"].recipe, plain)
    index = next(index for index in range(len(plain)) if plain.load(index).sides[0] == "right")
    turned = told_nothing.load(index)
    assert {told_nothing.load(each).sides for each in range(len(plain))} == {("left", "right")}
    assert np.array_equal(turned.mri, plain.load(index).mri[:, ::-1])
    assert ordered_for(plans["recipe-stable"].recipe, plain) is plain
    stable, slow, difference = rows["recipe-stable"][0].measured, rows["recipe-faithful-slow"][0].measured, rows["recipes"][3].measured
    assert stable is not None
    assert slow is not None
    assert difference is not None
    assert difference.value == pytest.approx(stable.value - slow.value), "of the same patients, stable minus the other"

"""The pointing game: a map that knows the lesion wins, one that does not loses, and ties are not luck."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from breastai_model.phantom.patient import make_patient
from breastai_model.prepare import collate
from breastai_model.proof import attribution, pointing, truth_masks
from breastai_model.proof.pointing import KnownPatient, Scores, hit, located, pointing_rows, score_net, score_pictures, share
from breastai_model.recipe import preset
from model_cases import a_batch, a_net

RECIPE = preset("tiny", subtraction=True)


@pytest.fixture(scope="module")
def patients():
    made = [make_patient(seed) for seed in (11, 12)]
    return [KnownPatient(each.case, each.truth.lesion, each.truth.views) for each in made]


def test_the_lesion_lies_where_it_enhances_and_where_it_is_dark(patients):
    for patient in located(patients, replace(RECIPE, mri_shape=(24, 96, 96), mri_spacing_mm=(6.0, 2.0, 2.0), us_shape=(64, 64))):
        picture = truth_masks.early_subtraction(patient.prepared)
        assert picture[patient.mri].mean() > 2 * picture[patient.body].mean(), "the mask stands on the enhancing lesion"
        dark = truth_masks.darkness(patient.prepared)
        assert dark.shape == patient.us.shape
        assert dark[patient.us].mean() > 1.1 * dark[dark > 0].mean(), "the masks stand on the dark lesion"
        moved = np.roll(patient.mri, patient.mri.shape[-1] // 2, axis=-1)
        assert picture[moved].mean() < picture[patient.mri].mean() / 2, "in the other breast they would not"


def test_the_tolerance_is_half_a_cell_of_the_finest_stage_that_a_map_combines():
    """A feature map begins at stage 1, whose cells are half as large as those of stage 2, where task maps begin."""
    feature, task = (truth_masks.tolerance(preset("compact"), kind) for kind in ("feature", "high_grade"))
    assert (feature.mri, feature.us, feature.mri_mm) == ((0, 2, 2), (2, 2), (3.0, 4.0, 4.0))
    assert (task.mri, task.us, task.mri_mm) == ((1, 4, 4), (4, 4), (6.0, 8.0, 8.0))
    mask = np.zeros((5, 9), dtype=bool)
    mask[2, 4] = True
    assert truth_masks.widened(mask, (1, 2)).sum() == 15


def test_hits_and_shares_count_what_they_say():
    mask = np.zeros((4, 4), dtype=bool)
    mask[1, 1] = True
    values = np.zeros((4, 4))
    assert hit(values, mask) == 0.0
    assert share(values, mask) == 0.0
    values[1, 1] = values[3, 3] = 2.0
    assert hit(values, mask) == 0.5, "of two equal maxima one lies in the lesion"
    assert share(values, mask) == 0.5
    values[1, 1] = 3.0
    assert hit(values, mask) == 1.0


def test_a_network_that_learnt_nothing_does_not_point(patients):
    known = located(patients, RECIPE)
    net = pointing.untrained(RECIPE, known, 2)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    own, mixed = score_net(net, known), score_net(pointing.randomised(net, known, 3), known)
    assert all(np.array_equal(before[name], value) for name, value in net.state_dict().items()), "a control leaves the network alone"
    assert len(own.values) == 4 * 4 * 3
    rows = pointing_rows(
        own, {"untrained": score_net(pointing.untrained(RECIPE, known, 1), known), "mixed": mixed}, score_pictures(known), "note"
    )
    assert len(rows) == 16 * 3
    assert "holds" not in {row.verdict for row in rows if row.claim.startswith("mri") and row.claim.endswith("hit")}


def test_a_map_points_only_above_every_control():
    def scores(value: float) -> Scores:
        chance = np.random.default_rng(int(100 * value))
        return Scores({("mri_agnostic", "feature", score): (chance.random(200) < value).astype(np.float64) for score in pointing.SCORES})

    good = pointing_rows(scores(0.97), {"untrained": scores(0.2)}, scores(0.6), "")
    assert [row.verdict for row in good] == ["holds", "holds", "holds"]
    plain_is_better = pointing_rows(scores(0.8), {"untrained": scores(0.2)}, scores(0.95), "")
    assert [row.verdict for row in plain_is_better] == ["does not hold"] * 3


@pytest.mark.parametrize("layout", ["sequence", "channels"])
def test_the_gradients_of_both_branches_are_the_whole_gradient(layout):
    recipe = preset("tiny", layout=layout)
    net, batch = a_net(recipe).requires_grad_(requires_grad=False), a_batch(1, recipe)
    summed = {"mri": [0, 0, 0], "us": [0, 0, 0]}
    for task, (modality, _branch), gradient in attribution.branch_gradients(net, batch):
        summed[modality][task] = summed[modality][task] + gradient
    again = a_batch(1, recipe)
    logits = net(replace(again, mri=again.mri.requires_grad_(), us=again.us.requires_grad_())).logits[0]
    for task in range(3):
        mri, us = torch.autograd.grad(logits[task, 1] - logits[task, 0], [again.mri, again.us], retain_graph=True)
        assert mri.any()
        assert torch.allclose(summed["mri"][task], mri, rtol=1e-4, atol=1e-4 * float(mri.abs().max()))
        assert torch.allclose(summed["us"][task], us, rtol=1e-4, atol=1e-4 * float(us.abs().max()))


def test_gradient_times_input_is_compared_inside_and_outside_the_lesion(patients):
    known = located(patients, RECIPE)
    net = pointing.untrained(RECIPE, known, 2)
    rows = attribution.attribution_rows(net, known, lambda: None)
    assert len(rows) == 2 * 3 * 3
    agnostic, specific, both = (row.measured for row in rows[:3])
    assert both.value == pytest.approx(agnostic.value / specific.value)
    patient = known[0]
    spoke = np.ones_like(collate([patient.prepared]).mri[0].numpy())
    assert attribution._mri_ratio(patient, spoke) == pytest.approx(1.0), "alike everywhere"
    lit = np.ones_like(collate([patient.prepared]).us[0].numpy())
    for image, slot in enumerate(patient.prepared.us_slots):
        lit[slot][patient.us[image]] = 3.0
    assert attribution._us_ratio(patient, lit) == pytest.approx(3.0), "three times as much in the lesion"

"""Planted neighbours are found, and no patient's answer depends on who else is in the batch."""

from __future__ import annotations

import torch

from breastai_model.proof.image_claims import token_roll
from breastai_model.proof.independence import affinity_rows, batch_rows, lively, planted_recall, random_batch
from breastai_model.recipe import preset

RECIPE = preset(
    "tiny", mri_shape=(4, 16, 16), us_shape=(16, 16), subtraction=False, feature_width=16, staf_widths=(16,), temporal_strides=(1,)
)


def test_planted_neighbours_are_found_and_chance_is_not_beaten_without_them():
    found, control = affinity_rows(100)
    assert found.verdict == "holds"
    assert control.verdict == "holds"
    loose, chance = planted_recall(60, 1, spread=4.0)
    assert chance < loose.value < 0.9, "groups that hardly point the same way are found less often"


def test_answers_do_not_depend_on_the_batch():
    rows = batch_rows(RECIPE)
    assert [row.verdict for row in rows] == ["holds", "holds", "holds"]
    spread = float(rows[0].note.rsplit(" ", 1)[1])
    assert spread > 0.02, "the untrained network must tell the patients apart, or agreement would say nothing"


def test_a_network_that_mixes_patients_is_caught():
    rows = batch_rows(RECIPE, net=lively(RECIPE, 1).train())  # the norms then use the statistics of the batch
    assert rows[0].verdict == "does not hold"
    assert rows[1].verdict == "does not hold"


def test_made_up_batches_follow_their_seed_and_miss_modalities():
    first, again = random_batch(RECIPE, 8, 3), random_batch(RECIPE, 8, 3)
    assert torch.equal(first.mri, again.mri)
    assert not first.mri_present[1].any()
    assert not first.us_present[3].any()


def test_rolling_the_tokens_changes_nothing():
    assert token_roll(RECIPE) <= 1e-5

"""Feature-level phantoms through the program's own losses: what disentangles, what diverges, and probes that can be trusted."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from breastai_model.phantom.latents import LATENT_NAMES
from breastai_model.phantom.measured import MRI_FEATURES, US_FEATURES
from breastai_model.proof import latent_claims, latent_scenarios, probes
from breastai_model.proof.intervals import auc_interval
from breastai_model.proof.latent_claims import LatentBudget
from breastai_model.proof.latent_phantoms import ceiling, draw_patients
from breastai_model.proof.latent_training import SETTINGS, answers, trained
from breastai_model.proof.pieces import Bench, OutOfTime
from breastai_model.proof.readable import readable


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"), time.monotonic() + 600, 1, lambda _line: None)


@pytest.fixture(scope="module")
def short(bench: Bench):
    """Control and stable, few epochs."""
    made = {}
    for name, epochs in (("control", 15), ("stable", 25)):
        patients, test = draw_patients(400, 1), draw_patients(600, 2)
        net = trained(patients, replace(SETTINGS[name], epochs=epochs), 1)
        made[name] = latent_claims.Trained((net,), test, (answers(net, test),))
    return made


def test_patients_follow_their_law_and_their_seed():
    first, again, other = draw_patients(4000, 1), draw_patients(4000, 1), draw_patients(4000, 2)
    assert np.array_equal(first.mri, again.mri)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.mri, other.mri)
    assert abs(first.labels.mean() - 0.5) < 0.02
    assert 0.85 < ceiling(first, 0).value < 0.95
    # the law is one for all seeds: what is learnt of some patients is true of others
    kept = draw_patients(4000, 3, shared=first.shared)
    assert np.array_equal(kept.chances[:, 0], first.chances[:, 0])
    assert not np.allclose(kept.chances[:, 1], first.chances[:, 1])


def test_each_observation_holds_its_own_latents_and_no_other():
    patients = draw_patients(2000, 4)
    mri = patients.mri.astype(np.float64)
    assert probes.explained(mri, patients.shared, "linear").low > 0.6
    assert probes.explained(mri, patients.private_mri, "linear").low > 0.6
    assert probes.explained(mri, patients.private_us, "linear").high < 0.05


def test_stable_lowers_the_probe_and_the_control_does_not(short):
    control = latent_claims.leakage_rows("control", short["control"], None, None)[1].measured
    stable = latent_claims.leakage_rows("stable", short["stable"], None, None)[1].measured
    assert control is not None
    assert stable is not None
    assert control.low > 0.95
    assert stable.high < control.low - 0.1
    found = {name: latent_claims.projection_rows(name, made, False)[0].measured for name, made in short.items()}
    assert found["stable"].value > 3 * max(found["control"].value, 1 / 600), "L_C lets one modality find the other"


def test_the_probe_has_a_positive_and_a_negative_control(short):
    positive, negative = latent_claims.control_rows(short["stable"])
    assert positive.verdict == "holds"
    assert negative.measured is not None
    assert negative.measured.low <= 0.5 + 0.02
    assert negative.measured.high >= 0.5 - 0.02


def test_levelling_the_private_feature_costs_its_own_label_alone(short):
    rows = {row.claim: row for row in latent_claims.swap_rows(short["stable"])}
    assert rows["F^s_M levelled, p_M label"].verdict == "holds"
    assert rows["F^s_M levelled, s label"].verdict == "holds"
    assert rows["swap F^a_U, equal s"].measured.high < 1, "a stranger with the same s changes the answer less than any stranger"


def test_equation_14_as_printed_diverges_and_normalised_it_does_not(bench: Bench):
    patients, test = draw_patients(200, 1), draw_patients(100, 2)
    lengths = {}
    for name in ("literal", "normalised"):
        net = trained(patients, replace(SETTINGS[name], epochs=60 if name == "literal" else 15), 1)
        lengths[name] = latent_claims.norm_row(latent_claims.Trained((net,), test, (answers(net, test),)))
    assert lengths["literal"].verdict == "holds", "features grow without bound"
    assert lengths["normalised"].verdict == "does not hold", "the same row can say no"


def test_an_absent_modality_changes_nothing_and_is_calibrated_ignorance():
    patients, test = draw_patients(300, 1), draw_patients(500, 2)
    net = trained(patients, replace(SETTINGS["stable, modalities dropped"], epochs=12), 1)
    other = replace(test, mri=np.random.default_rng(1).standard_normal(test.mri.shape).astype(np.float32))
    assert np.array_equal(answers(net, test, "mri").log_odds, answers(net, other, "mri").log_odds)
    rows = {row.claim: row for row in latent_claims.missing_rows(latent_claims.Trained((net,), test, (answers(net, test),)))}
    blind = rows["missing mri, p_M"].measured
    assert blind.value > 0.1, "without MRI the MRI's own label is lost"
    assert abs(rows["missing ultrasound, p_M"].measured.value) < 0.1
    assert rows["calibrated ignorance"].verdict == "holds"


def test_training_follows_from_its_seed_and_can_be_stopped(bench: Bench):
    patients = draw_patients(100, 1)
    setting = replace(SETTINGS["stable"], epochs=2)
    first, again = (answers(trained(patients, setting, 5), patients).log_odds for _ in range(2))
    assert np.array_equal(first, again)
    late = Bench(Path(), time.monotonic() - 1, 1, lambda _line: None)
    with pytest.raises(OutOfTime):
        latent_claims.train_setting("control", LatentBudget(seeds=(1,), learn=64, test=64), late)


def test_linear_readers_agree_with_plain_algebra():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((500, 4))
    turned = x @ np.linalg.qr(rng.standard_normal((4, 4)))[0]
    assert probes.linear_cka(x, turned) == pytest.approx(1.0)
    assert probes.linear_cka(x, rng.standard_normal((500, 4))) < 0.1
    assert probes.canonical_correlations(x, turned, 4).min() > 0.99
    assert np.abs(probes.canonical_correlations(x, rng.standard_normal((500, 4)), 4)).max() < 0.35
    assert probes.retrieval(x, x).value == 1.0
    assert probes.retrieval(x, rng.standard_normal((500, 4))).value < 0.05
    assert probes.leakage(x, x + 3.0, "linear").low > 0.9
    assert probes.leakage(x, rng.standard_normal((500, 4)), "linear").high < 0.6


def test_what_is_measured_in_a_modality_reads_its_own_latents_and_no_others():
    rng = np.random.default_rng(5)
    latents = rng.normal(size=(400, len(LATENT_NAMES)))
    slope, echo = (latents[:, LATENT_NAMES.index(name)] for name in ("slope", "echo"))
    measured = rng.normal(size=(400, len(MRI_FEATURES) + len(US_FEATURES)))
    measured[:, 0], measured[:, -1] = slope + 0.1 * measured[:, 0], np.where(rng.random(400) < 0.02, np.nan, echo)
    assert readable(measured, latents, "mri", ("slope",)).low > 0.9
    assert readable(measured, latents, "us", ("slope",)).high < 0.3
    assert readable(measured, latents, "us", ("echo",)).low > 0.8
    assert readable(measured, latents, "both", ("slope", "echo")).low > 0.8


def test_s4_answers_follow_from_both_private_latents_and_from_neither_alone():
    drawn = latent_scenarios.interaction_patients(4000, 5)
    product = drawn.private_mri[:, 0] * drawn.private_us[:, 0]
    assert auc_interval(product, drawn.labels[:, 0]).low > 0.85
    for alone in (drawn.private_mri[:, 0], drawn.private_us[:, 0]):
        assert abs(auc_interval(alone, drawn.labels[:, 0]).value - 0.5) < 0.04
    assert np.array_equal(drawn.labels[:, 0], drawn.labels[:, 2]), "all three tasks ask the same"


def test_the_order_of_the_phases_and_the_healthy_breast_are_learnt_through_the_programs_losses(bench: Bench):
    setting = replace(SETTINGS["stable"], epochs=12)
    learn, test = latent_scenarios.order_patients(500, 3), latent_scenarios.order_patients(400, 4)
    net = trained(learn, setting, 1, bench.left_s, views="phases")
    right = auc_interval(answers(net, test).log_odds[:, 0], test.labels[:, 0])
    backwards = replace(test, mri=np.ascontiguousarray(test.mri[:, [0, 4, 3, 2, 1]]))
    wrong = auc_interval(answers(net, backwards).log_odds[:, 0], test.labels[:, 0])
    assert right.low > 0.9
    assert wrong.high < 0.1, "the curve backwards is the other answer"

    learn, test = latent_scenarios.side_patients(800, 3), latent_scenarios.side_patients(400, 4)
    net = trained(learn, setting, 1, bench.left_s, views="sides")
    assert auc_interval(answers(net, test).log_odds[:, 0], test.labels[:, 0]).low > 0.6
    exchanged = replace(test, mri=np.ascontiguousarray(test.mri[:, ::-1]))
    lost = auc_interval(answers(net, exchanged).log_odds[:, 0], test.labels[:, 0])
    assert abs(lost.value - 0.5) < 0.1, "the other breast says nothing"

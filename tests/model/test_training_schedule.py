"""Rates, turns of encoders and discriminators, improvement and early stop; folds; what a network says of prepared cases."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from breastai_model.case import Labels
from breastai_model.network.net import BreastNet
from breastai_model.plan import LOSSES, plan_with
from breastai_model.training.dataset import CaseFiles, case_arrays
from breastai_model.training.features import predict_cases
from breastai_model.training.folds import SMALLEST_CELL, split_by_patient, stratified_folds
from breastai_model.training.machine import chosen_precision
from breastai_model.training.schedule import Position, after_epoch, has_learnt_enough, learning_rate, ramp, teaches_encoders
from breastai_model.training.train import Training
from training_cases import CHANNELS, RECIPE, a_plan, made_case, make_run


@pytest.fixture(autouse=True)
def _determinism_ends_with_the_test():
    yield
    torch.use_deterministic_algorithms(False)


def test_the_plateau_halves_after_so_many_flat_epochs_and_stops_after_more():
    plan = a_plan(schedule="plateau", plateau_epochs=3, stop_epochs=7, learning_rate=1e-4, epochs=100)
    position = Position()
    rates, stopped = [], None
    for epoch, value in enumerate([1.0, 0.9, *[0.95] * 20]):
        rates.append(learning_rate(plan, position, 5))
        after_epoch(plan, position, value)
        position.end_epoch()
        if has_learnt_enough(plan, position):
            stopped = epoch
            break
    assert rates == [1e-4] * 5 + [5e-5] * 3 + [2.5e-5]
    assert stopped == 8
    assert (position.best_epoch, position.best_value) == (2, 0.9)
    assert Position.from_json(position.to_json()) == position
    with pytest.raises(ValueError, match="another version"):
        Position.from_json({"epoch": 1})


def test_the_cosine_rises_shortly_and_falls_to_nothing():
    plan = a_plan(epochs=10)
    rates = [learning_rate(plan, Position(epoch=step // 10, batch=step % 10), 10) for step in range(100)]
    assert rates[0] < rates[1] < rates[2]
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] < 1e-3 * plan.learning_rate
    assert [ramp(a_plan(), Position(epoch=epoch), 10) for epoch in (0, 5, 10, 20)] == [0.0, 0.5, 1.0, 1.0]


def test_faithful_teaches_encoders_and_discriminators_in_different_epochs(tmp_path):
    plan = plan_with("faithful", CHANNELS, "faithful", epochs=4, batch_size=3, device="cpu", validation_share=0.34)
    assert [teaches_encoders(plan, epoch) for epoch in range(4)] == [True, False, True, False]
    run = make_run(tmp_path / "run", plan=plan)
    training = Training(run)
    states = [{name: value.clone() for name, value in training.net.named_parameters()}]
    for _ in range(2):
        training.train_epoch()
        training.end_epoch()
        states.append({name: value.clone() for name, value in training.net.named_parameters()})
    moved = []
    for before, now in pairwise(states):
        changed = [name for name in now if not torch.equal(now[name], before[name])]
        moved.append({name.startswith("discriminators.") for name in changed})
    assert moved == [{False}, {True}]
    assert [epoch.number for epoch in run.progress().epochs] == [1], "an epoch of the discriminators is no improvement nor a flat one"
    assert (training.position.epoch, training.position.best_epoch) == (2, 1)
    assert training.run().startswith("finished after 4 epochs")
    assert "L_f of the training epoch, as published" in (run.path / "model_card.md").read_text("utf-8")


def test_in_a_step_the_encoders_meet_the_discriminators_that_have_just_learnt(tmp_path, monkeypatch):
    """Equations 16 and 17 by turns: omega moves first, with an Adam of its own; the encoders' loss sees the new omega and leaves it."""
    training = Training(make_run(tmp_path / "run"))
    learner, omega = training.learner, list(training.net.discriminators.parameters())
    members, batch = training.made_batch(training.learning, 0, 0)
    labels, groups = (torch.from_numpy(each[members]) for each in (training.cases.labels, training.cases.groups))
    before = [weight.detach().clone() for weight in omega]
    theta = [weight.detach().clone() for weight in learner.optimizers["theta"].param_groups[0]["params"]]
    met = []
    encoder_loss = learner.objective.encoder_loss

    def watched(*arguments):
        met.extend(weight.detach().clone() for weight in omega)
        assert all(torch.equal(*pair) for pair in zip(theta, learner.optimizers["theta"].param_groups[0]["params"], strict=True))
        return encoder_loss(*arguments)

    monkeypatch.setattr(learner.objective, "encoder_loss", watched)
    assert learner.step(batch, labels, groups, rate=1e-3, ramp=1.0, encoders=True) is not None
    assert any(not torch.equal(*pair) for pair in zip(before, met, strict=True)), "they had learnt"
    assert all(torch.equal(*pair) for pair in zip(met, omega, strict=True)), "and stood still while the encoders learnt"
    assert any(not torch.equal(*pair) for pair in zip(theta, learner.optimizers["theta"].param_groups[0]["params"], strict=True))


@pytest.mark.parametrize(
    ("wish", "able", "precision"), [("auto", True, "bfloat16"), ("auto", False, "float16"), ("bfloat16", False, "float16")]
)
def test_precision_on_a_graphics_card_is_bfloat16_where_it_is_able_else_float16_with_a_scaler(monkeypatch, wish, able, precision):
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation=True: able)
    said = []
    assert chosen_precision("cuda", wish, said.append) == precision
    assert bool(said) == (wish == "bfloat16"), "a wish that cannot be met is told"
    assert chosen_precision("cuda", "float32", said.append) == "float32"


def test_supervised_losses_never_touch_the_discriminators(tmp_path):
    training = Training(make_run(tmp_path / "run", losses=LOSSES["supervised"], epochs=1, recipe=CHANNELS))
    before = {name: value.clone() for name, value in training.net.discriminators.named_parameters()}
    training.train_epoch()
    assert all(torch.equal(value, before[name]) for name, value in training.net.discriminators.named_parameters())


def test_micro_batches_give_the_step_of_the_whole_batch(tmp_path):
    """With fixed batch norms and no L_C, in float64; missing answers and modalities are where a mean of means would differ."""
    results = []
    recipe = replace(RECIPE, dropout=0.0)
    losses = replace(LOSSES["stable"], compactness="none", lambda_cross_covariance=0.0, adversary="minimax")
    for size in (0, 4, 1):
        plan = a_plan(recipe=recipe, losses=losses, batch_size=6, drop_mri=0.3, drop_ultrasound=0.3)
        training = Training(make_run(tmp_path / str(size), plan=plan))
        training.learner.learning_mode = training.net.eval
        members, batch = training.made_batch(training.learning, 0, 0)
        labels, groups = (torch.from_numpy(each[members]) for each in (training.cases.labels, training.cases.groups))
        training.net.discriminators.requires_grad_(requires_grad=False)  # they step after, not within, a batch taken in parts
        training.net.double()
        training.learner.objective.discriminator_loss = lambda *_: torch.zeros((), requires_grad=True)
        wide = replace(batch, mri=batch.mri.double(), us=batch.us.double())
        parts = training.learner.step(wide, labels, groups, rate=1e-3, ramp=1.0, encoders=True, micro_batch=size)
        gradients = {name: value.grad for name, value in training.net.named_parameters() if value.grad is not None}
        results.append((parts, gradients))
    for parts, gradients in results[1:]:
        assert parts == pytest.approx(results[0][0], rel=1e-6)
        assert gradients.keys() == results[0][1].keys()
        assert max(float((value - results[0][1][name]).abs().max()) for name, value in gradients.items()) < 1e-7


def test_folds_hold_whole_patients_and_the_same_mix_of_answers():
    chance = np.random.default_rng(5)
    groups = np.repeat(np.arange(200), chance.integers(1, 3, 200))
    own = (chance.random((200, 3)) < (0.4, 0.4, 0.5)).astype(np.int64)
    labels = own[groups]
    folds = stratified_folds(labels, groups, 5, seed=1)
    assert all(len(set(folds[groups == group])) == 1 for group in range(200))
    first = np.array([np.flatnonzero(groups == group)[0] for group in range(200)])
    assert np.bincount(folds[first]).tolist() == [40] * 5
    cells = labels[first] @ np.array([4, 2, 1])
    for cell in range(8):
        counts = np.bincount(folds[first][cells == cell], minlength=5)
        if counts.sum() >= SMALLEST_CELL:
            assert counts.max() - counts.min() <= 1
    order = np.argsort(chance.random(len(groups)))
    assert np.array_equal(stratified_folds(labels[order], groups[order], 5, seed=1), folds[order])
    assert not np.array_equal(stratified_folds(labels, groups, 5, seed=2), folds)
    with pytest.raises(ValueError, match="at least 5 patients"):
        stratified_folds(labels[:2], np.arange(2), 5, seed=1)
    learning, held_out = split_by_patient(labels, groups, 0.2, seed=3)
    assert not set(groups[learning]) & set(groups[held_out])


def test_predicted_cases_do_not_depend_on_their_companions_and_an_unknown_side_is_the_mean(tmp_path):
    run = make_run(tmp_path / "run")
    unknown = replace(made_case(4, True), both_orders=True)
    for number, case in ((10, unknown), (11, replace(unknown, both_orders=False)), (12, unknown.swapped())):
        run.write_case(number, case_arrays(replace(case, both_orders=number == 10), Labels(True, None, None), number))
    cases = CaseFiles(run.case_paths())
    assert cases.has_mri.all()
    torch.manual_seed(1)
    net = BreastNet(RECIPE).train()
    together, alone = (predict_cases(net, cases, range(12), batch_size=size) for size in (6, 1))
    assert net.training
    for name in ("logits", "fused", "agnostic_mri", "specific_us"):
        assert np.abs(getattr(together, name) - getattr(alone, name)).max() < 1e-5
    p = 1 / (1 + np.exp(-alone.logits[-3:]))
    assert p[0] == pytest.approx((p[1] + p[2]) / 2, abs=1e-6)
    assert alone.fused[-3] == pytest.approx((alone.fused[-2] + alone.fused[-1]) / 2, abs=1e-6)
    assert (predict_cases(net, cases, [0], "mri").agnostic_mri == 0).all()


def test_precision_on_a_processor_is_float32_unless_the_plan_says_bfloat16():
    notes: list[str] = []
    assert chosen_precision("cpu", "auto", notes.append) == "float32"
    assert chosen_precision("cpu", "bfloat16", notes.append) == "bfloat16"
    assert notes == []
    assert chosen_precision("cpu", "float16", notes.append) == "float32"
    assert notes == ["Trains in float32: float16 needs a graphics card of another kind."]

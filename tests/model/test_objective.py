"""Equations 14 and 15 as they are put together: signs, who learns from what, bounds, memory, parts of a batch."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from breastai_model.network.adversary import Discriminators
from breastai_model.network.net import BreastNet, Output
from breastai_model.phantom.latents import LATENT_NAMES
from breastai_model.plan import LOSSES, LossPlan
from breastai_model.recipe import preset
from breastai_model.training.losses import hat
from breastai_model.training.objective import PARTS, Objective, Seen, warm_up
from model_cases import a_batch

RECIPE = preset("tiny", mri_shape=(4, 16, 16), us_shape=(16, 16), dropout=0.0)
D = RECIPE.feature_width
LABELS = torch.tensor([[1, 0, -1], [0, 1, 1], [1, -1, 0], [0, 0, 1]])
UNKNOWN = torch.full_like(LABELS, -1)
LATENTS = torch.randn(4, len(LATENT_NAMES), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
QUIET = {"lambda_modality": 0.0, "lambda_projection": 0.0, "compactness": "none", "lambda_cross_covariance": 0.0}
"""A plan in which L_cls stands alone."""


def plan(**changes: Any) -> LossPlan:
    return LossPlan(**({"adversary": "minimax"} | QUIET | changes))


def everyone(n: int = 4) -> Seen:
    return Seen(torch.ones(n, dtype=torch.bool), torch.ones(n, dtype=torch.bool))


def features(n: int = 4, seed: int = 0) -> Output:
    """Return features that nothing made, in float64, with gradients."""
    generator = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    return Output(some(n, 3, 2), *(some(n, D) for _ in range(5)))


def discriminators() -> Discriminators:
    torch.manual_seed(5)
    return Discriminators(RECIPE).double()


def parts_of(net: BreastNet) -> dict[str, list[nn.Parameter]]:
    """Return the columns of section i.6's table."""
    columns: dict[str, list[nn.Module]] = {
        "agnostic": [*(part for m in (net.mri, net.us) for part in (m.agnostic, m.agnostic_reduce)), net.merge_agnostic],
        "specific": [*(part for m in (net.mri, net.us) for part in (m.specific, m.specific_reduce)), net.merge_specific, net.merge_angles],
        "shallow": [part for m in (net.mri, net.us) for part in (m.stem, m.stage1)],
        "fusion": [net.mmaff, net.affinity],
        "heads": [net.heads],
        "g_M": [net.discriminators.project_mri],
        "g_U": [net.discriminators.project_ultrasound],
        "g_a": [net.discriminators.modality],
    }
    found = {name: [weight for part in parts for weight in part.parameters()] for name, parts in columns.items()}
    assert sum(map(len, found.values())) == len(list(net.parameters())), "every weight stands in one column"
    return found


def learning(net: BreastNet) -> set[str]:
    """Return the columns in which any weight has a gradient other than zero."""
    return {name for name, weights in parts_of(net).items() if any(w.grad is not None and bool(w.grad.any()) for w in weights)}


TABLE = [
    ("L_t1 to L_t3", plan(), LABELS, {"agnostic", "specific", "shallow", "fusion", "heads"}),
    ("L_C contrastive", plan(compactness="contrastive"), UNKNOWN, {"agnostic", "shallow"}),
    ("L_C laplacian", plan(compactness="laplacian", neighbours=2), UNKNOWN, {"agnostic", "shallow"}),
    ("-L_mo", plan(lambda_modality=0.2), UNKNOWN, {"agnostic", "shallow"}),
    ("confusion", plan(adversary="confusion", lambda_modality=0.2), UNKNOWN, {"agnostic", "shallow"}),
    ("-L_M, -L_U", plan(lambda_projection=0.2, detach_agnostic=False), UNKNOWN, {"agnostic", "specific", "shallow"}),
    ("-L_M, -L_U detached", plan(lambda_projection=0.2, detach_agnostic=True), UNKNOWN, {"specific", "shallow"}),
    ("L_X", plan(lambda_cross_covariance=0.1, memory=0), UNKNOWN, {"agnostic", "specific", "shallow"}),
    ("L_Z", plan(lambda_latents=1.0), UNKNOWN, {"agnostic", "specific", "shallow", "fusion"}),
]


@pytest.mark.parametrize(("losses", "labels", "columns"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
@pytest.mark.parametrize("agnostic_norm", [False, True])
def test_the_encoders_step_updates_what_the_table_says(losses: LossPlan, labels: Tensor, columns: set[str], agnostic_norm: bool) -> None:
    torch.manual_seed(1)
    recipe = replace(RECIPE, agnostic_norm=agnostic_norm)
    net = BreastNet(recipe).train()
    objective = Objective(losses, D)
    terms = objective.encoder_loss(net(a_batch(4, recipe)), labels, net.discriminators, everyone(), 1.0, latents=LATENTS)
    terms.total.backward()
    assert learning(net) == columns


@pytest.mark.parametrize(
    ("losses", "columns"),
    [
        (plan(lambda_modality=0.2), {"g_a"}),
        (plan(lambda_projection=0.2), {"g_M", "g_U"}),
        (plan(lambda_projection=0.2, lambda_modality=0.2, detach_agnostic=False), {"g_a", "g_M", "g_U"}),
    ],
)
def test_the_discriminators_step_updates_nothing_else(losses: LossPlan, columns: set[str]) -> None:
    net = BreastNet(RECIPE).train()
    Objective(losses, D).discriminator_loss(net(a_batch(4, RECIPE)), net.discriminators, everyone()).backward()
    assert learning(net) == columns


@pytest.mark.parametrize("alternate", ["step", "epoch"])
def test_both_alternations_move_theta_and_omega_apart(alternate: str) -> None:
    """Six steps of either kind with two Adam optimisers: each moves only its own, and after the discriminators' step the encoders
    meet the discriminators as they now are."""
    torch.manual_seed(2)
    net, batch, seen = BreastNet(RECIPE).train(), a_batch(4, RECIPE), everyone()
    objective = Objective(replace(LOSSES["faithful"], alternate=alternate), D)
    omega = list(net.discriminators.parameters())
    theta = [weight for name, weight in net.named_parameters() if not name.startswith("discriminators")]
    adam_f, adam_g = torch.optim.Adam(theta, lr=1e-3), torch.optim.Adam(omega, lr=1e-3)
    for turn in range(6):
        output = net(batch)
        before = [[weight.detach().clone() for weight in weights] for weights in (theta, omega)]
        if alternate == "step" or turn % 2 == 1:
            objective.discriminator_loss(output, net.discriminators, seen).backward()
            adam_g.step()
            adam_g.zero_grad()
            assert all(torch.equal(*pair) for pair in zip(theta, before[0], strict=True))
            assert not all(torch.equal(*pair) for pair in zip(omega, before[1], strict=True))
        if alternate == "step" or turn % 2 == 0:
            now = [weight.detach().clone() for weight in omega]
            objective.encoder_loss(output, LABELS, net.discriminators, seen, 1.0).total.backward()
            adam_f.step()
            adam_f.zero_grad()
            assert all(torch.equal(*pair) for pair in zip(omega, now, strict=True))
            assert all(weight.grad is None for weight in omega)
            assert not all(torch.equal(*pair) for pair in zip(theta, before[0], strict=True))


def test_equations_14_and_15_by_hand() -> None:
    losses = LossPlan(
        adversary="minimax", lambda_modality=0.3, lambda_projection=0.7, lambda_compactness=1.3, lambda_cross_covariance=0.11, memory=0
    )
    output, net = features(), discriminators()
    terms = Objective(losses, D).encoder_loss(output, LABELS, net, everyone(), 0.5)
    assert tuple(terms.parts) == PARTS
    p = {name: value.item() for name, value in terms.parts.items()}
    expected = p["L_cls"] + 1.3 * p["L_C"] - 0.5 * 0.3 * p["L_mo"] - 0.5 * 0.7 * (p["L_M"] + p["L_U"]) + 0.11 * p["L_X"]
    assert terms.total.item() == pytest.approx(expected) == pytest.approx(p["L_f"])
    assert p["L_cls"] == pytest.approx(p["L_t1"] + p["L_t2"] + p["L_t3"])
    assert all(value > 0 for name, value in p.items() if name not in ("L_f", "L_Z"))
    assert Objective(losses, D).discriminator_loss(output, net, everyone()).item() == pytest.approx(
        0.3 * p["L_mo"] + 0.7 * (p["L_M"] + p["L_U"])
    )
    with torch.no_grad():
        pairs = zip(hat(output.specific_mri), hat(output.agnostic_mri), strict=True)
        l_m = [float((net.project_mri(specific) - agnostic).square().sum() + 1e-8) ** 0.5 for specific, agnostic in pairs]
        pairs = zip(hat(output.specific_us), hat(output.agnostic_us), strict=True)
        l_u = [float((net.project_ultrasound(specific) - agnostic).square().sum() + 1e-8) ** 0.5 for specific, agnostic in pairs]
        modality = [net.modality(hat(each)).log_softmax(dim=1) for each in (output.agnostic_mri, output.agnostic_us)]
        s = (hat(output.agnostic_mri) @ hat(output.agnostic_us).T) / losses.temperature
    assert p["L_M"] == pytest.approx(sum(l_m) / 4)
    assert p["L_U"] == pytest.approx(sum(l_u) / 4)
    assert p["L_mo"] == pytest.approx(-float(modality[0][:, 0].sum() + modality[1][:, 1].sum()) / 8)
    assert p["L_C"] == pytest.approx(-0.5 * float((s.log_softmax(dim=1).diag() + s.log_softmax(dim=0).diag()).mean()))


def test_l_z_is_each_features_own_latents_over_the_patients_that_have_it() -> None:
    """The agnostic features are asked for what both modalities show, the specific ones for their own; an absent modality for nothing."""
    asked = {
        "agnostic_mri": ["size", "lobulation", "margin"],
        "specific_mri": ["slope", "wash_out", "rim"],
        "agnostic_us": ["size", "lobulation", "margin"],
        "specific_us": ["shadow", "echo", "anisotropy"],
        "fused": ["size", "lobulation", "margin"],
    }
    torch.manual_seed(4)
    objective, output = Objective(plan(lambda_latents=0.7), D).double(), features()
    seen = Seen(torch.tensor([True, True, False, True]), torch.tensor([True, False, True, True]))
    terms = objective.encoder_loss(output, UNKNOWN, discriminators(), seen, 1.0, latents=LATENTS)
    assert objective.readout is not None
    expected = 0.0
    for name, latents in asked.items():
        those = seen.both if name == "fused" else seen.mri if name.endswith("mri") else seen.us
        said = objective.readout.maps[name](getattr(output, name)).detach()
        wanted = LATENTS[:, [LATENT_NAMES.index(each) for each in latents]]
        expected += sum(float(((said[n] - wanted[n]) ** 2).sum()) / 3 for n in range(4) if those[n]) / int(those.sum())
    assert terms.parts["L_Z"].item() == pytest.approx(expected)
    assert terms.total.item() == pytest.approx(0.7 * expected)
    with pytest.raises(ValueError, match="only made-up patients have"):
        objective.encoder_loss(output, UNKNOWN, discriminators(), seen, 1.0)


def test_confusion_takes_the_place_of_l_mo_with_the_other_sign() -> None:
    output, net = features(), discriminators()
    losses = plan(adversary="confusion", lambda_modality=0.2)
    terms = Objective(losses, D).encoder_loss(output, LABELS, net, everyone(), 1.0)
    uniform = [net.modality(hat(each)).log_softmax(dim=1).mean() for each in (output.agnostic_mri, output.agnostic_us)]
    expected = terms.parts["L_cls"] - 0.2 * 0.5 * (uniform[0] + uniform[1])
    assert terms.total.item() == pytest.approx(expected.item())


def test_without_an_adversary_its_terms_are_nothing() -> None:
    objective = Objective(LOSSES["supervised"], D)
    terms = objective.encoder_loss(features(), LABELS, discriminators(), everyone(), 1.0)
    assert terms.total.item() == terms.parts["L_cls"].item() > 0
    assert all(terms.parts[name] == 0 for name in ("L_C", "L_mo", "L_M", "L_U", "L_X"))
    assert objective.discriminator_loss(features(), discriminators(), everyone()).item() == 0


@pytest.mark.parametrize("literal", [True, False])
def test_equation_14_diverges_as_printed_and_is_bounded_when_normalised(literal: bool) -> None:
    """The toy of section 0, point 2: encoders of two layers, the adversary of equation 14, nothing else."""
    torch.manual_seed(0)
    shown = torch.randn(64, 16)
    encoders = nn.ModuleList(nn.Sequential(nn.Linear(16, D), nn.ReLU(), nn.Linear(D, D)) for _ in range(4))
    net = Discriminators(RECIPE)
    objective = Objective(plan(lambda_modality=0.2, lambda_projection=0.2, literal=literal, detach_agnostic=False), D)
    adam_f, adam_g = torch.optim.Adam(encoders.parameters(), lr=1e-2), torch.optim.Adam(net.parameters(), lr=1e-2)
    labels, seen = torch.full((64, 3), -1), everyone(64)
    course = []
    for _ in range(150):
        made = [encoder(shown) for encoder in encoders]
        output = Output(torch.zeros(64, 3, 2), made[0], *made)
        adam_g.zero_grad()
        objective.discriminator_loss(output, net, seen).backward()
        adam_g.step()
        adam_f.zero_grad()
        total = objective.encoder_loss(output, labels, net, seen, 1.0).total
        total.backward()
        adam_f.step()
        course.append(total.item())
    if literal:
        assert course[-1] < -50
        assert course[-1] < 2 * course[-50], "and falling ever faster"
    else:
        assert min(course) > -2


@pytest.mark.parametrize("name", ["faithful", "stable"])
def test_whatever_stands_where_a_modality_is_absent_no_loss_changes(name: str) -> None:
    seen = Seen(torch.tensor([True, True, False, True]), torch.tensor([True, False, True, True]))
    clean, net = features(), discriminators()
    junk = features()
    with torch.no_grad():
        for each in (junk.agnostic_mri, junk.specific_mri):
            each[2] = 1e6
        for each in (junk.agnostic_us, junk.specific_us):
            each[1] = -1e6
    objective = Objective(LOSSES[name], D)
    first, second = (objective.encoder_loss(output, LABELS, net, seen, 1.0) for output in (clean, junk))
    assert {n: v.item() for n, v in first.parts.items()} == pytest.approx({n: v.item() for n, v in second.parts.items()})
    assert objective.discriminator_loss(clean, net, seen).item() == pytest.approx(objective.discriminator_loss(junk, net, seen).item())
    second.total.backward()
    for each, absent in ((junk.agnostic_mri, 2), (junk.specific_mri, 2), (junk.agnostic_us, 1), (junk.specific_us, 1)):
        assert each.grad is not None
        assert torch.isfinite(each.grad).all()
        assert not each.grad[absent].any()


@pytest.mark.parametrize("seen", [Seen(torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)), everyone(1)])
@pytest.mark.parametrize("name", ["faithful", "stable"])
def test_a_batch_without_pairs_or_of_one_patient_is_finite(seen: Seen, name: str) -> None:
    n = len(seen.mri)
    output = features(n)
    objective = Objective(LOSSES[name], D)
    terms = objective.encoder_loss(output, LABELS[:n], discriminators(), seen, 1.0)
    terms.total.backward()
    assert terms.total.isfinite()
    assert output.agnostic_mri.grad is not None
    assert output.agnostic_mri.grad.isfinite().all()


def test_the_micro_batches_of_a_batch_add_up_to_it() -> None:
    """L_cls, L_mo, L_M and L_U exactly, also where labels and modalities are missing unevenly."""
    losses = plan(lambda_modality=0.2, lambda_projection=0.2, detach_agnostic=False)
    objective, net = Objective(losses, D), discriminators()
    seen = Seen(torch.tensor([True, True, True, False]), torch.tensor([True, False, True, True]))
    weights = torch.tensor([[0.5, 2.0], [1.0, 1.0], [3.0, 0.2]])
    whole, pieces = features(), features()
    objective.encoder_loss(whole, LABELS, net, seen, 1.0, weights).total.backward()
    counts = objective.counts(LABELS, seen, weights)
    total = 0.0
    for part in (slice(0, 1), slice(1, 3), slice(3, 4)):
        output = Output(*(getattr(pieces, name)[part] for name in Output.__dataclass_fields__))
        terms = objective.encoder_loss(output, LABELS[part], net, Seen(seen.mri[part], seen.us[part]), 1.0, weights, counts)
        terms.total.backward()
        total += objective.discriminator_loss(output, net, Seen(seen.mri[part], seen.us[part]), counts).item()
    for name in ("logits", "agnostic_mri", "agnostic_us", "specific_mri", "specific_us"):
        assert torch.allclose(getattr(whole, name).grad, getattr(pieces, name).grad, atol=1e-12), name
    assert total == pytest.approx(objective.discriminator_loss(whole, net, seen).item())


def test_the_memory_holds_the_last_features_and_travels_in_the_state() -> None:
    losses = replace(LOSSES["stable"], memory=6)
    objective, net = Objective(losses, D), discriminators()
    for turn in range(3):
        objective.remember(features(4, seed=turn), Seen(*[torch.ones(4, dtype=torch.bool)] * 2, torch.arange(4) + 4 * turn))
    assert sorted(objective.mri_memory.patient.tolist()) == [6, 7, 8, 9, 10, 11]
    latest = features(4, seed=2).agnostic_mri.detach().float()
    assert torch.equal(objective.mri_memory.agnostic[objective.mri_memory.patient == 9][0], latest[1])
    again = Objective(losses, D)
    assert again.us_memory.filled.sum() == 0
    again.load_state_dict(copy.deepcopy(objective.state_dict()))
    output = features(4, seed=9)
    values = [each.encoder_loss(output, LABELS, net, everyone(), 1.0).total.item() for each in (objective, again, Objective(losses, D))]
    assert values[0] == values[1] != values[2]


def test_l_x_waits_until_the_memory_is_half_full() -> None:
    """Over a few rows it is noise: near d where one row lies far from the others, whatever the features have to do with each other."""
    losses = plan(lambda_cross_covariance=0.1, memory=8)
    objective, net = Objective(losses, D), discriminators()
    far = features(4, seed=7)
    with torch.no_grad():
        for name in ("agnostic_mri", "specific_mri", "agnostic_us", "specific_us"):
            getattr(far, name)[0] += 30.0
    alone = Objective(replace(losses, memory=0), D).encoder_loss(far, UNKNOWN, net, everyone(), 1.0).parts["L_X"]
    assert alone > 0.5 * D
    course = []
    for turn in range(3):
        terms = objective.encoder_loss(features(2, seed=turn), LABELS[:2], net, everyone(2), 1.0)
        course.append(terms.parts["L_X"].item())
        if turn < 2:
            assert terms.total.item() == terms.parts["L_cls"].item(), "it weighs nothing either"
        objective.remember(features(2, seed=10 + turn), everyone(2))
    assert course[:2] == [0, 0]
    assert course[2] > 0
    again = Objective(losses, D)
    again.load_state_dict(copy.deepcopy(objective.state_dict()))
    output = features(2, seed=5)
    values = [each.encoder_loss(output, LABELS[:2], net, everyone(2), 1.0).parts["L_X"].item() for each in (objective, again)]
    assert values[0] == values[1] > 0, "a run that goes on does not wait again"


def test_only_patients_that_were_shown_are_remembered() -> None:
    objective = Objective(LOSSES["stable"], D)
    objective.remember(features(), Seen(torch.tensor([True, False, True, False]), torch.zeros(4, dtype=torch.bool)))
    assert objective.mri_memory.filled.sum() == 2
    assert objective.us_memory.filled.sum() == 0


def test_a_patient_is_no_stranger_to_its_own_remembered_features() -> None:
    losses = plan(compactness="contrastive", memory=8)
    net, output = discriminators(), features()
    known = Seen(everyone().mri, everyone().us, torch.arange(4))
    blank, same, strangers = (Objective(losses, D) for _ in range(3))
    same.remember(output, known)
    strangers.remember(output, replace(known, patient=torch.arange(4) + 10))
    l_c = [each.encoder_loss(output, UNKNOWN, net, known, 1.0).parts["L_C"].item() for each in (blank, same, strangers)]
    assert l_c[0] < l_c[1] < l_c[2], "in the memory only the three others are candidates, for strangers all four"


def test_half_width_features_give_full_width_losses() -> None:
    output = features()
    narrow = Output(*(getattr(output, name).to(torch.bfloat16) for name in Output.__dataclass_fields__))
    net = copy.deepcopy(discriminators()).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        objective = Objective(LOSSES["stable"], D)
        terms = objective.encoder_loss(narrow, LABELS, net, everyone(), 1.0)
        assert objective.discriminator_loss(narrow, net, everyone()).dtype == torch.float32
    assert {value.dtype for value in terms.parts.values()} == {torch.float32}
    exact = objective.encoder_loss(output, LABELS, discriminators(), everyone(), 1.0)
    assert terms.total.item() == pytest.approx(exact.total.item(), rel=0.02)


def test_the_warm_up_rises_straight_from_0_to_1() -> None:
    assert [warm_up(epoch, 10) for epoch in (0, 2.5, 10, 99)] == [0, 0.25, 1, 1]
    assert warm_up(0, 0) == 1


def test_the_modality_classifier_is_three_layers_with_relu_between() -> None:
    """Section 3.3: g_a, the long way round, and it is not linear."""
    made = discriminators()
    state = made.modality.state_dict()
    weights, biases = [state[f"{place}.weight"] for place in (0, 2, 4)], [state[f"{place}.bias"] for place in (0, 2, 4)]
    d = RECIPE.feature_width
    assert [tuple(weight.shape) for weight in weights] == [(d // 2, d), (d // 4, d // 2), (2, d // 4)]
    x = torch.randn(5, d, dtype=torch.float64)
    hidden = torch.clamp(x @ weights[0].T + biases[0], min=0)
    hidden = torch.clamp(hidden @ weights[1].T + biases[1], min=0)
    assert torch.allclose(made.modality(x), hidden @ weights[2].T + biases[2])
    assert torch.allclose(made.project_mri(x), x @ made.project_mri.weight.T + made.project_mri.bias)

"""S4, S6 and S8 on feature-level phantoms, for the quick table: interaction, the order of the phases, the healthy breast.

The images of these scenarios cost minutes; here the same questions are put to the stand-in of `latent_training`, whose phases and sides
are joined as in `BreastNet` and which learns by the program's own losses. All three tasks ask the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from breastai_model.case import TASKS
from breastai_model.plan import LOSSES
from breastai_model.proof.intervals import Interval, auc_interval, mean_interval
from breastai_model.proof.latent_phantoms import HIDDEN, LATENT, LAW_SEED, NOISE, OBSERVED, LatentPatients, draw_patients
from breastai_model.proof.latent_training import SETTINGS, LatentNet, answers, trained
from breastai_model.proof.pieces import Piece
from breastai_model.proof.table import Row, above, at_least, at_most, contains

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.proof.pieces import Bench

LEARN, TEST = 1500, 1000
LEARN_SEED, TEST_SEED = 3, 3_000_001
EPOCHS = 40
LEARN_PAIRS, PAIR_EPOCHS = 8000, 16
"""Of S4: no feature alone says anything of its label, and from 1,500 patients it is learnt by heart (AUC 1.00 on these, 0.50 on others)."""
SHARP = 6.0
"""Log-odds of S4 where both private latents are far from 0: their signs' product, softened by a tanh each."""
PHASES, SIDES = 5, 2
WIDEST = 0.1
SWAPPED = 0.05
"""By which a probability must change when the healthy breast is another patient's."""
GUESS = 0.6
"""AUC that linear heads may reach at most in S4: F^a, in which both modalities meet, tells them a little."""
STABLE = replace(SETTINGS["stable"], epochs=EPOCHS)
STABLE_PAIRS, FAITHFUL_PAIRS = (replace(SETTINGS[name], epochs=PAIR_EPOCHS) for name in ("stable", "faithful"))


def scenario_pieces() -> list[Piece]:
    """Return the three pieces."""
    pairs = f"{LEARN_PAIRS} training and {TEST} test patients, {STABLE_PAIRS.words()}, seed 1; {LOSSES['stable']}, {LOSSES['faithful']}"
    words = f"{LEARN} training and {TEST} test patients, {STABLE.words()}, seed 1; {LOSSES['stable']}"
    return [
        Piece("latent-S4", "Latent phantoms: S4, interaction of p_M and p_U", pairs, _interaction),
        Piece("latent-S6", "Latent phantoms: S6, the order of the phases", words, _order),
        Piece("latent-S8", "Latent phantoms: S8, the healthy breast", words, _healthy_breast),
    ]


def _interaction(bench: Bench) -> list[Row]:
    learn, test = interaction_patients(LEARN_PAIRS, LEARN_SEED), interaction_patients(TEST, TEST_SEED)
    hidden, linear = trained(learn, STABLE_PAIRS, 1, bench.left_s), trained(learn, FAITHFUL_PAIRS, 1, bench.left_s, head="linear")
    top = f"Bayes AUC {auc_interval(test.chances[:, 0], test.labels[:, 0]).value:.3f}"
    rows = [
        Row("latent S4, MRI + US", "AUC, stable", above(GUESS), _auc(hidden, test), top),
        Row("latent S4, MRI + US, linear heads", "AUC, faithful", at_most(GUESS), _auc(linear, test), "expected to fail"),
    ]
    for absent, words in (("ultrasound", "MRI alone"), ("mri", "US alone")):
        rows.append(Row(f"latent S4, {words}", "AUC", contains(0.5, WIDEST), _auc(hidden, test, absent), ""))
    return rows


def _order(bench: Bench) -> list[Row]:
    learn, test = order_patients(LEARN, LEARN_SEED), order_patients(TEST, TEST_SEED)
    net = trained(learn, STABLE, 1, bench.left_s, views="phases")
    rng = np.random.default_rng(6)
    orders = np.stack([np.concatenate([[0], 1 + rng.permutation(PHASES - 1)]) for _ in range(len(test))])
    mixed = replace(test, mri=np.take_along_axis(test.mri, orders[:, :, None], axis=1))
    return [
        Row("latent S6, phases in order", "AUC", at_least(0.75), _auc(net, test), "the order is told apart without error by who sees it"),
        Row("latent S6, phases permuted", "AUC", contains(0.5, WIDEST), _auc(net, mixed), "the values are the same"),
    ]


def _healthy_breast(bench: Bench) -> list[Row]:
    learn, test = side_patients(LEARN, LEARN_SEED), side_patients(TEST, TEST_SEED)
    net = trained(learn, STABLE, 1, bench.left_s, views="sides")
    other = test.mri.copy()
    other[:, 1] = np.roll(test.mri[:, 1], 1, axis=0)
    here, put = (_chance(net, each) for each in (test, replace(test, mri=other)))
    differs = test.labels[:, 0] != np.roll(test.labels[:, 0], 1)
    moved = mean_interval(np.abs(put - here)[differs])
    return [
        Row("latent S8, both breasts", "AUC", at_least(0.75), _auc(net, test), "the label depends on the healthy breast alone"),
        Row(
            "latent S8, another's healthy breast",
            "mean change of a probability",
            at_least(SWAPPED),
            moved,
            "the other has the other label",
        ),
    ]


def interaction_patients(count: int, seed: int) -> LatentPatients:
    """Return patients whose answers follow from the product of a private latent of each modality."""
    drawn = draw_patients(count, seed)
    odds = SHARP * np.tanh(2 * drawn.private_mri[:, 0]) * np.tanh(2 * drawn.private_us[:, 0])
    return _answered(drawn, odds, seed)


def order_patients(count: int, seed: int) -> LatentPatients:
    """Return patients whose MRI is seen five times: after the first, four values that rise or fall, which is the answer."""
    drawn = draw_patients(count, seed)
    rng = np.random.default_rng([seed, 7])
    values = np.sort(rng.standard_normal((count, PHASES - 1)), axis=1)
    rises = rng.random(count) < 0.5
    values = np.where(rises[:, None], values, values[:, ::-1])
    curve = np.concatenate([np.zeros((count, 1)), values], axis=1)
    odds = np.where(rises, 50.0, -50.0)
    return _answered(replace(drawn, mri=_seen(drawn, curve, rng)), odds, seed)


def side_patients(count: int, seed: int) -> LatentPatients:
    """Return patients whose MRI shows two breasts; a latent of the second, the healthy one, decides the answer."""
    drawn = draw_patients(count, seed)
    rng = np.random.default_rng([seed, 8])
    sides = rng.standard_normal((count, SIDES))
    return _answered(replace(drawn, mri=_seen(drawn, sides, rng)), 2.6 * sides[:, 1], seed)


def _seen(drawn: LatentPatients, values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return (patient, view, 64): s, p_M and one value that differs between the views, through one nonlinear map."""
    law = np.random.default_rng([LAW_SEED, 2])
    first = law.standard_normal((2 * LATENT + 1, HIDDEN)) / np.sqrt(2 * LATENT + 1) * 1.5
    second = law.standard_normal((HIDDEN, OBSERVED)) / np.sqrt(HIDDEN)
    views = [np.concatenate([drawn.shared, drawn.private_mri, value[:, None]], axis=1) for value in values.T]
    hidden = np.tanh(np.stack(views, axis=1) @ first)
    return np.asarray(hidden @ second + NOISE * rng.standard_normal((*values.shape, OBSERVED)), dtype=np.float32)


def _answered(drawn: LatentPatients, odds: NDArray[np.float64], seed: int) -> LatentPatients:
    """Return the patients with these log-odds in all three tasks, one toss each for all of them."""
    chance = 1 / (1 + np.exp(-odds))
    labels = (np.random.default_rng([seed, 9]).random(len(chance)) < chance).astype(np.int64)
    tasks = len(TASKS)
    return replace(drawn, chances=np.tile(chance[:, None], tasks), labels=np.tile(labels[:, None], tasks))


def _auc(net: LatentNet, patients: LatentPatients, absent: str = "") -> Interval:
    return auc_interval(answers(net, patients, absent).log_odds[:, 0], patients.labels[:, 0])


def _chance(net: LatentNet, patients: LatentPatients) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(answers(net, patients).log_odds[:, 0], -60, 60))))

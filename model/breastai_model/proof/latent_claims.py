"""What is claimed of disentangling, measured on feature-level phantoms: leakage, information, projection, swaps, missing modality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from breastai_model.proof import probes
from breastai_model.proof.intervals import Interval, auc_contrast, auc_interval, exact, mean_interval, over_seeds
from breastai_model.proof.latent_phantoms import LATENT, ceiling, draw_patients
from breastai_model.proof.latent_training import SETTINGS, LatentNet, answers, as_arrays, trained
from breastai_model.proof.table import Row, at_least, at_most, between, contains
from breastai_model.training.calibrate import fitted_temperature
from breastai_model.training.objective import Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from breastai_model.proof.latent_phantoms import LatentPatients
    from breastai_model.proof.latent_training import LatentAnswers
    from breastai_model.proof.pieces import Bench
    from breastai_model.proof.table import Expected

LEARN, TEST = 400, 2000
LEARN_SEED, TEST_SEED = 1, 1_000_001
PROBE_GATE = 0.80
"""Of the MLP probe on F^a with the recipe `stable`; 0.5 is not promised (method section vii)."""
LEAKY = 0.95
MISSING_MARGIN = 0.1
"""By which the AUC lost without a modality may miss the gap between the ceilings."""
CALIBRATION = 400
SWAP = 0.5
"""The change by an equal-s swap, at most this share of the change by a swap to another s."""
LEAST_CHANGE = 0.01
"""Of a probability, in the mean: where any patient's feature changes it by less, the swapped feature does not matter."""


@dataclass(frozen=True, slots=True)
class LatentBudget:
    """Trainings and patients of the latent pieces."""

    seeds: tuple[int, ...] = (1, 2, 3)
    learn: int = LEARN
    test: int = TEST
    epochs: int | None = None

    def words(self, setting: str) -> str:
        """Return the constants of one setting in words: what a result file is known by."""
        chosen = SETTINGS[setting]
        patients = f"{self.learn} training and {self.test} test patients"
        return f"{patients}, {chosen.words()}, seeds {', '.join(map(str, self.seeds))}; {chosen.losses}"


@dataclass(frozen=True, eq=False, slots=True)
class Trained:
    """The stand-ins of one setting, one a seed, and what they say of the test patients."""

    nets: tuple[LatentNet, ...]
    test: LatentPatients
    said: tuple[LatentAnswers, ...]

    def each(self, measure: Callable[[LatentAnswers], Interval]) -> Interval:
        """Return a figure's mean over the seeds."""
        return over_seeds([measure(said) for said in self.said])


def train_setting(setting: str, budget: LatentBudget, bench: Bench) -> Trained:
    """Return the stand-ins of one setting. Raises OutOfTime."""
    learn, test = draw_patients(budget.learn, LEARN_SEED), draw_patients(budget.test, TEST_SEED)
    nets = tuple(trained(learn, SETTINGS[setting], seed, bench.left_s) for seed in budget.seeds)
    return Trained(nets, test, tuple(answers(net, test) for net in nets))


def classification_rows(setting: str, made: Trained) -> list[Row]:
    """Return the AUCs beside their ceilings."""
    rows = []
    for task, source in enumerate(("s", "p_M", "p_U")):
        top = ceiling(made.test, task).value
        measured = made.each(lambda said, task=task: auc_interval(said.log_odds[:, task], made.test.labels[:, task]))  # type: ignore[misc]
        rows.append(Row(f"{setting} AUC {task + 1}", f"label from {source}", None, measured, f"Bayes AUC {top:.3f}"))
    return rows


def leakage_rows(setting: str, made: Trained, linear: Expected | None, mlp: Expected | None) -> list[Row]:
    """Return the fresh probes on F^a."""
    note = f"{len(made.test)} patients, split by patient, {probes.REPEATS} repeats"
    says = "fresh probe names the modality of F^a, chance 0.5"
    return [
        Row(f"{setting} probe, logistic", says, linear, made.each(lambda said: _leak(said, "linear")), note),
        Row(f"{setting} probe, MLP(64)", says, mlp, made.each(lambda said: _leak(said, "mlp")), note),
    ]


def control_rows(made: Trained) -> list[Row]:
    """Return the probe's own controls, on the network that the claims are about."""
    positive = made.each(lambda said: probes.leakage(said.specific_mri, said.specific_us, "mlp"))
    negative = made.each(lambda said: probes.leakage(said.agnostic_mri, said.agnostic_us, "mlp", swap=True))
    return [
        Row("positive control of the probe", "the same probe on F^s names the modality", at_least(LEAKY), positive, "stable"),
        Row("negative control of the probe", "modality labels swapped within random pairs", contains(0.5, 0.06), negative, "stable"),
    ]


def information_rows(setting: str, made: Trained, judged: bool) -> list[Row]:
    """Return what the features hold: R^2 of fresh regressors, alignment of the streams."""
    test = made.test

    def r2(name: str, says: str, features: str, target: str, expected: Expected | None, kind: probes.Kind = "mlp") -> Row:
        measured = made.each(lambda said: probes.explained(getattr(said, features), _target(test, said, target), kind))
        return Row(f"{setting} {name}", says, expected if judged else None, measured, f"R² on held-out patients, {kind}")

    rows = [
        r2("F^a_M → s", "the agnostic feature holds the shared latent", "agnostic_mri", "shared", at_least(0.7)),
        r2("F^a_M → p_M", "and little of the private one", "agnostic_mri", "private_mri", at_most(0.5)),
        r2("F^a_U → p_U", "and little of the private one", "agnostic_us", "private_us", at_most(0.5)),
        r2(
            "F^s_M → p_M",
            "the specific feature holds the private latent (its label's direction at the least)",
            "specific_mri",
            "private_mri",
            None,
        ),
        r2(
            "F^s_M → F^a_M",
            "a fresh regressor reads the agnostic from the specific feature (equation 1)",
            "specific_mri",
            "agnostic_mri",
            None,
        ),
    ]
    cka = over_seeds([exact(probes.linear_cka(said.specific_mri, said.agnostic_mri)) for said in made.said])
    return [*rows, Row(f"{setting} CKA", "linear alignment of F^s_M and F^a_M, 0 to 1", None, cka, "")]


def projection_rows(setting: str, made: Trained, judged: bool) -> list[Row]:
    """Return cross-modal retrieval and canonical correlation."""
    chance = 1 / len(made.test)
    found = made.each(lambda said: probes.retrieval(said.agnostic_mri, said.agnostic_us))
    canonical = over_seeds(
        [exact(float(probes.canonical_correlations(said.agnostic_mri, said.agnostic_us, LATENT).mean())) for said in made.said]
    )
    expected = at_least(10 * chance) if judged else None
    return [
        Row(f"{setting} retrieval", "F^a_M finds its own patient's F^a_U first", expected, found, f"top-1, chance {chance:.4f}"),
        Row(f"{setting} CCA", f"mean of the first {LATENT} canonical correlations of F^a_M and F^a_U", None, canonical, "held-out half"),
    ]


def share_of_change(near: NDArray[np.float64], far: NDArray[np.float64]) -> Interval | None:
    """Return the change by an equal patient as a share of that by any, (patient,) each; None where any patient changes nothing.

    A network that does not read the feature would else keep the promise that it does not change for equal s.
    """
    return mean_interval(near, 0, far) if far.mean() >= LEAST_CHANGE else None


def swap_rows(made: Trained) -> list[Row]:
    """Return what happens to the answer that depends on s when another patient's feature is put in."""
    test, count = made.test, len(made.test)
    twin = draw_patients(count, TEST_SEED + 1, shared=test.shared)
    ratios: list[Interval | None] = []
    falls: dict[int, list[Interval]] = {0: [], 1: []}
    for net, said in zip(made.nets, made.said, strict=True):
        other = answers(net, twin)
        equal = _swapped(net, said, {"agnostic_us": other.agnostic_us})
        stranger = _swapped(net, said, {"agnostic_us": np.roll(other.agnostic_us, 1, axis=0)})
        before = _chance(said.log_odds[:, 0])
        near, far = (np.abs(_chance(each.log_odds[:, 0]) - before) for each in (equal, stranger))
        ratios.append(share_of_change(near, far))
        levelled = _swapped(net, said, {"specific_mri": np.tile(said.specific_mri.mean(axis=0), (count, 1))})
        for task in falls:
            scores = (said.log_odds[:, task], levelled.log_odds[:, task])
            falls[task].append(auc_contrast(scores, (1.0, -1.0), test.labels[:, task]))
    told = [ratio for ratio in ratios if ratio is not None]
    return [
        Row(
            "swap F^a_U, equal s",
            "change of the s label's probability, as a share of the change by another s",
            at_most(SWAP),
            over_seeds(told) if len(told) == len(ratios) else None,
            "F^a_U of another patient with the same s; p_U and nuisance drawn anew",
        ),
        Row("F^s_M levelled, p_M label", "AUC lost when F^s_M is the population's mean", at_least(0.1), over_seeds(falls[1]), "stable"),
        Row(
            "F^s_M levelled, s label", "AUC lost when F^s_M is the population's mean", between(-0.05, 0.05), over_seeds(falls[0]), "stable"
        ),
    ]


def missing_rows(made: Trained) -> list[Row]:
    """Return what a dropped modality costs, beside the gap between the ceilings, and the answer without information."""
    test = made.test
    alone = {absent: tuple(answers(net, test, absent) for net in made.nets) for absent in ("mri", "ultrasound")}
    rows = []
    for task, source in enumerate(("s", "p_M", "p_U")):
        for absent, less in alone.items():
            blind = (task, absent) in ((1, "mri"), (2, "ultrasound"))
            gap = ceiling(test, task).value - 0.5 if blind else 0.0
            lost = over_seeds(
                [
                    auc_contrast((whole.log_odds[:, task], part.log_odds[:, task]), (1.0, -1.0), test.labels[:, task])
                    for whole, part in zip(made.said, less, strict=True)
                ]
            )
            says = f"AUC lost without {absent}, label from {source}"
            margin = between(gap - MISSING_MARGIN, gap + MISSING_MARGIN)
            rows.append(Row(f"missing {absent}, {source}", says, margin, lost, f"gap of the ceilings {gap:.3f}"))
    distances = []
    for net in made.nets:
        # The program calibrates each scope by itself, on patients that the network had not learnt from.
        fresh = draw_patients(CALIBRATION, TEST_SEED + 2)
        temperature = fitted_temperature(answers(net, fresh, "mri").log_odds[:, 1], fresh.labels[:, 1])
        said = _chance(answers(net, test, "mri").log_odds[:, 1] / temperature)
        distances.append(mean_interval(np.abs(said - test.labels[:, 1].mean())))
    says = "mean distance of the p_M label's probability from the prevalence when MRI is missing"
    note = f"temperature of that scope fitted on {CALIBRATION} other patients; 0 would be perfect"
    return [*rows, Row("calibrated ignorance", says, at_most(0.1), over_seeds(distances), note)]


def norm_row(made: Trained) -> Row:
    """Return the length of the features of a loss without a lower bound."""
    lengths = [
        float(np.nanmax(np.linalg.norm(np.nan_to_num(np.concatenate([said.agnostic_mri, said.specific_mri]), nan=np.inf), axis=1)))
        for said in made.said
    ]
    return Row(
        "literal equation 14 diverges",
        "greatest length of F^a_M and F^s_M",
        at_least(1e4),
        over_seeds([exact(each) for each in lengths]),
        "V1",
    )


def _leak(said: LatentAnswers, kind: probes.Kind) -> Interval:
    return probes.leakage(said.agnostic_mri, said.agnostic_us, kind)


def _target(test: LatentPatients, said: LatentAnswers, name: str) -> NDArray[np.float64]:
    return np.asarray(getattr(said if hasattr(said, name) else test, name))


def _chance(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -60, 60))))


def _swapped(net: LatentNet, said: LatentAnswers, put: dict[str, NDArray[np.float64]]) -> LatentAnswers:
    """Return what the net says when one of the four features is replaced."""
    names = ("agnostic_mri", "agnostic_us", "specific_mri", "specific_us")
    features = [torch.from_numpy(np.asarray(put.get(name, getattr(said, name)), dtype=np.float32)) for name in names]
    every = torch.ones(len(said.log_odds), dtype=torch.bool)
    with torch.inference_mode():
        return as_arrays(net.joined(features[0], features[1], features[2], features[3], Seen(mri=every, us=every)))

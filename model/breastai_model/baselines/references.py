"""Plain references: what the data give away without any of the methods that are compared."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from sklearn.linear_model import LogisticRegression

from breastai_model.baselines.absence import prevalence, shown
from breastai_model.baselines.fit_network import FittedNetwork, Showing, fit_network
from breastai_model.baselines.hand_features import mri_measurements, us_measurements
from breastai_model.baselines.small_networks import EarlyConcatenation, MriFeatures, OneModality, UltrasoundFeatures
from breastai_model.case import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from breastai_model.baselines.system import Budget
    from breastai_model.recipe import Recipe
    from breastai_model.training.dataset import CaseFiles
    from breastai_model.training.features import Absent

    Index = NDArray[np.int64]
    Tell = Callable[[str], None]

Scope = Literal["both", "mri", "us"]
_SCOPES: tuple[Scope, ...] = ("both", "mri", "us")
STRENGTHS = (0.01, 0.1, 1.0, 10.0)
"""C of the regression, chosen by the held-out cases' loss."""
ITERATIONS = 2000


@dataclass(frozen=True, eq=False, slots=True)
class FittedPrevalence:
    """The share (task,) of positive answers. See `Fitted`."""

    share: NDArray[np.float64]
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def probabilities(self, cases: CaseFiles, indices: Index, absent: Absent = "") -> NDArray[np.float64]:  # noqa: ARG002
        """Return the same answer for every case."""
        return np.tile(self.share, (len(indices), 1))


class Prevalence:
    """Answers every case with the share of positive answers among those learnt from."""

    name = "prevalence"
    title = "Prevalence"
    source = "No publication: a plain reference that looks at no image."

    def fit(self, cases: CaseFiles, learning: Index, held_out: Index, budget: Budget, folder: Path, tell: Tell) -> FittedPrevalence:  # noqa: ARG002
        """Count; see `System.fit`."""
        return FittedPrevalence(prevalence(cases.labels[learning]))


@dataclass(frozen=True, eq=False, slots=True)
class _Regression:
    """Standardisation (feature,) and one regression for each task, None where only one answer was seen."""

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    tasks: tuple[LogisticRegression | None, ...]

    def probabilities(self, features: NDArray[np.float64], unseen: NDArray[np.float64]) -> NDArray[np.float64]:
        scaled = ((features - self.mean) / self.spread)[None]
        pairs = zip(self.tasks, unseen, strict=True)
        return np.array([base if task is None else task.predict_proba(scaled)[0, 1] for task, base in pairs], dtype=np.float64)


@dataclass(frozen=True, eq=False, slots=True)
class FittedHandFeatures:
    """A regression for each set of inputs. See `Fitted`."""

    scopes: dict[Scope, _Regression]
    unseen: NDArray[np.float64]
    spacing_mm: tuple[float, float, float]
    seconds: float
    notes: tuple[str, ...] = ()

    def probabilities(self, cases: CaseFiles, indices: Index, absent: Absent = "") -> NDArray[np.float64]:
        """Return (n, task) probabilities; see `Fitted.probabilities`."""
        answers = np.tile(self.unseen, (len(indices), 1))
        for row, index in enumerate(indices):
            found = _measured(cases, int(index), self.spacing_mm, absent)
            scope: Scope = "both" if "both" in found else "mri" if "mri" in found else "us"
            if scope in found and scope in self.scopes:
                answers[row] = self.scopes[scope].probabilities(found[scope], self.unseen)
        return answers


class HandFeatures:
    """Logistic regression on `mri_measurements` and `us_measurements`, one for each set of inputs."""

    name = "hand-features"
    title = "Hand features, logistic regression"
    source = "No publication: a plain reference. Measurements of enhancement and echo without any mask, ridge-penalised regression."

    def fit(self, cases: CaseFiles, learning: Index, held_out: Index, budget: Budget, folder: Path, tell: Tell) -> FittedHandFeatures:  # noqa: ARG002
        """Measure and learn; see `System.fit`."""
        started = time.monotonic()
        spacing, base = budget.recipe.mri_spacing_mm, prevalence(cases.labels[learning])
        measured = {int(index): _measured(cases, int(index), spacing) for index in (*learning, *held_out)}
        scopes: dict[Scope, _Regression] = {}
        for scope in _SCOPES:
            own, checked = ([int(index) for index in side if scope in measured[int(index)]] for side in (learning, held_out))
            if own:
                features, others = (np.array([measured[index][scope] for index in side]) for side in (own, checked))
                scopes[scope] = _regression(features, cases.labels[own], others, cases.labels[np.array(checked, dtype=np.int64)])
        tell(f"measured {len(measured)} cases")
        return FittedHandFeatures(scopes, base, spacing, time.monotonic() - started)


class UltrasoundOnly:
    """ResNet-18 V2 of every angle, the mean over angles."""

    name = "us-only"
    title = "ResNet-18 V2, ultrasound only"
    source = "He et al., ECCV 2016. Changed: the width of ours; grey images; the mean over the angles' features; three heads."

    def fit(self, cases: CaseFiles, learning: Index, held_out: Index, budget: Budget, folder: Path, tell: Tell) -> FittedNetwork:
        """Learn; see `System.fit`."""
        return fit_network(lambda: _ultrasound(budget.recipe), cases, learning, held_out, budget, folder, tell, Showing(0.0, 0.0))


class MriOnly:
    """3D ResNet-18 V2 of both breasts, phases as channels."""

    name = "mri-only"
    title = "3D ResNet-18 V2, MRI only"
    source = (
        "He et al., ECCV 2016, in three dimensions. Changed: the width of ours; phases as channels (the first, and later ones minus it); "
        "both breasts' features side by side; three heads."
    )

    def fit(self, cases: CaseFiles, learning: Index, held_out: Index, budget: Budget, folder: Path, tell: Tell) -> FittedNetwork:
        """Learn; see `System.fit`."""
        return fit_network(lambda: _mri(budget.recipe), cases, learning, held_out, budget, folder, tell, Showing(0.0, 0.0))


@dataclass(frozen=True, eq=False, slots=True)
class FittedLateFusion:
    """Two networks, each of one modality. See `Fitted`."""

    mri: FittedNetwork
    us: FittedNetwork

    @property
    def seconds(self) -> float:
        """How long both learnt."""
        return self.mri.seconds + self.us.seconds

    @property
    def notes(self) -> tuple[str, ...]:
        """What either had to do otherwise."""
        return self.mri.notes + self.us.notes

    def probabilities(self, cases: CaseFiles, indices: Index, absent: Absent = "") -> NDArray[np.float64]:
        """Return the mean of both answers, or the one whose modality is there; see `Fitted.probabilities`."""
        there = np.array([_modalities(cases, int(index), absent) for index in indices], dtype=bool).reshape(-1, 2)
        both = np.stack([fitted.probabilities(cases, indices, absent) for fitted in (self.mri, self.us)])
        weights = np.where(there.any(axis=1, keepdims=True), there, True).T[..., None]
        return np.asarray((both * weights).sum(axis=0) / weights.sum(axis=0), dtype=np.float64)


class LateFusion:
    """The mean of `MriOnly` and `UltrasoundOnly`, both trained within the budget."""

    name = "late-fusion"
    title = "Late fusion (mean of the two)"
    source = "No publication: the mean of the probabilities of the two single-modality networks."

    def fit(self, cases: CaseFiles, learning: Index, held_out: Index, budget: Budget, folder: Path, tell: Tell) -> FittedLateFusion:
        """Learn; see `System.fit`."""
        mri = MriOnly().fit(cases, learning, held_out, budget, folder / "mri", tell)
        return FittedLateFusion(mri, UltrasoundOnly().fit(cases, learning, held_out, budget, folder / "us", tell))


class EarlyConcat:
    """Both networks' features side by side, one joint head, trained together with modality dropout."""

    name = "early-concat"
    title = "Early concatenation, no disentangling"
    source = "No publication: ResNet-18 V2 features of both modalities, concatenated before one joint head; modality dropout as ours."

    def fit(self, cases: CaseFiles, learning: Index, held_out: Index, budget: Budget, folder: Path, tell: Tell) -> FittedNetwork:
        """Learn; see `System.fit`."""
        return fit_network(lambda: EarlyConcatenation(budget.recipe), cases, learning, held_out, budget, folder, tell)


def _ultrasound(recipe: Recipe) -> OneModality:
    return OneModality(UltrasoundFeatures(recipe), "ultrasound", recipe)


def _mri(recipe: Recipe) -> OneModality:
    return OneModality(MriFeatures(recipe), "mri", recipe)


def _modalities(cases: CaseFiles, index: int, absent: Absent) -> tuple[bool, bool]:
    case = shown(cases.load(index), absent)
    return bool(case.mri_present.any()), bool(case.us_present.any())


def _measured(
    cases: CaseFiles, index: int, spacing_mm: tuple[float, float, float], absent: Absent = ""
) -> dict[Scope, NDArray[np.float64]]:
    """Return the measurements by the inputs that they are of; nothing where nothing can be measured."""
    case = shown(cases.load(index), absent)
    mri, us = mri_measurements(case, spacing_mm), us_measurements(case)
    found: dict[Scope, NDArray[np.float64]] = {}
    if mri is not None:
        found["mri"] = mri
    if us is not None:
        found["us"] = us
    if mri is not None and us is not None:
        found["both"] = np.concatenate([mri, us])
    return found


def _regression(
    features: NDArray[np.float64], labels: NDArray[np.int64], checked_features: NDArray[np.float64], checked_labels: NDArray[np.int64]
) -> _Regression:
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    tasks: list[LogisticRegression | None] = []
    for task in range(len(TASKS)):
        known, checked = labels[:, task] >= 0, checked_labels[:, task] >= 0
        if len(np.unique(labels[known, task])) < 2:
            tasks.append(None)
            continue
        scaled, answers = (features[known] - mean) / spread, labels[known, task]
        made = [LogisticRegression(C=strength, max_iter=ITERATIONS).fit(scaled, answers) for strength in STRENGTHS]
        losses = [0.0] * len(made)
        if checked.any():
            right = checked_labels[checked, task]
            others = (checked_features[checked] - mean) / spread
            losses = [float(-each.predict_log_proba(others)[np.arange(len(right)), right].mean()) for each in made]
        tasks.append(made[int(np.argmin(losses))])
    return _Regression(mean, spread, tuple(tasks))

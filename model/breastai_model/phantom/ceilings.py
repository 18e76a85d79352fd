"""How well anyone could answer a cohort's questions: from the latents, and from what can be measured in its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from breastai_model.case import TASKS, Task
from breastai_model.phantom.latents import SCOPES, Scope
from breastai_model.phantom.measured import MRI_FEATURES, PRINCIPAL, US_FEATURES
from breastai_model.phantom.scenarios import SCENARIOS, bayes_auc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.plan import Scenario

FOLDS, REPEATS = 5, 3
FEWEST = 10
"""Of each answer; with fewer no regression is fitted."""
STRENGTH = 0.3
"""Inverse of the weight of the regression's quadratic penalty, for standardised features."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """An AUC for a reader of both modalities, of MRI alone and of ultrasound alone; None where there were too few answers."""

    both: float | None
    mri: float | None
    us: float | None

    def scope(self, name: Scope) -> float | None:
        """Return the AUC of that reader."""
        return {"both": self.both, "mri": self.mri, "us": self.us}[name]


@dataclass(frozen=True, slots=True)
class TaskCeilings:
    """What bounds one answer.

    Attributes
    ----------
    bayes
        The latent-oracle AUC: an upper bound, for the noise of the images is not counted.
    outlined
        Logistic regression on features measured in the images, the lesion outlined by the truth: what the images allow.
    found
        The same, the lesion found in the images: no truth is used.
    """

    bayes: Ceiling
    outlined: Ceiling
    found: Ceiling


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What bounds each answer of a cohort."""

    lymph_node_metastasis: TaskCeilings
    high_grade: TaskCeilings
    high_ki67: TaskCeilings

    def task(self, name: Task) -> TaskCeilings:
        """Return the bounds of that answer."""
        return {
            "lymph_node_metastasis": self.lymph_node_metastasis,
            "high_grade": self.high_grade,
            "high_ki67": self.high_ki67,
        }[name]


def ceilings(scenario: Scenario, labels: NDArray[np.int64], outlined: NDArray[np.float64], found: NDArray[np.float64]) -> Ceilings:
    """Return the bounds of a cohort.

    Parameters
    ----------
    labels
        (patient, task) 1, 0, or -1 where not known.
    outlined, found
        (patient, feature): `MRI_FEATURES`, then `US_FEATURES`, with the lesion from the truth and from the images.
    """
    oracle = bayes_auc(scenario)
    crossed = any(len(term.latents) > 1 for law in SCENARIOS[scenario].tasks for term in law.terms)
    made = []
    for number, task in enumerate(TASKS):
        bounds = [
            Ceiling(*(measured_auc(features, labels[:, number], scope, crossed) for scope in SCOPES)) for features in (outlined, found)
        ]
        made.append(TaskCeilings(Ceiling(**oracle[task]), *bounds))
    return Ceilings(*made)


def measured_auc(features: NDArray[np.float64], labels: NDArray[np.int64], scope: Scope, crossed: bool = False) -> float | None:
    """Return the cross-validated AUC of a logistic regression on measured features, or None with too few of an answer.

    Each row is a patient, so whole patients are held out; the mean over `REPEATS` assignments to `FOLDS` folds of the AUC of the
    pooled log-odds. `crossed` adds, for a reader of both, the products of the `PRINCIPAL` measures of the two modalities, for a sum
    cannot tell an interaction.
    """
    known = labels >= 0
    answers = labels[known]
    if min((answers == 1).sum(), (answers == 0).sum()) < FEWEST:
        return None
    table = features[known]
    ours, theirs = table[:, : len(MRI_FEATURES)], table[:, len(MRI_FEATURES) :]
    if scope == "mri":
        table = ours
    elif scope == "us":
        table = theirs
    elif crossed:
        standard = StandardScaler()
        products = [
            standard.fit_transform(ours[:, [MRI_FEATURES.index(left)]]) * standard.fit_transform(theirs[:, [US_FEATURES.index(right)]])
            for left, right in PRINCIPAL
        ]
        table = np.concatenate([table, *products], axis=1)
    values = []
    for repeat in range(REPEATS):
        odds = np.zeros(len(answers))
        for learn, held in StratifiedKFold(FOLDS, shuffle=True, random_state=repeat).split(table, answers):
            fitted = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=1000)).fit(table[learn], answers[learn])
            odds[held] = fitted.decision_function(table[held])
        values.append(roc_auc_score(answers, odds))
    return float(np.mean(values))

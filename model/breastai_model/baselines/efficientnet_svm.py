"""`efficientnet-svm`: features of tiles, clusters of tiles that tell the classes apart, a support vector machine on what is kept."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from breastai_model.baselines.efficientnet_lite import origin
from breastai_model.baselines.feature_svm import INNER_FOLDS, PictureSVM, Standard, evenly, fit_svm, patient_folds
from breastai_model.baselines.mpifr_svm import feature_net
from breastai_model.baselines.patches import drawn_tiles, tiles
from breastai_model.baselines.picture_network import read_in_parts
from breastai_model.baselines.picture_system import Lesson, PictureSystem, Scores
from breastai_model.case import TASKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.baselines.efficientnet_lite import EfficientNetLite0

CLUSTERS = 16
EXCESS = 0.1
"""By which a cluster's purity must exceed the share of its answer among all tiles."""
AT_LEAST = 3
"""Clusters that are kept where fewer pass: those of the largest excess, and the table's note says so."""
MOST_CLUSTERED = 4000
"""Tiles on which the clusters are found, spread evenly over patients."""


@dataclass(frozen=True, eq=False, slots=True)
class DiscriminantTiles:
    """The feature network, the clusters, which of them count for which task, and a machine for each task."""

    net: EfficientNetLite0
    standard: Standard
    clusters: KMeans
    chosen: NDArray[np.bool_]
    machines: tuple[PictureSVM, ...]
    device: str

    def scores(self, pictures: NDArray[np.float32]) -> Scores:
        """Return the probability of each tile; tiles of clusters that tell nothing do not count."""
        features = self.standard(read_in_parts(self.net.features, tiles(pictures, pictures.shape[1]), self.device))
        probabilities = np.stack([machine.probabilities(features) for machine in self.machines], axis=1)
        return Scores(probabilities, self.chosen[self.clusters.predict(features)])


def telling_clusters(
    members: NDArray[np.int64], answers: NDArray[np.int64], patients: NDArray[np.int64], chance: np.random.Generator
) -> NDArray[np.float64]:
    """Return for each cluster how far its purity exceeds chance, (cluster,), -1 where it cannot be told.

    A cluster's answer is the majority of its tiles in two inner folds, relative to the prevalence; its purity is the share of that
    answer among its tiles of the third fold. The excess over that answer's prevalence is averaged over the folds.

    Parameters
    ----------
    members, answers, patients
        (tile,): cluster; 1, 0 or -1 (left out); whose it is.
    """
    known = answers >= 0
    members, answers, patients = members[known], answers[known], patients[known]
    excess = np.full(CLUSTERS, -1.0)
    splits = list(patient_folds(answers, patients, INNER_FOLDS, chance)) if len(answers) else []
    for cluster in range(CLUSTERS):
        found = []
        for learning, tested in splits:
            inside, outside = learning & (members == cluster), tested & (members == cluster)
            if inside.any() and outside.any():
                prevalence = answers[learning].mean()
                positive = answers[inside].mean() > prevalence
                share = answers[outside].mean()
                found.append(share - prevalence if positive else prevalence - share)
        if found:
            excess[cluster] = float(np.mean(found))
    return excess


def _learn(lesson: Lesson) -> DiscriminantTiles:
    net, device, side = feature_net(lesson), lesson.budget.device, lesson.sizes.side
    learning, held = lesson.learning, lesson.held_out
    cut, whose = drawn_tiles(learning.pictures, learning.patient, side, lesson.draws("tiles"))
    lesson.tell(f"{lesson.modality}: clusters of {len(cut)} tiles.")
    raw = read_in_parts(net.features, cut, device)
    standard = Standard.of(raw)
    features, labels = standard(raw), learning.labels[whose]
    seed = int(lesson.draws("clusters").integers(2**31))
    rows = evenly(whose, np.arange(len(features)), MOST_CLUSTERED, lesson.draws("clustered"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer clusters than asked for, where many tiles look alike, are no fault
        clusters = KMeans(n_clusters=min(CLUSTERS, len(rows)), n_init=2, random_state=seed).fit(features[rows])
    members = clusters.predict(features)
    held_cut, held_whose = (
        drawn_tiles(held.pictures, held.patient, side, lesson.draws("held out")) if len(held.labels) else (cut[:0], whose[:0])
    )
    measured = standard(read_in_parts(net.features, held_cut, device)) if len(held_cut) else None
    chosen = np.zeros((CLUSTERS, len(TASKS)), dtype=bool)
    machines = []
    for task in range(len(TASKS)):
        chance = lesson.draws(f"task {task}")
        excess = telling_clusters(members, labels[:, task], whose, chance)
        passed = excess > EXCESS
        if passed.sum() < AT_LEAST:
            lesson.notes.append(f"{lesson.modality}, {TASKS[task]}: {passed.sum()} clusters passed; the best {AT_LEAST} were kept.")
            passed = np.zeros(CLUSTERS, dtype=bool)
            passed[np.argsort(-excess, kind="stable")[:AT_LEAST]] = True
        chosen[:, task] = passed
        kept = passed[members]
        calibration = None
        if measured is not None:
            seen = passed[clusters.predict(measured)]
            calibration = (measured[seen], held.labels[held_whose[seen], task], held_whose[seen])
        machines.append(fit_svm(features[kept], labels[kept, task], whose[kept], "rbf", chance, calibration))
    return DiscriminantTiles(net, standard, clusters, chosen, tuple(machines), device)


def efficientnet_svm() -> PictureSystem:
    """Return the comparator; method section (v) 5."""
    return PictureSystem(
        name="efficientnet-svm",
        title="EfficientNet + SVM on discriminant patches",
        publication="Ahmad et al.",
        changes=lambda: f"{origin()} in place of a larger one; clusters judged by inner 3-fold; RBF kernel.",
        learn=_learn,
    )

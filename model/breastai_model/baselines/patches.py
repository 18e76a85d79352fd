"""Patches of pictures, their features, and the one-class machines that tell which patches are like their class.

Source: method section (v) 2 and 5. One-class machine: Schoelkopf et al., "Estimating the support of a high-dimensional distribution",
Neural Computation 2001, as implemented by scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.decomposition import PCA
from sklearn.svm import OneClassSVM

from breastai_model.baselines.feature_svm import evenly
from breastai_model.baselines.images import resized

if TYPE_CHECKING:
    from numpy.typing import NDArray

NU = 0.1
"""Share of a class's patches that a one-class machine may leave out."""
COMPONENTS = 32
"""Principal components of the features that it sees."""
MOST_PATCHES = 2000
"""Patches that one machine is fitted on, spread evenly over patients."""
PATCHES_LEARNT = 36
"""Patches of each learning patient and modality that comparators of patches learn from, drawn by the seed; all are read later."""


def tiles(pictures: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return the nine tiles of half a picture's edge, half overlapping (stride 1/2), (picture x 9, side, side), picture by picture."""
    edge = pictures.shape[1] // 2
    places = (0, edge // 2, pictures.shape[1] - edge)
    cut = np.stack([pictures[:, top : top + edge, left : left + edge] for top in places for left in places], axis=1)
    return resized(cut.reshape(-1, edge, edge), side)


def drawn_tiles(
    pictures: NDArray[np.float16], patients: NDArray[np.int64], side: int, chance: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return at most `PATCHES_LEARNT` tiles of each patient, and for each the patient's row."""
    found, whose = [], []
    for patient in np.unique(patients):
        cut = tiles(pictures[patients == patient].astype(np.float32), side)
        if len(cut) > PATCHES_LEARNT:
            cut = cut[np.sort(chance.permutation(len(cut))[:PATCHES_LEARNT])]
        found.append(cut)
        whose.append(np.full(len(cut), patient))
    return np.concatenate(found), np.concatenate(whose)


@dataclass(frozen=True, eq=False, slots=True)
class LikeItsClass:
    """Says whether a patch is like the patches of one class."""

    components: PCA
    scale: float
    machine: OneClassSVM

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return (patch,) bool of (patch, feature)."""
        inlier: NDArray[np.bool_] = self.machine.predict(self.components.transform(features) / self.scale) > 0
        return inlier


def like_its_class(features: NDArray[np.float32], patients: NDArray[np.int64], chance: np.random.Generator) -> LikeItsClass:
    """Return the one-class machine of these patches: fitted, its outliers dropped, fitted once more.

    Parameters
    ----------
    features
        (patch, feature) of one class, at least two.
    patients
        (patch,) whose they are.
    """
    rows = evenly(patients, np.arange(len(features)), MOST_PATCHES, chance)
    first = _fitted(features[rows])
    kept = rows[first(features[rows])]
    return _fitted(features[kept]) if len(kept) >= 2 else first


def _fitted(features: NDArray[np.float32]) -> LikeItsClass:
    count = min(COMPONENTS, *features.shape)
    components = PCA(n_components=count, svd_solver="full" if min(features.shape) <= 500 else "covariance_eigh").fit(features)
    values = components.transform(features)
    scale = max(float(np.sqrt((values**2).sum(axis=1).mean())), 1e-9)
    return LikeItsClass(components, scale, OneClassSVM(kernel="rbf", nu=NU, gamma=0.5).fit(values / scale))

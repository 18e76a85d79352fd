"""`adsvm-ranet`: patches unlike their class are dropped by one-class machines, then a network with early exits learns the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from breastai_model.baselines.efficientnet_lite import origin
from breastai_model.baselines.feature_svm import patient_auc
from breastai_model.baselines.mpifr_svm import feature_net
from breastai_model.baselines.patches import LikeItsClass, drawn_tiles, like_its_class, tiles
from breastai_model.baselines.picture_network import PictureNetwork, read_in_parts, two_answers
from breastai_model.baselines.picture_system import Lesson, PictureSystem, Scores, mean_of_kept
from breastai_model.baselines.ranet import RANet, as_if_left, early_exits
from breastai_model.case import TASKS
from breastai_model.training.losses import classification_loss

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from breastai_model.baselines.efficientnet_lite import EfficientNetLite0

PATCH_SIDE = 128
"""Of the largest resolution, as published; 64 and 32 below it. Smaller pictures give smaller patches."""
PATCHES_A_CASE = 8
"""Drawn in each step."""
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Of the exits; 0.5 lets everything out at the first, 1 nothing before the last."""
LEAST = 10
"""Patches of a class without which there is no telling what is unlike it."""

Inliers = tuple[tuple[LikeItsClass | None, LikeItsClass | None], ...]
"""For each task: what is like its negative and like its positive class; None where there were too few."""


class PatchNetwork(PictureNetwork):
    """Teaches RANet with patches, each for the tasks only for which it is like its class; the loss is the sum over exits."""

    drawn = PATCHES_A_CASE

    def __init__(self, lesson: Lesson, features: EfficientNetLite0, inliers: Inliers) -> None:
        super().__init__(RANet(), lesson.modality, lesson.budget.recipe, lesson.sizes.side)
        # In a tuple, for it is not taught here: neither its numbers nor its mode are this network's.
        self._features = (features,)
        self._inliers = inliers

    def cut(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the nine patches of each picture."""
        return tiles(pictures, patch_side(self.side))

    def log_odds(self, pieces: Tensor) -> Tensor:
        """Return what the last exit says."""
        answers: Tensor = self.net(pieces)[-1]
        return answers

    def piece_loss(self, pieces: Tensor, labels: Tensor) -> Tensor:
        """Return the sum over the exits of L_cls, without what is unlike its class."""
        features = read_in_parts(self._features[0].features, pieces[:, 0].cpu().numpy(), pieces.device.type)
        kept = torch.from_numpy(like_own_class(self._inliers, features, labels.cpu().numpy())).to(labels.device)
        answers = labels.where(kept, -1)
        return torch.stack([classification_loss(two_answers(logits), answers) for logits in self.net(pieces)]).sum()


@dataclass(frozen=True, eq=False, slots=True)
class EarlyExits:
    """The taught network, the one-class machines and the threshold of the exits."""

    net: RANet
    features: EfficientNetLite0
    inliers: Inliers
    threshold: float
    device: str

    def scores(self, pictures: NDArray[np.float32]) -> Scores:
        """Return the probability of each patch, at the exit by which it left; what is like neither class does not count."""
        cut = tiles(pictures, patch_side(pictures.shape[1]))
        with torch.inference_mode():
            logits, _ = early_exits(self.net, torch.from_numpy(cut)[:, None].to(self.device), self.threshold)
        features = read_in_parts(self.features.features, cut, self.device)
        return Scores(logits.sigmoid().double().cpu().numpy(), like_any_class(self.inliers, features))


def patch_side(side: int) -> int:
    """Return the edge of a patch at the largest resolution: about what half a picture's edge has, a multiple of 32."""
    return min(PATCH_SIDE, 32 * -(-side // 64))


def like_own_class(inliers: Inliers, features: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return (patch, task): whether a patch is like the class that its label names; True where the label is not known."""
    kept = np.ones(labels.shape, dtype=bool)
    for task, machines in enumerate(inliers):
        for answer, machine in enumerate(machines):
            rows = labels[:, task] == answer
            if machine is not None and rows.any():
                kept[rows, task] = machine(features[rows])
    return kept


def like_any_class(inliers: Inliers, features: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return (patch, task): whether a patch is like either class; a class without a machine takes everything."""
    return np.stack(
        [
            np.any([np.ones(len(features), dtype=bool) if machine is None else machine(features) for machine in machines], axis=0)
            for machines in inliers
        ],
        axis=1,
    )


def _learn(lesson: Lesson) -> EarlyExits:
    features = feature_net(lesson)
    learning, device = lesson.learning, lesson.budget.device
    cut, whose = drawn_tiles(learning.pictures, learning.patient, patch_side(lesson.sizes.side), lesson.draws("patches"))
    described = read_in_parts(features.features, cut, device)
    lesson.tell(f"{lesson.modality}: one-class machines on {len(cut)} patches.")
    inliers = _inliers(lesson, described, learning.labels[whose], whose)
    kept = like_own_class(inliers, described, learning.labels[whose])
    net = lesson.teach_network("ranet", lambda: PatchNetwork(lesson, features, inliers)).net
    assert isinstance(net, RANet)
    made = EarlyExits(net, features, inliers, _threshold(lesson, net, features, inliers), device)
    lesson.notes.append(
        f"{lesson.modality}: {1 - kept.mean():.0%} of the patches dropped as outliers; exits at a certainty of {made.threshold:g}."
    )
    return made


def _inliers(lesson: Lesson, features: NDArray[np.float32], labels: NDArray[np.int64], whose: NDArray[np.int64]) -> Inliers:
    chance = lesson.draws("outliers")
    made: list[tuple[LikeItsClass | None, LikeItsClass | None]] = []
    for task in range(len(TASKS)):
        rows = [np.flatnonzero(labels[:, task] == answer) for answer in (0, 1)]
        one, other = (like_its_class(features[own], whose[own], chance) if len(own) >= LEAST else None for own in rows)
        made.append((one, other))
    return tuple(made)


def _threshold(lesson: Lesson, net: RANet, features: EfficientNetLite0, inliers: Inliers) -> float:
    """Return the threshold with the best mean AUC of the held-out patients; of equals the lowest, which costs least."""
    held, device = lesson.held_out, lesson.budget.device
    if not len(held.labels):
        return THRESHOLDS[-1]
    side = patch_side(lesson.sizes.side)
    cut, whose = drawn_tiles(held.pictures, held.patient, side, lesson.draws("held out"))
    logits = torch.from_numpy(read_in_parts(lambda part: net(part).transpose(0, 1), cut, device)).transpose(0, 1)
    kept = like_any_class(inliers, read_in_parts(features.features, cut, device))
    best, chosen = -1.0, THRESHOLDS[-1]
    for threshold in THRESHOLDS:
        probabilities = as_if_left(logits, threshold).sigmoid().double().numpy()
        answers = np.array([mean_of_kept(probabilities[whose == patient], kept[whose == patient]) for patient in np.unique(whose)])
        aucs = []
        for task in range(len(TASKS)):
            known = np.flatnonzero(held.labels[:, task] >= 0)
            if len(np.unique(held.labels[known, task])) == 2:
                aucs.append(patient_auc(answers[known, task], held.labels[known, task], known))
        if aucs and np.mean(aucs) > best + 1e-9:
            best, chosen = float(np.mean(aucs)), threshold
    return chosen


def adsvm_ranet() -> PictureSystem:
    """Return the comparator; method section (v) 2."""
    return PictureSystem(
        name="adsvm-ranet",
        title="ADSVM + RANet",
        publication="Zhou, Zhang and Gao, IEEE Access 2022; Yang et al., CVPR 2020 (RANet).",
        changes=lambda: (
            f"One-class machines on {origin()} features of nine half-overlapping patches a picture; a three-resolution network of our own "
            "with early exits, Adam within the shared budget in place of SGD over 300 epochs."
        ),
        learn=_learn,
    )

"""`mpifr-svm`: features of a picture pyramid from several networks, joined, into a support vector machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from breastai_model.baselines.efficientnet_lite import EfficientNetLite0, efficientnet_lite0, imagenet_file, origin
from breastai_model.baselines.feature_svm import PictureSVM, Standard, fit_svm
from breastai_model.baselines.images import resized
from breastai_model.baselines.picture_nets import ResNetV2
from breastai_model.baselines.picture_network import read_in_parts
from breastai_model.baselines.picture_system import Lesson, PictureSystem, Scores, all_kept
from breastai_model.case import TASKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.baselines.picture_nets import FeatureNet

LEVELS = (1, 2, 4, 8)
"""A picture is shrunk by each and brought back to its size: what remains is what each resolution shows."""


@dataclass(frozen=True, eq=False, slots=True)
class PyramidSVM:
    """Feature networks, the standard of their features, and a machine for each task."""

    nets: tuple[FeatureNet, ...]
    standard: Standard
    machines: tuple[PictureSVM, ...]
    device: str

    def scores(self, pictures: NDArray[np.float32]) -> Scores:
        """Return the probability of each picture."""
        features = self.standard(pyramid_features(self.nets, pictures, self.device))
        return all_kept(np.stack([machine.probabilities(features) for machine in self.machines], axis=1))


def pyramid(pictures: NDArray[np.float32], level: int) -> NDArray[np.float32]:
    """Return pictures shrunk by the level and enlarged again, (picture, side, side)."""
    side = pictures.shape[1]
    return pictures if level == 1 else resized(resized(pictures, max(1, side // level)), side)


def pyramid_features(nets: tuple[FeatureNet, ...], pictures: NDArray[np.float32] | NDArray[np.float16], device: str) -> NDArray[np.float32]:
    """Return (picture, levels x networks' features)."""
    shown = pictures.astype(np.float32)
    return np.concatenate([read_in_parts(net.features, pyramid(shown, level), device) for level in LEVELS for net in nets], axis=1)


def feature_net(lesson: Lesson) -> EfficientNetLite0:
    """Return EfficientNet-Lite0 in evaluation mode: with ImageNet weights as they are, else taught from scratch on the lesson."""
    if imagenet_file() is not None:
        return efficientnet_lite0()[0].to(lesson.budget.device).eval()
    lesson.notes.append(f"{lesson.modality}: EfficientNet-Lite0 was taught from scratch, the optional ImageNet package is absent.")
    return lesson.teach("efficientnet-lite0", EfficientNetLite0)


def _learn(lesson: Lesson) -> PyramidSVM:
    nets = (feature_net(lesson), lesson.teach("resnet-18v2", lambda: ResNetV2(18, lesson.sizes)))
    device = lesson.budget.device
    raw = pyramid_features(nets, lesson.learning.pictures, device)
    standard = Standard.of(raw)
    features = standard(raw)
    lesson.tell(f"{lesson.modality}: support vector machines on {features.shape[1]} features of {len(features)} pictures.")
    held = lesson.held_out
    held_features = standard(pyramid_features(nets, held.pictures, device)) if len(held.pictures) else None
    machines = []
    for task in range(len(TASKS)):
        measured = None if held_features is None else (held_features, held.picture_labels[:, task], held.patient)
        answers = lesson.learning.picture_labels[:, task]
        machines.append(fit_svm(features, answers, lesson.learning.patient, "rbf", lesson.draws(f"svm {task}"), measured))
    return PyramidSVM(nets, standard, tuple(machines), device)


def mpifr_svm() -> PictureSystem:
    """Return the comparator; method section (v) 1."""
    return PictureSystem(
        name="mpifr-svm",
        title="MPIFR + SVM",
        publication="Clement et al., Appl. Sci. 2023, 13(1):156.",
        changes=lambda: (
            f"Two feature networks ({origin()}; ResNet-18V2 from scratch) in place of four ImageNet ones; four levels; RBF kernel."
        ),
        learn=_learn,
    )

"""`6b-net`: a network of six parallel branches beside ResNet-50V2, a particle swarm that chooses features, a cubic machine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from breastai_model.baselines.feature_svm import PictureSVM, Standard, fit_svm
from breastai_model.baselines.particle_swarm import Swarm, chosen_features
from breastai_model.baselines.picture_nets import ResNetV2, conv, conv_norm_relu
from breastai_model.baselines.picture_network import read_in_parts
from breastai_model.baselines.picture_system import Lesson, PictureSystem, Scores, all_kept
from breastai_model.case import TASKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.baselines.images import Sizes
    from breastai_model.baselines.picture_nets import FeatureNet

STEM = (32, 32, 64)
BRANCH_WIDTHS = (32, 64, 128)
"""Channels of each of the six branches in the three blocks."""
FEATURES = 512


class SixBranches(nn.Module):
    """Six views of the same maps, joined: 1x1; 3x3; 5x5; 3x3 of dilation 2; max-pool and 1x1; average-pool and 1x1. Then a stride of 2."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            (
                conv(inputs, width),
                conv(inputs, width, 3),
                conv(inputs, width, 5),
                conv(inputs, width, 3, dilation=2),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(inputs, width)),
                nn.Sequential(nn.AvgPool2d(3, 1, 1), conv(inputs, width)),
            )
        )
        self.after = nn.Sequential(nn.BatchNorm2d(6 * width), nn.ReLU(), nn.MaxPool2d(2))
        self.outputs = 6 * width

    def forward(self, x: Tensor) -> Tensor:
        """Return (picture, 6 widths, rows / 2, columns / 2)."""
        maps: Tensor = self.after(torch.cat([branch(x) for branch in self.branches], dim=1))
        return maps


class SixBNet(nn.Module):
    """Three convolutions, three blocks of six branches, 512 features; (picture, 1, side, side) to (picture, task) log-odds."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        first, second, third = (sizes.channels(width) for width in STEM)
        layers: list[nn.Module] = [conv_norm_relu(1, first, 3, 2), conv_norm_relu(first, second, 3), conv_norm_relu(second, third, 3)]
        channels = third
        for width in BRANCH_WIDTHS:
            block = SixBranches(channels, sizes.channels(width))
            layers.append(block)
            channels = block.outputs
        features = sizes.channels(FEATURES)
        layers.append(conv_norm_relu(channels, features))
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(features, len(TASKS))

    def features(self, x: Tensor) -> Tensor:
        """Return (picture, 512 at the full share)."""
        maps: Tensor = self.layers(x)
        return maps.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Return (picture, task) log-odds."""
        logits: Tensor = self.classifier(self.features(x))
        return logits


@dataclass(frozen=True, eq=False, slots=True)
class SelectedFeatures:
    """Two networks, for each the standard of its features, for each task which of them count, and a cubic machine."""

    nets: tuple[FeatureNet, ...]
    standards: tuple[Standard, ...]
    masks: tuple[NDArray[np.bool_], ...]
    machines: tuple[PictureSVM, ...]
    device: str

    def scores(self, pictures: NDArray[np.float32]) -> Scores:
        """Return the probability of each picture."""
        features = joined(self.nets, self.standards, pictures, self.device)
        answers = [machine.probabilities(kept(features, mask)) for machine, mask in zip(self.machines, self.masks, strict=True)]
        return all_kept(np.stack(answers, axis=1))


def joined(
    nets: tuple[FeatureNet, ...], standards: tuple[Standard, ...], pictures: NDArray[np.float32] | NDArray[np.float16], device: str
) -> NDArray[np.float32]:
    """Return (picture, feature): both networks' vectors, each by its own standard."""
    return np.concatenate(
        [standard(read_in_parts(net.features, pictures, device)) for net, standard in zip(nets, standards, strict=True)], axis=1
    )


def kept(features: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the features of the mask, scaled so that the cubic kernel's inner products do not shrink with their number."""
    return features[:, mask] * np.float32(np.sqrt(len(mask) / max(1, int(mask.sum())) / 2))


def _learn(lesson: Lesson, swarm: Swarm) -> SelectedFeatures:
    learning, held, device = lesson.learning, lesson.held_out, lesson.budget.device
    nets = (lesson.teach("6b-net", lambda: SixBNet(lesson.sizes)), lesson.teach("resnet-50v2", lambda: ResNetV2(50, lesson.sizes)))
    standards = tuple(Standard.of(read_in_parts(net.features, learning.pictures, device)) for net in nets)
    features = joined(nets, standards, learning.pictures, device)
    measured = joined(nets, standards, held.pictures, device) if len(held.pictures) else None
    counts = np.bincount(learning.patient)
    means = (np.add.reduceat(features, np.flatnonzero(np.diff(learning.patient, prepend=-1)), axis=0) / counts[:, None]).astype(np.float32)
    border = len(standards[0].mean)
    masks, machines = [], []
    for task in range(len(TASKS)):
        lesson.tell(f"{lesson.modality}: a particle swarm chooses features for {TASKS[task]}.")
        chance = lesson.draws(f"swarm {task}")
        chosen = [
            chosen_features(part, learning.labels[:, task], learning.groups, chance, swarm)[0]
            for part in (means[:, :border], means[:, border:])
        ]
        mask = np.concatenate(chosen)
        calibration = None if measured is None else (kept(measured, mask), held.picture_labels[:, task], held.patient)
        answers = learning.picture_labels[:, task]
        machines.append(fit_svm(kept(features, mask), answers, learning.patient, "cubic", lesson.draws(f"svm {task}"), calibration))
        masks.append(mask)
    share = np.mean([mask.mean() for mask in masks])
    lesson.notes.append(f"{lesson.modality}: the swarms kept {share:.0%} of {features.shape[1]} features.")
    return SelectedFeatures(nets, standards, tuple(masks), tuple(machines), device)


def six_b_net(swarm: Swarm | None = None) -> PictureSystem:
    """Return the comparator; method section (v) 4. The swarm is as large as there if not told otherwise."""
    return PictureSystem(
        name="6b-net",
        title="6B-Net",
        publication="Umer et al., J. Pers. Med. 2022, 12(5):683.",
        changes=lambda: (
            "Both networks from scratch on these cases, not on CIFAR-100 and ImageNet; the swarm judges patients' mean features."
        ),
        learn=partial(_learn, swarm=swarm or Swarm()),
    )

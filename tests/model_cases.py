"""Cases and networks for tests of the model: random but plain, at the size of the `tiny` preset."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from breastai_model.case import Case
from breastai_model.network.net import BreastNet
from breastai_model.prepare import Batch
from breastai_model.recipe import Recipe, preset
from breastai_model.weights import save_weights

if TYPE_CHECKING:
    from pathlib import Path

AFFINE = np.array([[0.0, 0.0, 4.0, -178.0], [0.0, 4.0, 0.0, -90.0], [8.0, 0.0, 0.0, -60.0], [0.0, 0.0, 0.0, 1.0]])
SHAPE = (16, 40, 90)
"""Axial, both breasts in view; x from -178 to 178 mm, y from -90, z from -60."""
LESION_MM = np.array([60.0, -40.0, 12.0])


def places() -> np.ndarray:
    """Return (slice, row, column, 3): LPS mm of every voxel."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    return index @ AFFINE[:3, :3].T + AFFINE[:3, 3]


def volume(phases: int = 5, lesion_mm: np.ndarray = LESION_MM) -> np.ndarray:
    """Return two half-round breasts on a chest, with one lesion that enhances: (phase, slice, row, column) int16."""
    place = places()
    x, y, z = np.moveaxis(place, -1, 0)
    tissue = y > 0
    for centre in (-75.0, 75.0):
        tissue |= ((x - centre) / 55) ** 2 + (y / 75) ** 2 + (z / 65) ** 2 < 1
    lesion = ((place - lesion_mm) ** 2).sum(axis=-1) < 12.0**2
    values = np.zeros((phases, *SHAPE), dtype=np.int16)
    for phase in range(phases):
        values[phase][tissue] = 200 + 10 * phase
        values[phase][lesion] = [220, 540, 580, 540, 500, 480, 460, 440][min(phase, 7)]
    return values


def a_case(**changes: Any) -> Case:
    """Return a whole case, left side, with what is named changed."""
    row, column = np.mgrid[0:60, 0:80]
    images = tuple((110 + 40 * np.sin(row / 7 + n) + 30 * np.cos(column / (4 + n))).astype(np.uint8) for n in range(12))
    phases = len(changes["dce"]) if changes.get("dce") is not None else 5
    values: dict[str, Any] = {
        "dce": volume(),
        "dce_scale": np.tile([1.0, 0.0], (phases, 1)),
        "dce_affine": AFFINE,
        "dce_times_s": (-60.0, 75.0, 150.0, 240.0, 450.0, 540.0, 630.0, 720.0)[:phases],
        "pre": 0,
        "breasts": frozenset(("left", "right")),
        "midline_mm": 0.0,
        "ultrasound": images,
        "ultrasound_spacing_mm": ((0.3, 0.3),) * 12,
        "angles_deg": tuple(15.0 * n for n in range(12)),
        "side": "left",
    }
    return Case(**(values | changes))


def without_ultrasound(**changes: Any) -> Case:
    """Return a case of MRI alone."""
    return a_case(ultrasound=(), ultrasound_spacing_mm=(), angles_deg=(), **changes)


def without_mri(**changes: Any) -> Case:
    """Return a case of ultrasound alone."""
    return a_case(dce=None, dce_scale=None, dce_affine=None, dce_times_s=None, **changes)


def a_net(recipe: Recipe | None = None) -> BreastNet:
    """Return a network in eval mode whose every number matters: norms, beta and topologies are not at their start."""
    return copy.deepcopy(_made_net(recipe or preset("tiny")))


@lru_cache
def _made_net(recipe: Recipe) -> BreastNet:
    torch.manual_seed(0)
    net = BreastNet(recipe)
    with torch.no_grad():
        for name, value in (*net.named_parameters(), *net.named_buffers()):
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif name.endswith("running_mean"):
                value.normal_(0, 0.1)
            elif name.endswith("beta"):
                value.fill_(0.3)
            elif value.ndim == 1 and value.is_floating_point():
                value.add_(torch.randn_like(value) * 0.05)
                if "graph.norm.weight" in name:
                    value.add_(0.5)
    return net.eval()


def a_batch(patients: int, recipe: Recipe | None = None, seed: int = 1) -> Batch:
    """Return random prepared patients with everything present."""
    recipe = recipe or preset("tiny")
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        torch.rand(patients, recipe.phases, 2, *recipe.mri_shape, generator=generator),
        torch.ones(patients, recipe.phases, 2, dtype=torch.bool),
        torch.rand(patients, recipe.angles, *recipe.us_shape, generator=generator),
        torch.ones(patients, recipe.angles, dtype=torch.bool),
    )


def a_weights_file(folder: Path, recipe: Recipe | None = None) -> Path:
    """Write the weights of `a_net` and return the file."""
    recipe = recipe or preset("tiny")
    path = folder / "model.safetensors"
    save_weights(path, a_net(recipe), recipe, {"auc": {"high_grade": 0.5}}, "test model", "1")
    return path

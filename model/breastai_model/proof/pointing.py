"""Do the heatmaps point at the lesion? Each map against its controls, on phantoms whose lesion is known.

Method section (iii.4). Two scores a map: the pointing game (does its maximum lie in the lesion, up to half a cell of the
finest stage used) and the share of its energy inside the lesion. Controls: an untrained network, the network with every layer's
weights shuffled, a network trained on shuffled labels, and the plain picture.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import nn

from breastai_model.case import MAP_KINDS, STREAMS
from breastai_model.inference.heatmap import put_back, read_maps
from breastai_model.inference.uniform import uniform_response
from breastai_model.network.net import BreastNet
from breastai_model.prepare import collate, prepare
from breastai_model.proof import truth_masks
from breastai_model.proof.intervals import Interval, mean_interval
from breastai_model.proof.table import Row, above, at_least

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from breastai_model.case import Case, MapKind, Stream
    from breastai_model.prepare import Prepared
    from breastai_model.recipe import Recipe

Score = Literal["hit", "share", "outside"]
SCORES: tuple[Score, ...] = ("hit", "share", "outside")
PLAIN: dict[str, str] = {"mri": "early subtraction", "us": "ultrasound darkness"}
TARGET = 0.9
WARM_PATIENTS, WARM_PASSES, WARM_MOMENTUM = 4, 6, 0.5


@dataclass(frozen=True, eq=False, slots=True)
class KnownPatient:
    """A phantom with its truth.

    Attributes
    ----------
    case
        What the network reads.
    lesion
        (slice, row, column) bool on the case's grid.
    views
        One (row, column) bool mask for each ultrasound image.
    """

    case: Case
    lesion: NDArray[np.bool_]
    views: tuple[NDArray[np.bool_], ...]


@dataclass(frozen=True, eq=False, slots=True)
class Located:
    """A prepared phantom, its lesion on the maps' grids, the same widened by each kind of map's tolerance, and where there is tissue."""

    prepared: Prepared
    mri: NDArray[np.bool_]
    mri_near: Mapping[MapKind, NDArray[np.bool_]]
    body: NDArray[np.bool_]
    us: NDArray[np.bool_]
    us_near: Mapping[MapKind, NDArray[np.bool_]]


@dataclass(frozen=True, eq=False, slots=True)
class Scores:
    """One value a patient for each stream, kind of map and score, (patient,)."""

    values: Mapping[tuple[Stream, MapKind, Score], NDArray[np.float64]]

    def interval(self, stream: Stream, kind: MapKind, score: Score) -> Interval:
        """Return the mean over patients."""
        return mean_interval(self.values[stream, kind, score])


def located(patients: Iterable[KnownPatient], recipe: Recipe) -> list[Located]:
    """Return prepared phantoms with their truth on the maps' grids."""
    halves = {kind: truth_masks.tolerance(recipe, kind) for kind in MAP_KINDS}
    found = []
    for patient in patients:
        prepared = prepare(patient.case, recipe)
        if patient.case.dce_affine is None or prepared.mri_affine is None:
            raise ValueError("The pointing game needs phantoms with MRI and ultrasound.")
        shape = (recipe.mri_shape[0], recipe.mri_shape[1], 2 * recipe.mri_shape[2])
        mri = truth_masks.lesion_on_grid(patient.lesion, patient.case.dce_affine, prepared.mri_affine, shape)
        us = np.stack(
            [truth_masks.view_on_grid(view, box, recipe.us_shape) for view, box in zip(patient.views, prepared.us_boxes, strict=True)]
        )
        mri_near = {kind: truth_masks.widened(mri, half.mri) for kind, half in halves.items()}
        us_near = {kind: np.stack([truth_masks.widened(view, half.us) for view in us]) for kind, half in halves.items()}
        found.append(Located(prepared, mri, mri_near, truth_masks.body(prepared), us, us_near))
    return found


def score_net(net: BreastNet, patients: Sequence[Located], tell: Callable[[], object] = lambda: None) -> Scores:
    """Return the scores of a network's sixteen maps. `tell` is called after each patient; what it raises ends the work."""
    net = net.eval().requires_grad_(requires_grad=False)
    lines: dict[tuple[Stream, MapKind, Score], list[float]] = {}
    uniform = uniform_response(net)
    for patient in patients:
        _, maps = read_maps(net, collate([patient.prepared]), uniform=uniform)
        shown = put_back(patient.prepared, maps)
        for stream in STREAMS:
            values = shown.stream(stream)
            if values is None:
                continue
            for kind, each in zip(MAP_KINDS, values, strict=True):
                for score, value in zip(SCORES, _scores(each.astype(np.float64), patient, stream, kind), strict=True):
                    lines.setdefault((stream, kind, score), []).append(value)
        tell()
    return Scores({key: np.array(values) for key, values in lines.items()})


def score_pictures(patients: Sequence[Located]) -> Scores:
    """Return the scores of the plain pictures for each stream, with the tolerance of each kind of map that they are compared with."""
    lines: dict[tuple[Stream, MapKind, Score], list[float]] = {}
    for patient in patients:
        for stream in STREAMS:
            picture = (
                truth_masks.early_subtraction(patient.prepared) if stream.startswith("mri") else truth_masks.darkness(patient.prepared)
            )
            for kind in MAP_KINDS:
                for score, value in zip(SCORES, _scores(picture.astype(np.float64), patient, stream, kind), strict=True):
                    lines.setdefault((stream, kind, score), []).append(value)
    return Scores({key: np.array(values) for key, values in lines.items()})


def _scores(values: NDArray[np.float64], patient: Located, stream: Stream, kind: MapKind) -> tuple[float, float, float]:
    """Return hit, share of energy in the lesion, share in tissue outside it; ultrasound: the mean over the images that show it."""
    if stream.startswith("mri"):
        return hit(values, patient.mri_near[kind]), share(values, patient.mri), share(values, patient.body & ~patient.mri)
    views = [
        (hit(each, near), share(each, mask), share(each, ~mask))
        for each, near, mask in zip(values, patient.us_near[kind], patient.us, strict=True)
        if mask.any()
    ]
    first, second, third = np.array(views).mean(axis=0)
    return float(first), float(second), float(third)


def hit(values: NDArray[np.float64], near: NDArray[np.bool_]) -> float:
    """Return 1 where the map's maximum lies in the mask; of several equal maxima the share that does; 0 for an empty map."""
    most = values.max()
    return float(near[values == most].mean()) if most > 0 else 0.0


def share(values: NDArray[np.float64], mask: NDArray[np.bool_]) -> float:
    """Return the share of the squared map inside the mask; 0 for an empty map."""
    energy = np.square(values)
    whole = float(energy.sum())
    return float(energy[mask].sum()) / whole if whole > 0 else 0.0


def untrained(recipe: Recipe, patients: Sequence[Located], seed: int) -> BreastNet:
    """Return a network of that recipe as it is before training, its norms' statistics fitted to the phantoms."""
    torch.manual_seed(seed)
    return _fitted(BreastNet(recipe), patients)


def randomised(net: BreastNet, patients: Sequence[Located], seed: int) -> BreastNet:
    """Return the network with the weights of every layer shuffled within the layer, norms fitted again (Adebayo et al., NeurIPS 2018)."""
    torch.manual_seed(seed)
    mixed = copy.deepcopy(net)
    with torch.no_grad():
        for module in mixed.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d | nn.Conv1d | nn.Linear):
                flat = module.weight.flatten()
                module.weight.copy_(flat[torch.randperm(len(flat))].view_as(module.weight))
    return _fitted(mixed, patients)


def _fitted(net: BreastNet, patients: Sequence[Located]) -> BreastNet:
    """Return the net in eval mode after some passes in training mode, which learn nothing but the norms' statistics."""
    norms = [module for module in net.modules() if hasattr(module, "momentum")]
    for norm in norms:
        norm.momentum = WARM_MOMENTUM  # type: ignore[assignment]
    net.train()
    with torch.no_grad():
        for turn in range(WARM_PASSES):
            chosen = [patients[(turn * WARM_PATIENTS + place) % len(patients)].prepared for place in range(WARM_PATIENTS)]
            net(collate(chosen))
    return net.eval()


def measured_rows(
    net: BreastNet, shuffled: BreastNet | None, patients: Sequence[Located], note: str, tell: Callable[[], object]
) -> list[Row]:
    """Return `pointing_rows` of a network with every control.

    Parameters
    ----------
    shuffled
        A network of the same recipe trained on labels that say nothing; None: that control is missing, and the note says so.
    tell
        Called after each map is scored; what it raises ends the work.
    """
    nets = {"untrained": untrained(net.recipe, patients, 1), "layers shuffled": randomised(net, patients, 1)}
    if shuffled is None:
        note = f"no network trained on shuffled labels was given; {note}"
    else:
        nets["labels shuffled"] = shuffled
    controls = {name: score_net(each, patients, tell) for name, each in nets.items()}
    return pointing_rows(score_net(net, patients, tell), controls, score_pictures(patients), f"{note}; {len(patients)} phantoms")


def tolerance_words(patients: Sequence[Located], recipe: Recipe, spacing_mm: float) -> str:
    """Return the tolerance of the pointing game in millimetres; `spacing_mm` is that of a pixel of the ultrasound images."""
    pixel_mm = patients[0].prepared.us_boxes[0][2] * spacing_mm / recipe.us_shape[0]
    kinds: dict[str, MapKind] = {"feature map": "feature", "task map": MAP_KINDS[-1]}
    return "; ".join(f"{words}: {truth_masks.tolerance(recipe, kind).words(pixel_mm)}" for words, kind in kinds.items())


def pointing_rows(own: Scores, controls: Mapping[str, Scores], pictures: Scores, note: str) -> list[Row]:
    """Return for each of the sixteen maps its hits and energy, judged against all controls.

    A map points only where its whole interval lies above every control; an agnostic map must also hit in nine of ten.
    """
    rows = []
    for stream in STREAMS:
        for kind in MAP_KINDS:
            if (stream, kind, "hit") not in own.values:
                continue
            for score, words in (("hit", "maximum in the lesion"), ("share", "share of the energy in the lesion")):
                # The tops of the controls' intervals: beating their means alone could be chance.
                against = {name: each.interval(stream, kind, score) for name, each in controls.items()}  # type: ignore[arg-type]
                against[PLAIN[stream.split("_")[0]]] = pictures.interval(stream, kind, score)  # type: ignore[arg-type]
                bound = max(each.high for each in against.values())
                told = "; ".join(f"{name} {each.value:.3f}" for name, each in against.items())
                measured = own.interval(stream, kind, score)  # type: ignore[arg-type]
                rows.append(Row(f"{stream} {kind}, {score}", f"{words}: above all controls", above(bound), measured, told))
            if stream.endswith("agnostic"):
                measured = own.interval(stream, kind, "hit")
                rows.append(Row(f"{stream} {kind}, target", "maximum in the lesion in nine of ten", at_least(TARGET), measured, note))
            else:
                outside = own.interval(stream, kind, "outside")
                rows.append(Row(f"{stream} {kind}, outside", "share of the energy in tissue outside the lesion", None, outside, note))
    return rows

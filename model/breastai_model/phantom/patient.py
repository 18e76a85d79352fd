"""A whole made-up patient: DCE-MRI, twelve ultrasound images, labels, and the truth behind them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from breastai_model.case import Case
from breastai_model.phantom import anatomy, dce, kinetics, latents, lesion, ultrasound
from breastai_model.phantom.appearance import APPEARANCE, rise
from breastai_model.phantom.layers import draw_ground
from breastai_model.phantom.scenarios import SCENARIOS, draw_labels
from breastai_model.phantom.tissues import build
from breastai_model.phantom.vessels import vessels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.case import Labels, Side
    from breastai_model.phantom.latents import Latents
    from breastai_model.plan import Scenario

Size = Literal["demo", "model"]

AXES: dict[Size, tuple[tuple[int, float], tuple[int, float], tuple[int, float]]] = {
    "demo": ((72, 2.0), (288, 1.0), (336, 1.0)),
    "model": ((24, 6.0), (120, 2.0), (192, 2.0)),
}
"""Counts and spacings (mm) of slices, rows and columns. Slices and columns lie symmetric about 0."""
FIRST_ROW_MM = -118.0
SCREENS: dict[Size, ultrasound.Screen] = {
    "demo": ultrasound.Screen(450, 550, 0.085, lines=275, depths=450, oversample=1),
    "model": ultrasound.Screen(105, 128, 0.365, lines=128, depths=105, oversample=2),
}


@dataclass(frozen=True, eq=False, slots=True)
class Truth:
    """What is known about a phantom because it was made.

    Attributes
    ----------
    side
        The breast with the lesion.
    lesion_mm
        (3,) LPS centre of the lesion.
    latents
        The hidden numbers.
    lesion
        (slice, row, column) bool on the case's grid: voxels that are more than half lesion.
    parts
        (slice, row, column) uint8: 0 outside, 1 persistent, 2 plateau, 3 wash-out.
    rim
        (slice, row, column) bool: the lesion's outer shell.
    curves
        For each part of the lesion its signal at each phase, without noise, coil and rim effect.
    views
        One (row, column) bool mask of the lesion for each ultrasound image.
    skin_mm, outward
        (3,) where the probe's axis enters the skin, and the skin's outward normal there; the lesion's centre lies
        `depth_mm` below on that axis, in the middle column of every image.
    depth_mm
        Distance from the skin to the lesion's centre.
    zero_deg
        Angle of the first image, through the largest cross-section, in the probe's frame: 0 contains the axis and the
        patient's left-right direction, growing clockwise seen from outside.
    """

    side: Side
    lesion_mm: NDArray[np.float64]
    latents: Latents
    lesion: NDArray[np.bool_]
    parts: NDArray[np.uint8]
    rim: NDArray[np.bool_]
    curves: dict[kinetics.Part, tuple[float, ...]]
    views: tuple[NDArray[np.bool_], ...]
    skin_mm: NDArray[np.float64]
    outward: NDArray[np.float64]
    depth_mm: float
    zero_deg: float


@dataclass(frozen=True, eq=False, slots=True)
class PhantomPatient:
    """A case as the model gets it, the labels that it should learn, and the truth."""

    case: Case
    labels: Labels
    truth: Truth


def make_patient(seed: int, size: Size = "model", scenario: Scenario = "clinic") -> PhantomPatient:
    """Return the phantom of that seed: equal bytes for equal seeds; "demo" and "model" are one patient at two resolutions.

    "demo" is a bilateral volume of 5 x 72 x 288 x 336 (2 x 1 x 1 mm) with 450 x 550 ultrasound images, "model" one of
    5 x 24 x 120 x 192 (6 x 2 x 2 mm) with 105 x 128 images of the same field. The scenario decides the labels; S6, S7
    and S8 also show a latent that the images of the others do not have (`ScenarioLaw.drawn`).
    """
    hidden = latents.draw_latents(seed)
    drawn = SCENARIOS[scenario].drawn
    rng = latents.stream(seed, latents.LESION_STREAM)
    body = anatomy.draw_body(rng)
    side: Side = "left" if rng.random() < 0.5 else "right"
    shape, probe = _placed(body, side, lesion.draw_lesion(rng, hidden), rng)
    if drawn == "fold":
        shape = _folded(shape, probe, hidden)
    elif drawn == "asymmetry":
        body = _uneven(body, side, hidden)
    axes = _axes(size)

    rng = latents.stream(seed, latents.ANATOMY_STREAM)
    tissues = build(body, axes, rng)
    blood = vessels(body, axes, rng, shape.centre_mm, body.breast(side))
    rng = latents.stream(seed, latents.DCE_STREAM)
    voxels = dce.lesion_voxels(shape, axes, hidden, rng)
    values = dce.render(tissues, blood, voxels, hidden, axes, rng, drawn == "order")

    rng = latents.stream(seed, latents.ULTRASOUND_STREAM)
    screen = SCREENS[size]
    depth = float(np.linalg.norm(shape.centre_mm - probe.skin_mm))
    ground = draw_ground(rng, depth)
    zero = ultrasound.largest_angle(shape, probe)
    views = [ultrasound.render(screen, ground, shape, probe, zero, angle, hidden, rng) for angle in ultrasound.ANGLES_DEG]

    whole = np.zeros(axes.shape, dtype=bool)
    parts, rim = np.zeros(axes.shape, dtype=np.uint8), np.zeros(axes.shape, dtype=bool)
    whole[voxels.box] = voxels.share > 0.5
    parts[voxels.box] = np.where(voxels.share > 0.5, voxels.parts, 0)
    rim[voxels.box] = voxels.rim
    case = Case(
        dce=values,
        dce_scale=np.tile([1.0, 0.0], (len(values), 1)),
        dce_affine=axes.affine,
        dce_times_s=dce.TIMES_S,
        pre=0,
        breasts=frozenset({"left", "right"}),
        midline_mm=0.0,
        ultrasound=tuple(view.pixels for view in views),
        ultrasound_spacing_mm=((screen.pixel_mm, screen.pixel_mm),) * len(views),
        angles_deg=ultrasound.ANGLES_DEG,
        side=side,
    )
    curves = {
        part: tuple(float(s) for s in kinetics.tissue_signal(kinetics.lesion_tissue(part, dce.uptake(hidden)), dce.TIMES_S))
        for part in kinetics.PARTS
    }
    truth = Truth(
        side,
        shape.centre_mm,
        hidden,
        whole,
        parts,
        rim,
        curves,
        tuple(view.lesion for view in views),
        probe.skin_mm,
        probe.outward,
        depth,
        zero,
    )
    return PhantomPatient(case, draw_labels(seed, hidden, scenario), truth)


def _folded(shape: lesion.Lesion, probe: ultrasound.Probe, hidden: Latents) -> lesion.Lesion:
    """Return the lesion of S7: round about the probe's axis but for waves, two (one crest over 180 degrees) or six (three crests)."""
    up = np.cross(probe.outward, probe.right)
    high = APPEARANCE.fold_height
    heights = rise(0.0, high, 2.0, hidden.fold), rise(0.0, high, -2.0, hidden.fold)
    folds = np.array([[waves, height, *probe.right, *up] for waves, height in zip((2, 6), heights, strict=True)])
    axes = np.stack([probe.right, up, probe.outward])
    half = np.array([*[float(shape.half_axes_mm[:2].mean())] * 2, float(shape.half_axes_mm[2])])
    return dataclasses.replace(shape, axes=axes, half_axes_mm=half, lobes=shape.lobes * [1, 1, 1, 1, 0.2], folds=folds)


def _uneven(body: anatomy.Body, side: Side, hidden: Latents) -> anatomy.Body:
    """Return the body of S8: the gland of the healthy breast enhances more or less than that of the affected one."""
    affected = body.backgrounds[0] * APPEARANCE.background_s8
    healthy = affected * float(np.exp(APPEARANCE.asymmetry_log * hidden.asymmetry))
    return dataclasses.replace(body, backgrounds=(affected, healthy) if side == "right" else (healthy, affected))


def _axes(size: Size) -> anatomy.Axes:
    slices, rows, columns = AXES[size]
    z, x = (np.asarray((np.arange(count) - (count - 1) / 2) * spacing, dtype=np.float64) for count, spacing in (slices, columns))
    return anatomy.Axes(z, np.asarray(FIRST_ROW_MM + (np.arange(rows[0]) + 0.5) * rows[1], dtype=np.float64), x)


def _placed(body: anatomy.Body, side: Side, at_origin: lesion.Lesion, rng: np.random.Generator) -> tuple[lesion.Lesion, ultrasound.Probe]:
    """Return the lesion put into a breast, and the probe on the skin above it.

    A ray from the middle of the breast leaves through the skin; the lesion lies below that point along the normal, deep
    enough to stay clear of the skin.
    """
    breast = body.breast(side)
    turn = rng.uniform(0, 2 * np.pi)
    # Anterior more than sideways: there a probe can stand on the skin and the glands are below it.
    direction = np.array([0.8 * np.cos(turn), -1.0, 0.8 * np.sin(turn)])
    start = np.array([breast.x_mm, float(body.base_mm(breast.z_mm)) - 0.45 * breast.length_mm, breast.z_mm])
    skin, outward = body.skin_point(start, direction / np.linalg.norm(direction))
    depth = max(rng.uniform(11.0, 17.0), float(at_origin.half_axes_mm.max()) * 1.15 + 4.0)
    return dataclasses.replace(at_origin, centre_mm=skin - depth * outward), ultrasound.probe_at(skin, outward)

"""What can be measured in the images of a phantom, without any of its latents: the features behind the image ceiling.

A logistic regression on these is the ceiling that a network is judged against (method section vii): the latent-oracle AUC does not
count the images' noise and resolution, this does. The lesion is outlined by the truth, or found (`breastai_model.phantom.found`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from breastai_model.case import Case

    Field = NDArray[np.float32]

MRI_FEATURES = (
    "volume",
    "uptake",
    "uptake_next",
    "late_to_early",
    "late_to_middle",
    "washed_share",
    "rim_to_core",
    "rim_to_core_next",
    "rim_to_core_late",
    "irregular",
    "fading",
    "uneven",
    "gland",
    "gland_healthy",
)
US_FEATURES = (
    "area",
    "echo",
    "echo_range",
    "behind",
    "behind_swing",
    "echo_swing",
    "irregular",
    "jagged",
    "halo",
    "fading",
    "area_swing",
    "area_first",
    "area_third",
)
PRINCIPAL = (("uptake", "behind"), ("late_to_early", "echo"), ("rim_to_core", "echo_swing"))
"""The MRI's and the ultrasound's own measure for each pair of private latents; their products tell an interaction (S4)."""
SMALLEST = 4
"""Fewer voxels or pixels tell nothing of shape."""


def measure_mri(case: Case, lesion: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the MRI's features, (feature,), of a lesion outlined on the case's grid; zeros where there is hardly a lesion.

    Raises
    ------
    ValueError
        If the case has no MRI or its side is not known.
    """
    if case.dce is None or case.dce_affine is None or case.side is None:
        raise ValueError("The features of a phantom need an MRI and the side of the tumour.")
    if lesion.sum() < SMALLEST:
        return np.zeros(len(MRI_FEATURES))
    spacing = _spacing_mm(case)
    reach = tuple(int(np.ceil(12.0 / step)) for step in spacing)
    box = tuple(
        slice(max(int(along.min()) - more, 0), int(along.max()) + more + 1) for along, more in zip(np.nonzero(lesion), reach, strict=True)
    )
    inside, phases = lesion[box], case.dce[(slice(None), *box)].astype(np.float32)
    plain = float(phases[0][inside].mean())
    gain = (phases - phases[0]) / plain
    curve = gain[:, inside].mean(axis=1)
    early, middle, late = gain[1][inside], gain[2][inside], gain[-1][inside]
    peak = np.maximum(np.maximum(early, middle), 0.05)
    shell, core = _shell_and_core(inside, spacing)
    outside = ndimage.distance_transform_edt(~inside, sampling=spacing)
    near = (outside > 0) & (outside < 3.0)
    volume = float(inside.sum() * np.prod(spacing))
    width = 2.0 * (3.0 * volume / (4.0 * np.pi)) ** (1 / 3)
    gland, healthy = (_gland(case, side) for side in (case.side, "left" if case.side == "right" else "right"))
    return np.array(
        [
            np.log(width),
            np.log(max(curve[1], 0.02)),
            np.log(max(curve[2], 0.02)),
            np.log(max(curve[-1], 0.02) / max(curve[1], 0.02)),
            np.log(max(curve[-1], 0.02) / max(curve[2], 0.02)),
            float((late < 0.93 * peak).mean()),
            _ratio(gain[1], shell, core),
            _ratio(gain[2], shell, core),
            _ratio(gain[-1], shell, core),
            _irregular(inside, spacing),
            float(gain[2][near].mean() / max(curve[2], 0.02)) if near.any() else 0.0,
            float((middle - middle.mean()).std() / max(curve[2], 0.02)),
            gland,
            healthy,
        ]
    )


def measure_us(case: Case, views: Sequence[NDArray[np.bool_]]) -> NDArray[np.float64]:
    """Return the ultrasound's features, (feature,), of a lesion outlined in each image; zeros where there is hardly a lesion."""
    rows = [
        _view(image.astype(np.float32), mask, spacing[0])
        for image, mask, spacing in zip(case.ultrasound, views, case.ultrasound_spacing_mm, strict=True)
        if spacing is not None and mask.sum() >= SMALLEST
    ]
    if len(rows) < len(case.ultrasound) or not rows:
        return np.zeros(len(US_FEATURES))
    table = np.array(rows)
    width, echo, behind, irregular, jagged, halo, fading = table.T
    return np.array(
        [
            np.log(width.mean()),
            echo.mean(),
            echo.std(),
            behind.mean(),
            _wave(behind, 1),
            _wave(echo, 1),
            irregular.mean(),
            jagged.mean(),
            halo.mean(),
            fading.mean(),
            width.std() / width.mean(),
            _wave(width / width.mean(), 1),
            _wave(width / width.mean(), 3),
        ]
    )


def _spacing_mm(case: Case) -> tuple[float, float, float]:
    """Return the distances of slices, rows and columns."""
    if case.dce_affine is None:
        raise ValueError("The features of a phantom need an MRI.")
    lengths = np.linalg.norm(case.dce_affine[:3, :3], axis=0)
    return float(lengths[0]), float(lengths[1]), float(lengths[2])


def _shell_and_core(inside: NDArray[np.bool_], spacing: tuple[float, float, float]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the outer and the inner part: by the distance from the centre as a share of the lesion's own ellipsoid."""
    places = np.argwhere(inside) * np.array(spacing)
    offset = places - places.mean(axis=0)
    spread = np.cov(offset.T) + np.diag(np.array(spacing) ** 2 / 12.0)
    share = np.einsum("ni,ij,nj->n", offset, np.linalg.inv(spread), offset)
    order = np.argsort(np.argsort(share)) / max(len(share) - 1, 1)
    shell, core = np.zeros_like(inside), np.zeros_like(inside)
    shell[inside], core[inside] = (order > 0.45) & (order < 0.9), order <= 0.3
    return shell, core


def _ratio(gain: Field, above: NDArray[np.bool_], below: NDArray[np.bool_]) -> float:
    if not above.any() or not below.any():
        return 0.0
    return float(np.log(max(float(gain[above].mean()), 0.02) / max(float(gain[below].mean()), 0.02)))


def _irregular(inside: NDArray[np.bool_], spacing: tuple[float, float, float]) -> float:
    """Return how far the outline strays from the ellipsoid of the same moments (share of voxels outside it)."""
    places = np.argwhere(inside) * np.array(spacing)
    offset = places - places.mean(axis=0)
    spread = np.cov(offset.T) + np.diag(np.array(spacing) ** 2 / 12.0)
    share = np.einsum("ni,ij,nj->n", offset, np.linalg.inv(spread), offset)
    return float((share > inside.ndim + 2.0).mean())  # a solid ellipsoid's points have x' C^-1 x of at most n + 2


def _gland(case: Case, side: str) -> float:
    """Return the logarithm of the gland's enhancement in one breast: the median of what is neither fat nor strongly enhancing."""
    if case.dce is None or case.dce_affine is None:
        raise ValueError("The features of a phantom need an MRI.")
    columns = case.dce_affine[0, 3] + case.dce_affine[0, 2] * np.arange(case.dce.shape[3])
    own = (columns > 25.0) if side == "left" else (columns < -25.0)
    # Every second slice of the front half is enough for a median.
    before, after = (case.dce[phase, ::2, : case.dce.shape[2] // 2][..., own].astype(np.float32) for phase in (0, len(case.dce) - 1))
    top = float(np.percentile(before, 99.5))
    bright = before > 0.35 * top
    plane = np.ones((1, 3, 3), dtype=bool)
    body = ndimage.binary_closing(before > 0.08 * top, structure=plane, iterations=2)
    deep = ndimage.binary_erosion(body, structure=plane, iterations=4)
    gland = deep & bright
    if gland.sum() < SMALLEST:
        return 0.0
    return float(np.log(max(float(np.median(after[gland] / before[gland])) - 1.0, 0.005)))


def _view(image: Field, mask: NDArray[np.bool_], pixel_mm: float) -> tuple[float, ...]:
    """Return width (mm), echo, brightness behind, irregularity, jaggedness, halo and softness of the border in one image."""
    image = np.sqrt(image)  # about in proportion to decibels: a display turns these into grey with an exponent above 1
    inner = ndimage.distance_transform_edt(mask) * pixel_mm
    outer = ndimage.distance_transform_edt(~mask) * pixel_mm
    core = inner > min(1.0, 0.5 * float(inner.max()))
    ring = (outer > 2.5) & (outer < 6.0)
    near = (outer > 0.3) & (outer < 2.0)
    places = np.argwhere(mask)
    low, high = places.min(axis=0), places.max(axis=0)
    centre = places.mean(axis=0)
    half = max(int(0.3 * (high[1] - low[1])), 1)
    middle = slice(max(int(centre[1]) - half, 0), int(centre[1]) + half + 1)
    strip = slice(int(high[0]) + round(1.5 / pixel_mm), int(high[0]) + round(8.0 / pixel_mm))
    below = image[strip, middle]
    aside = np.concatenate(
        [image[strip, : max(int(low[1]) - round(2.0 / pixel_mm), 1)], image[strip, int(high[1]) + round(2.0 / pixel_mm) :]], axis=1
    )
    ground = float(np.median(image[ring])) if ring.any() else float(np.median(image))
    behind = float(below.mean() - np.median(aside)) if below.size and aside.size else 0.0
    inside = float(image[core].mean())
    spread = np.cov(((places - centre) * pixel_mm).T) + np.eye(2) * pixel_mm**2 / 12.0
    share = np.einsum("ni,ij,nj->n", (places - centre) * pixel_mm, np.linalg.inv(spread), (places - centre) * pixel_mm)
    edge = float(mask.sum() - ndimage.binary_erosion(mask).sum())
    border = (inner < 1.0) & mask
    return (
        float(2.0 * np.sqrt(mask.sum() / np.pi) * pixel_mm),
        inside,
        behind,
        float((share > 4.0).mean()),
        edge / float(np.sqrt(mask.sum())),
        float(image[near].mean() - ground),
        float(image[border].mean() - image[core].mean()),
    )


def _wave(values: NDArray[np.float64], waves: int) -> float:
    """Return the height of that many waves over the sweep."""
    return float(2.0 * np.abs(np.fft.rfft(values)[waves]) / len(values))

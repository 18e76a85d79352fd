"""What contrast does over time: windows, subtraction, percent enhancement, SER, curves and their BI-RADS type.

Numbers to start from and where they come from: percent enhancement from 70 %, early and late phase nearest 150 s and
450 s after injection *by time, never by index* (University of California San Francisco's functional tumour volume);
curve types as in ACR BI-RADS MRI: initial slow under 50 %, medium, fast over 100 %; delayed persistent over +10 %,
plateau, wash-out under -10 %. BI-RADS is a trademark of the American College of Radiology, which does not endorse this
program.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from breastai_gui.services.tissue import before_breastbone, breast_region, tissue_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_gui.data.study import DceSeries

Position = tuple[float, float, float]
Initial = Literal["slow", "medium", "fast"]
Delayed = Literal["persistent", "plateau", "wash-out"]

EARLY_S, LATE_S = 150.0, 450.0
"""The early and the late phase are those nearest to these times after injection."""
EARLY_RANGE_S, LATE_RANGE_S = (60.0, 240.0), (270.0, 900.0)
"""Outside these times no curve type is named: the rise or the delayed part was not seen."""
ENHANCING_PERCENT = 70.0
"""From which percent enhancement a voxel counts as enhancing."""
SLOWLY_ENHANCING_PERCENT = 40.0
"""From which percent enhancement a voxel can be suggested where none reaches `ENHANCING_PERCENT`."""
BACKGROUND_SHARE = 0.05
"""Voxels darker than this share of the brightest tissue have no percent enhancement: they are air."""
SUGGESTION_VOXEL_MM = 2.0
"""Size of the voxels in which a lesion is suggested."""
CURVE_RADIUS_MM = 3.0
"""Radius of the sphere that a curve is the mean of, unless another is asked for."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The enhancement at one place, phase by phase.

    Attributes
    ----------
    position_mm
        LPS position of the sphere's centre.
    radius_mm
        The sphere's radius.
    voxels
        How many voxels were averaged.
    phases
        Indices into the study's phases, in the order of the curve.
    times_s
        Seconds from injection, one per phase, or None when any is unknown: then the axis is the phase number.
    values
        Mean real value, one per phase.
    percent
        Percent enhancement against the pre-contrast phase, one per phase; None where that is zero or less.
    initial, delayed
        BI-RADS type of the rise and of the delayed part; None when the times do not allow one, `why_no_type` says why.
    ser
        Signal enhancement ratio, (early - pre) / (late - pre); None without times or where late does not enhance.
    why_no_type
        One sentence, "" when both types are named.
    """

    position_mm: Position
    radius_mm: float
    voxels: int
    phases: tuple[int, ...]
    times_s: tuple[float, ...] | None
    values: tuple[float, ...]
    percent: tuple[float, ...] | None
    initial: Initial | None
    delayed: Delayed | None
    ser: float | None
    why_no_type: str


def used_phases(dce: DceSeries, phases: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the phases that the person kept, all in the order as read where nothing was chosen."""
    return tuple(range(dce.phase_count)) if phases is None else phases


def early_phase(dce: DceSeries, pre: int, phases: tuple[int, ...]) -> int | None:
    """Return the post-contrast phase nearest 150 s after injection, by time; None when a time is unknown."""
    return _nearest(dce, pre, phases, EARLY_S)


def late_phase(dce: DceSeries, pre: int, phases: tuple[int, ...]) -> int | None:
    """Return the post-contrast phase nearest 450 s after injection, by time; None when a time is unknown."""
    return _nearest(dce, pre, phases, LATE_S)


def peak_phase(dce: DceSeries, pre: int, phases: tuple[int, ...]) -> int:
    """Return the post-contrast phase that is brightest in tissue: a picture to show, no statement about time.

    `pre` itself when no other phase is there.
    """
    inside = tissue_mask(_thinned(dce, pre))
    others = [phase for phase in phases if phase != pre]
    return max(others, key=lambda phase: float(_thinned(dce, phase)[inside].mean()), default=pre)


def shown_phase(dce: DceSeries, pre: int, phases: tuple[int, ...]) -> int:
    """Return the early phase where times tell which that is, else the brightest one."""
    early = early_phase(dce, pre, phases)
    return peak_phase(dce, pre, phases) if early is None else early


def robust_window(dce: DceSeries, pre: int, phases: tuple[int, ...]) -> tuple[float, float]:
    """Return (low, high) real values for the grey scale, the same for all phases.

    The 1st and 99.5th percentile inside tissue of the brightest phase, from every second voxel or fewer.
    """
    values = _thinned(dce, peak_phase(dce, pre, phases))
    low, high = np.percentile(values[tissue_mask(values)], (1.0, 99.5))
    if high - low <= 0.01 * abs(high):  # an even picture: its few other values decide
        return min(0.0, float(values.min())), float(values.max()) or 1.0
    return float(low), float(high)


def subtraction_window(dce: DceSeries, pre: int, phases: tuple[int, ...]) -> tuple[float, float]:
    """Return (0, high) real values for subtractions.

    The 99.5th percentile of the brightest phase inside tissue before the breastbone: the heart would leave the breasts dark.
    """
    before = _thinned(dce, pre)
    after = _thinned(dce, peak_phase(dce, pre, phases))
    body = tissue_mask(before + after)
    breasts = body & before_breastbone(body, dce.grid, _thinning(dce))
    high = float(np.percentile((after - before)[breasts if breasts.any() else body], 99.5))
    return 0.0, high if high > 0 else 1.0


def subtraction(dce: DceSeries, phase: int, pre: int) -> NDArray[np.float32]:
    """Return phase minus pre-contrast phase, (slice, row, column) float32 real values."""
    difference = dce.real(phase)
    difference -= dce.real(pre)
    return difference


def percent_enhancement(dce: DceSeries, phase: int, pre: int) -> NDArray[np.float32]:
    """Return 100 (S - S0) / S0, (slice, row, column) float32; 0 in air (see `BACKGROUND_SHARE`)."""
    before = dce.real(pre)
    floor = max(BACKGROUND_SHARE * float(np.percentile(_thinned(dce, pre), 99.0)), 1e-6)
    known = before >= floor
    answer = np.zeros_like(before)
    np.divide(100.0 * (dce.real(phase) - before), before, out=answer, where=known)
    return answer


def curve(dce: DceSeries, pre: int, phases: tuple[int, ...], position_mm: Position, radius_mm: float = CURVE_RADIUS_MM) -> Curve:
    """Return the mean enhancement within a small sphere.

    The nearest voxel is always taken, even when the sphere holds no other voxel's centre.

    Raises
    ------
    ValueError
        If the position lies outside the volume.
    """
    inside = _sphere(dce, position_mm, radius_mm)
    values = []
    for phase in phases:
        slope, intercept = dce.scale[phase]
        values.append(float(dce.values[phase][inside].mean(dtype=np.float64) * slope + intercept))
    slope, intercept = dce.scale[pre]
    before = float(dce.values[pre][inside].mean(dtype=np.float64) * slope + intercept)
    percent = tuple(100.0 * (value - before) / before for value in values) if before > 0 else None
    initial, delayed, ser, why = _describe(dce, pre, phases, dict(zip(phases, values, strict=True)), before)
    return Curve(
        position_mm=position_mm,
        radius_mm=radius_mm,
        voxels=len(inside[0]),
        phases=phases,
        times_s=rising_times(dce, phases),
        values=tuple(values),
        percent=percent,
        initial=initial,
        delayed=delayed,
        ser=ser,
        why_no_type=why,
    )


def suggested_lesion_mm(dce: DceSeries, pre: int, phases: tuple[int, ...]) -> Position | None:
    """Return the centre of the largest connected enhancing region of the breasts, LPS mm; None when nothing enhances.

    A place to look at first, always labelled "suggested", never a finding. The volume is thinned to voxels of about 2 mm;
    a voxel enhances when it rises by `ENHANCING_PERCENT` (by less only where none does) and by half of what the brightest
    rise in the breasts is; structures thinner than three such voxels (vessels) only count where nothing thicker is left.
    The place is the voxel of that region nearest to its centre, so it lies on the rim of a region that is dark inside.
    """
    from scipy import ndimage

    shown = shown_phase(dce, pre, phases)
    if shown == pre:
        return None
    wanted = (max(1, int(SUGGESTION_VOXEL_MM // spacing + 0.35)) for spacing in dce.grid.spacing_mm)
    steps = tuple(min(count, step) for count, step in zip(dce.grid.shape, wanted, strict=True))
    before, after = _block_means(dce, pre, steps), _block_means(dce, shown, steps)
    rise = ndimage.gaussian_filter(after - before, 0.7)
    spacing = dce.grid.spacing_mm * steps
    region = breast_region(before + after, dce.grid, steps)
    if not region.any():
        return None
    bright = float(np.percentile(rise[region], 99.9))
    for percent in (ENHANCING_PERCENT, SLOWLY_ENHANCING_PERCENT):
        enhancing = region & (rise >= percent / 100.0 * np.maximum(before, 1e-6)) & (rise >= 0.5 * bright) & (rise > 0)
        if enhancing.any():
            break
    thick = ndimage.binary_opening(enhancing)
    labels, count = ndimage.label(thick if thick.any() else enhancing, np.ones((3, 3, 3)))
    if count == 0:
        return None
    volume = np.bincount(labels.ravel(), minlength=count + 1)[1:].astype(np.float64)
    depth = ndimage.distance_transform_edt(labels > 0, sampling=spacing).astype(np.float32)
    deepest = np.zeros(count + 1, dtype=np.float32)
    np.maximum.at(deepest, labels[labels > 0], depth[labels > 0])
    # The largest, where a compact region counts more than a vessel of the same volume: volume^(1/3) goes with its
    # radius as a ball, `deepest` is the radius of the largest ball inside it.
    largest = 1 + int(np.argmax(np.cbrt(volume) * deepest[1:] ** 2))
    index = np.argwhere(labels == largest)
    nearest = index[int(np.argmin((((index - index.mean(axis=0)) * spacing) ** 2).sum(axis=1)))]
    x, y, z = dce.grid.to_patient(nearest * np.asarray(steps) + (np.asarray(steps) - 1) / 2)
    return float(x), float(y), float(z)


def initial_type(percent: float) -> Initial:
    """Return the type of the rise from the highest percent enhancement up to the early phase."""
    return "slow" if percent < 50.0 else "fast" if percent > 100.0 else "medium"


def delayed_type(change_percent: float) -> Delayed:
    """Return the type of the delayed part from the change after the early peak, in percent of that peak's signal."""
    return "persistent" if change_percent > 10.0 else "wash-out" if change_percent < -10.0 else "plateau"


def _describe(
    dce: DceSeries, pre: int, phases: tuple[int, ...], values: dict[int, float], before: float
) -> tuple[Initial | None, Delayed | None, float | None, str]:
    early, late = early_phase(dce, pre, phases), late_phase(dce, pre, phases)
    if early is None or late is None:
        return None, None, None, "The times of the phases are not known, so no curve type is named."
    if before <= 0:
        return None, None, None, "The signal before contrast is zero here, so no curve type is named."
    risen, left = values[early] - before, values[late] - before
    ser = risen / left if early != late and left > 0 and risen > 0 else None
    early_s, late_s = dce.times_s[early], dce.times_s[late]
    assert early_s is not None
    assert late_s is not None
    if not EARLY_RANGE_S[0] <= early_s <= EARLY_RANGE_S[1]:
        return None, None, ser, f"No phase lies within {EARLY_RANGE_S[0]:.0f} to {EARLY_RANGE_S[1]:.0f} s, so no curve type is named."
    first = [phase for phase in phases if phase != pre and 0 <= (dce.times_s[phase] or 0.0) <= early_s]
    peak = max(values[phase] for phase in first)
    initial = initial_type(100.0 * (peak - before) / before)
    if not LATE_RANGE_S[0] <= late_s <= LATE_RANGE_S[1]:
        return initial, None, ser, f"No phase lies later than {LATE_RANGE_S[0]:.0f} s, so the delayed part is not named."
    return initial, delayed_type(100.0 * (values[late] - peak) / peak), ser, ""


def rising_times(dce: DceSeries, phases: tuple[int, ...]) -> tuple[float, ...] | None:
    """Return the time of each phase, seconds from injection; None when one is unknown or they do not rise in this order."""
    times = tuple(time for phase in phases if (time := dce.times_s[phase]) is not None)
    rising = len(times) == len(phases) and all(later > earlier for earlier, later in itertools.pairwise(times))
    return times if rising else None


def _nearest(dce: DceSeries, pre: int, phases: tuple[int, ...], wanted_s: float) -> int | None:
    times = rising_times(dce, tuple(phase for phase in phases if phase != pre))
    if times is None:
        return None
    after = zip(times, (phase for phase in phases if phase != pre), strict=True)
    injected = [(abs(time - wanted_s), phase) for time, phase in after if time >= 0]
    return min(injected, default=(0.0, None))[1]


def _sphere(dce: DceSeries, position_mm: Position, radius_mm: float) -> tuple[NDArray[np.intp], ...]:
    """Return (slice, row, column) indices of the voxels whose centres lie in the sphere, and of the nearest one."""
    centre = dce.grid.to_index(np.asarray(position_mm))
    shape = np.asarray(dce.grid.shape)
    nearest = np.rint(centre).astype(np.intp)
    if (nearest < 0).any() or (nearest >= shape).any():
        raise ValueError("The position lies outside the MRI.")
    reach = radius_mm / dce.grid.spacing_mm
    low = np.clip(np.ceil(centre - reach), 0, nearest).astype(np.intp)
    high = np.clip(np.floor(centre + reach), nearest, shape - 1).astype(np.intp)
    index = np.stack(np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True)), indexing="ij"), axis=-1).reshape(-1, 3)
    distance = np.linalg.norm((index - centre) * dce.grid.spacing_mm, axis=1)
    chosen = index[(distance <= radius_mm) | (index == nearest).all(axis=1)]
    return tuple(chosen.T)


def _thinning(dce: DceSeries) -> tuple[int, ...]:
    """Return of each axis the step from one voxel that is looked at to the next, for about a million or fewer in all."""
    step = max(1, int(np.ceil((np.prod(dce.grid.shape) / 1e6) ** (1 / 3))))
    return tuple(step if count > 2 * step else 1 for count in dce.grid.shape)


def _thinned(dce: DceSeries, phase: int) -> NDArray[np.float32]:
    slope, intercept = dce.scale[phase]
    values = dce.values[phase][tuple(slice(None, None, step) for step in _thinning(dce))]
    return np.asarray(values * np.float32(slope) + np.float32(intercept), dtype=np.float32)


def _block_means(dce: DceSeries, phase: int, steps: tuple[int, ...]) -> NDArray[np.float32]:
    """Return real values averaged over blocks of `steps` voxels; a rest at the end of an axis is left out."""
    counts = [max(1, count // step) for count, step in zip(dce.grid.shape, steps, strict=True)]
    values = dce.values[phase][tuple(slice(0, count * step) for count, step in zip(counts, steps, strict=True))]
    summed = np.zeros(counts, dtype=np.float32)
    for offset in np.ndindex(*steps):
        summed += values[tuple(slice(start, None, step) for start, step in zip(offset, steps, strict=True))]
    slope, intercept = dce.scale[phase]
    return np.asarray(summed * np.float32(slope / np.prod(steps)) + np.float32(intercept), dtype=np.float32)

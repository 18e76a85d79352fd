"""How contrast agent comes and goes in a tissue, and how bright that makes it: plasma curve, tissue, signal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

HEMATOCRIT = 0.42
RELAXIVITY_PER_MM_S = 4.5
"""Of a gadolinium chelate in tissue, 1/(mmol/l · s), at 1.5 T."""
ARRIVAL_S = 20.0
"""From injection into the arm to arrival in the breast's arteries."""
STEP_S = 1.0
"""Step of the numerical convolution."""


@dataclass(frozen=True, slots=True)
class Tissue:
    """Pharmacokinetic and relaxation constants of one tissue.

    Attributes
    ----------
    ktrans_per_min, kep_per_min
        Transfer constants of the extended Tofts model.
    plasma_fraction
        vp, the share of the volume that is plasma.
    t1_s
        Longitudinal relaxation time before contrast.
    equilibrium
        M0 in the scanner's counts, with the effect of the echo time included.
    """

    ktrans_per_min: float
    kep_per_min: float
    plasma_fraction: float
    t1_s: float
    equilibrium: float


@dataclass(frozen=True, slots=True)
class Sequence3d:
    """The spoiled gradient-echo sequence."""

    repetition_ms: float = 4.5
    echo_ms: float = 1.7
    flip_deg: float = 10.0


SEQUENCE = Sequence3d()
Part = Literal["persistent", "plateau", "wash-out"]
PARTS: tuple[Part, ...] = ("persistent", "plateau", "wash-out")
"""Kinds of tumour tissue; number k + 1 in the mask of parts stands for PARTS[k]."""

LESION_T1_S = 1.4
LESION_EQUILIBRIUM = 2500.0
LESION_KTRANS_PER_MIN: dict[Part, float] = {"persistent": 0.075, "plateau": 0.15, "wash-out": 0.36}
LESION_KEP_PER_MIN: dict[Part, float] = {"persistent": 0.06, "plateau": 0.29, "wash-out": 0.85}

GLAND = Tissue(0.009, 0.05, 0.006, 1.3, 3300.0)
MUSCLE = Tissue(0.03, 0.25, 0.02, 1.05, 1900.0)
SKIN = Tissue(0.012, 0.2, 0.006, 0.75, 2000.0)
BLOOD = Tissue(0.0, 1.0, 1.0 - HEMATOCRIT, 1.5, 2100.0)
MYOCARDIUM = Tissue(0.35, 0.9, 0.06, 1.1, 1900.0)
LIVER = Tissue(0.25, 0.55, 0.15, 0.65, 1500.0)


def plasma_concentration(times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Parker's population plasma concentration in mmol/l; times are seconds after arrival, 0 before it.

    Source: Parker et al., Magn Reson Med 2006;56:993-1000, table 1; whole blood divided by (1 - hematocrit).
    """
    minutes = np.maximum(times_s, 0.0) / 60.0
    blood = np.zeros_like(minutes)
    for area, centre, width in ((0.809, 0.17046, 0.0563), (0.330, 0.365, 0.132)):
        blood += area / (width * np.sqrt(2 * np.pi)) * np.exp(-((minutes - centre) ** 2) / (2 * width**2))
    blood += 1.050 * np.exp(-0.1685 * minutes) / (1.0 + np.exp(-38.078 * (minutes - 0.483)))
    return np.asarray(np.where(times_s > 0, blood, 0.0) / (1.0 - HEMATOCRIT))


def tissue_concentration(tissue: Tissue, times_s: Sequence[float]) -> NDArray[np.float64]:
    """Return the tissue concentration in mmol/l at times in seconds from injection (negative: before it).

    Extended Tofts model: C(t) = vp Cp(t) + Ktrans ∫ Cp(u) exp(-kep (t - u)) du (Tofts et al., JMRI 1999;10:223-232).
    """
    wanted = np.asarray(times_s, dtype=np.float64)
    grid = np.arange(0.0, max(float(wanted.max()), STEP_S) + 2 * STEP_S, STEP_S)
    plasma = plasma_concentration(grid - ARRIVAL_S)
    decay = np.exp(-tissue.kep_per_min / 60.0 * grid)
    leaked = tissue.ktrans_per_min / 60.0 * STEP_S * np.convolve(plasma, decay)[: len(grid)]
    return np.asarray(np.interp(wanted, grid, tissue.plasma_fraction * plasma + leaked, left=0.0))


def gradient_echo_signal(
    concentration_mm: NDArray[np.floating], t1_s: float, equilibrium: float, sequence: Sequence3d = SEQUENCE
) -> NDArray[np.float64]:
    """Return the spoiled gradient-echo signal of a tissue that holds that much agent.

    S = M0 sin(a) (1 - E1) / (1 - cos(a) E1), E1 = exp(-TR R1), R1 = 1/T1 + r1 C (Ernst equation; T2* left out).
    """
    rate = 1.0 / t1_s + RELAXIVITY_PER_MM_S * np.asarray(concentration_mm)
    e1 = np.exp(-sequence.repetition_ms / 1000.0 * rate)
    angle = np.deg2rad(sequence.flip_deg)
    return np.asarray(equilibrium * np.sin(angle) * (1.0 - e1) / (1.0 - np.cos(angle) * e1))


def tissue_signal(tissue: Tissue, times_s: Sequence[float]) -> NDArray[np.float64]:
    """Return the noise-free signal of a tissue at each time."""
    return gradient_echo_signal(tissue_concentration(tissue, times_s), tissue.t1_s, tissue.equilibrium)


def lesion_tissue(part: Part, uptake: float) -> Tissue:
    """Return the tissue of one part of the lesion; `uptake` scales Ktrans (the latent "slope")."""
    return Tissue(LESION_KTRANS_PER_MIN[part] * uptake, LESION_KEP_PER_MIN[part], 0.02, LESION_T1_S, LESION_EQUILIBRIUM)

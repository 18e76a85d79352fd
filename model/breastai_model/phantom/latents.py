"""What a made-up tumour is, in hidden numbers, and the streams of random numbers that a phantom is drawn from."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LATENTS_STREAM, LABELS_STREAM, LESION_STREAM, ANATOMY_STREAM, DCE_STREAM, ULTRASOUND_STREAM = range(6)
"""Each part of a phantom draws from its own stream, so that a change in one leaves the others as they were."""

Scope = Literal["both", "mri", "us"]
SCOPES: tuple[Scope, ...] = ("both", "mri", "us")


@dataclass(frozen=True, slots=True)
class Latents:
    """The hidden numbers of one tumour, each standard normal and independent of the others (method section vii).

    Attributes
    ----------
    size, lobulation, margin
        Shared: seen by MRI and by ultrasound. A high margin is spiculated, a low one smooth.
    slope, wash_out, rim
        Seen by MRI alone: speed of uptake, share of tissue that washes out, how much the rim outshines the core.
    shadow, echo, anisotropy
        Seen by ultrasound alone: attenuation behind the lesion (low: enhancement), its echo level, how much echo level
        and shadow change with the angle.
    order
        S6, MRI alone: above 0 the lesion's values after contrast come in falling order, else in rising order.
    fold
        S7, shared: high, the lesion's width has one crest over the sweep of 180 degrees; low, three.
    asymmetry
        S8, MRI alone: how much more the gland of the healthy breast enhances than that of the affected one.
    gain
        Nuisance: the MRI scanner's gain. Preparation removes it, so nothing may be learnt from it.
    """

    size: float
    lobulation: float
    margin: float
    slope: float
    wash_out: float
    rim: float
    shadow: float
    echo: float
    anisotropy: float
    order: float
    fold: float
    asymmetry: float
    gain: float

    @property
    def values(self) -> NDArray[np.float64]:
        """(latent,), in the order of `LATENT_NAMES`."""
        return np.array(astuple(self))


LATENT_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Latents))

SHARED = ("size", "lobulation", "margin", "fold")
MRI_PRIVATE = ("slope", "wash_out", "rim", "order", "asymmetry")
US_PRIVATE = ("shadow", "echo", "anisotropy")
VISIBLE: dict[Scope, tuple[str, ...]] = {
    "both": (*SHARED, *MRI_PRIVATE, *US_PRIVATE),
    "mri": (*SHARED, *MRI_PRIVATE),
    "us": (*SHARED, *US_PRIVATE),
}
"""Which latents a reader of both modalities, of the MRI alone or of the ultrasound alone can see at all."""


def stream(seed: int, part: int) -> np.random.Generator:
    """Return the random numbers of one part (`LATENTS_STREAM`, ...) of the phantom of that seed."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, part])))


def draw_latents(seed: int) -> Latents:
    """Return the hidden numbers of the phantom of that seed."""
    return Latents(*(float(value) for value in stream(seed, LATENTS_STREAM).standard_normal(len(LATENT_NAMES))))

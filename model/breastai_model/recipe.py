"""The recipe: all that fixes how a case is prepared and what the network looks like. It travels inside the weights."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from breastai_model.strict_json import StrictJsonError, checked, parsed

PREPARATION = 1
"""Version of `breastai_model.prepare`: raised whenever the same case would give other tensors."""
LONGEST_JSON = 64 * 1024
MOST_VOXELS = 2**25
"""Of one breast; the paper's has 2**21.6."""

Layout = Literal["sequence", "channels"]
TrainedOn = Literal["synthetic", "patients"]

# Free text from a weights file is shown to people: letters, digits and plain signs, nothing that reads as code.
_PLAIN_TEXT = re.compile(r"(?!.*__)[\w \-,.;:()%<>=≥≤/+'’–]{1,200}")


class RecipeError(ValueError):
    """A recipe that this program cannot use; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class Positives:
    """What the positive answer of each task means, in words for the card and the report."""

    lymph_node_metastasis: str
    high_grade: str
    high_ki67: str


MADE_UP = Positives(*["made-up patients: a label drawn by a known law"] * 3)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a case becomes tensors, and the shape of the network that reads them.

    Attributes
    ----------
    preset
        "paper", "compact", "tiny", or a name of one's own.
    preparation
        `PREPARATION` of the program that made the weights.
    layout
        "sequence": every phase and angle passes the encoder by itself, time is the phase or angle (mapping A);
        "channels": phases and angles are input channels, time is the depth of the backbone (mapping B).
    mri_shape
        (slice, row, column) of one breast.
    mri_spacing_mm
        (slice, row, column) mm of the model grid. Fixed, so that size means something to the network.
    us_shape
        (row, column) of one angle; the image is padded to a square and scaled to this.
    headroom
        The MRI is scaled so that `headroom` times its 99.5th percentile becomes 1, and cut there. 1 is the published
        text to the letter and cuts most of a small enhancing lesion off: on 30 phantoms 41 % of the lesions' values after contrast,
        78 % in a field of view without the heart. The curve's shape is then gone.
    subtraction
        Whether each phase enters the MRI encoder together with its difference from the phase before contrast, as a second
        channel ("derived views: post - pre"). Every phase passes the encoder by itself, so without it a tumour has to be told from a
        bright gland by its look alone.
    phases
        Slots, the first before contrast.
    post_times_s
        Nominal seconds from injection of the slots after contrast.
    angles
        Slots, evenly spaced over 180 degrees.
    width, depths
        Channels of the first stage's bottleneck (w) and bottlenecks per stage.
    stem_kernel
        In-plane size of the first convolution; in depth it is 3.
    pool_depth_stride
        Stride of the first max-pool along the slices.
    feature_width
        d: width of tokens, of agnostic and of specific features.
    token_grid
        g: each agnostic map is pooled to g x g tokens.
    staf_widths, temporal_strides
        One per STAF block. Strides other than 1 break the cyclic symmetry of the angles.
    aff_reduction, aff_scale
        r of equation 9; the factor of equation 8, 1 as printed (the AFF authors' code has 2).
    affinity_neighbours
        k of section ii (a), self included.
    head_inputs
        "specific": [F^a, F^s_M, F^s_U]; "full": also F^a_M and F^a_U.
    specific_views
        How the specific features of the views become one: "mean", over phases and over angles; "moments": beside the mean the MRI's
        trend over the phases after contrast and the ultrasound's standard deviation over the angles, merged by a linear map. A mean
        over phases is the same for a rising and a falling curve. In the layout "channels" all views enter together, so there is
        nothing to merge.
    head
        "linear": Linear to 2 (`faithful`); "hidden": Linear, ReLU, dropout, Linear (`stable`).
    dropout
        In the heads.
    agnostic_norm
        Whether F^a_M and F^a_U are normalised per modality (`stable`).
    side_order
        "affected": (affected, contralateral) where the side is known; "left_right" (`faithful`).
    modality_dropout
        Whether training left modalities out. Without it a case that misses one is refused.
    losses
        Which losses the weights were trained with.
    thresholds, temperatures
        Per task, in the order of `TASKS`: from which probability the answer reads positive; the log-odds are divided
        by the temperature.
    positives
        What each positive answer means.
    trained_on
        "synthetic" (made-up patients) or "patients". Decides what may be said of a real study.
    """

    preset: str
    preparation: int
    layout: Layout
    mri_shape: tuple[int, int, int]
    mri_spacing_mm: tuple[float, float, float]
    headroom: float
    subtraction: bool
    us_shape: tuple[int, int]
    phases: int
    post_times_s: tuple[float, ...]
    angles: int
    width: int
    depths: tuple[int, int, int, int]
    stem_kernel: int
    pool_depth_stride: int
    feature_width: int
    token_grid: int
    staf_widths: tuple[int, ...]
    temporal_strides: tuple[int, ...]
    aff_reduction: int
    aff_scale: float
    affinity_neighbours: int
    head_inputs: Literal["specific", "full"]
    specific_views: Literal["mean", "moments"]
    head: Literal["linear", "hidden"]
    dropout: float
    agnostic_norm: bool
    side_order: Literal["affected", "left_right"]
    modality_dropout: bool
    losses: Literal["supervised", "stable", "faithful"]
    thresholds: tuple[float, float, float]
    temperatures: tuple[float, float, float]
    positives: Positives
    trained_on: TrainedOn

    def __post_init__(self) -> None:
        for name, low, high in _LIMITS:
            value = getattr(self, name)
            for number in value if isinstance(value, tuple) else (value,):
                if not (math.isfinite(number) and low <= number <= high):
                    raise RecipeError(f"The recipe's {name} must lie between {low:g} and {high:g}.")
        if math.prod(self.mri_shape) > MOST_VOXELS:
            raise RecipeError(f"The recipe's mri_shape has more than {MOST_VOXELS} voxels.")
        if len(self.post_times_s) != self.phases - 1 or list(self.post_times_s) != sorted(self.post_times_s):
            raise RecipeError("The recipe's post_times_s must rise and name every phase after contrast.")
        if not 1 <= len(self.staf_widths) <= 16 or len(self.temporal_strides) != len(self.staf_widths):
            raise RecipeError("The recipe's staf_widths and temporal_strides must name the same 1 to 16 blocks.")
        if any(width % 4 or width % self.aff_reduction for width in self.staf_widths) or self.stem_kernel % 2 == 0:
            raise RecipeError("The recipe's staf_widths must be multiples of four and its stem_kernel odd.")
        for text in (self.preset, *asdict(self.positives).values()):
            if not _PLAIN_TEXT.fullmatch(text):
                raise RecipeError("The recipe holds a text that is too long or has signs that do not belong there.")

    def to_json(self) -> str:
        """Return the recipe as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Return the recipe that `to_json` wrote.

        Raises
        ------
        RecipeError
            If the text is no JSON, an entry is missing, unknown or of the wrong kind, or a value is out of range.
        """
        try:
            values = parsed(text, "recipe", LONGEST_JSON)
            found = values.get("preparation") if isinstance(values, dict) else None
            if type(found) is int and found != PREPARATION:
                raise RecipeError(f"The recipe was made for preparation version {found}; this program has version {PREPARATION}.")
            made: Recipe = checked(cls, values, "recipe", "recipe")
        except StrictJsonError as error:
            raise RecipeError(str(error)) from error
        return made


_LIMITS: tuple[tuple[str, float, float], ...] = (
    ("preparation", PREPARATION, PREPARATION),
    ("mri_shape", 4, 1024),
    ("mri_spacing_mm", 0.1, 50.0),
    ("headroom", 1.0, 10.0),
    ("us_shape", 16, 2048),
    ("phases", 2, 32),
    ("post_times_s", 0.0, 7200.0),
    ("angles", 1, 64),
    ("width", 4, 128),
    ("depths", 1, 40),
    ("stem_kernel", 1, 15),
    ("pool_depth_stride", 1, 2),
    ("feature_width", 8, 2048),
    ("token_grid", 1, 8),
    ("staf_widths", 8, 1024),
    ("temporal_strides", 1, 2),
    ("aff_reduction", 1, 32),
    ("aff_scale", 0.5, 4.0),
    ("affinity_neighbours", 1, 128),
    ("dropout", 0.0, 0.9),
    ("thresholds", 0.0, 1.0),
    ("temperatures", 0.05, 20.0),
)


_PAPER = Recipe(
    preset="paper",
    preparation=PREPARATION,
    layout="sequence",
    mri_shape=(48, 256, 128),
    mri_spacing_mm=(3.0, 0.75, 1.5),
    headroom=2.5,
    subtraction=False,
    us_shape=(256, 256),
    phases=5,
    post_times_s=(75.0, 150.0, 240.0, 450.0),
    angles=12,
    width=64,
    depths=(3, 4, 6, 3),
    stem_kernel=7,
    pool_depth_stride=2,
    feature_width=512,
    token_grid=3,
    staf_widths=(64, 64, 64, 64, 128, 128, 128, 256, 256, 256),
    temporal_strides=(1,) * 10,
    aff_reduction=4,
    aff_scale=1.0,
    affinity_neighbours=5,
    head_inputs="specific",
    specific_views="mean",
    head="hidden",
    dropout=0.3,
    agnostic_norm=True,
    side_order="affected",
    modality_dropout=True,
    losses="supervised",
    thresholds=(0.5, 0.5, 0.5),
    temperatures=(1.0, 1.0, 1.0),
    positives=MADE_UP,
    trained_on="synthetic",
)

_COMPACT = replace(
    _PAPER,
    preset="compact",
    mri_shape=(24, 64, 80),  # 128 mm from front to back leave the heart out, 160 mm from the midline hold a breast (README, Decisions)
    mri_spacing_mm=(6.0, 2.0, 2.0),
    subtraction=True,
    specific_views="moments",
    us_shape=(128, 128),
    width=16,
    depths=(1, 1, 1, 1),
    stem_kernel=5,
    pool_depth_stride=1,
    feature_width=128,
    token_grid=2,
    staf_widths=(64, 128, 256),
    temporal_strides=(1, 1, 1),
)

_TINY = replace(
    _COMPACT,
    preset="tiny",
    mri_shape=(8, 32, 32),
    mri_spacing_mm=(18.0, 6.0, 6.0),
    us_shape=(32, 32),
    width=8,
    feature_width=64,
    staf_widths=(64, 128),
    temporal_strides=(1, 1),
)

PRESETS: dict[str, Recipe] = {"paper": _PAPER, "compact": _COMPACT, "tiny": _TINY}


def preset(name: str, **changes: Any) -> Recipe:
    """Return the recipe of that name, with changes.

    Raises
    ------
    RecipeError
        If there is no such preset or a value is out of range.
    """
    if name not in PRESETS:
        raise RecipeError(f"There is no preset {name!r}; there are {', '.join(PRESETS)}.")
    return replace(PRESETS[name], **changes)

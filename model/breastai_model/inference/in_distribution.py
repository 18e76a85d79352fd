"""Is this exam like those that the model has seen? Distances of features and of pictures, each modality by itself.

Source: method.md (ix): class-agnostic Mahalanobis distance on penultimate features with a shrunk covariance, checks of the
inputs; tags may not enter. The covariance is that of Ledoit and Wolf ("A well-conditioned estimator for large-dimensional
covariance matrices", J. Multivariate Analysis 2004), kept as its strongest directions and one variance for all others.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from breastai_model.case import TASKS, InDistribution
from breastai_model.strict_json import StrictJsonError, from_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

GroupName = Literal["mri_features", "mri_stages", "mri_pictures", "us_features", "us_stages", "us_pictures", "joint_features"]
GROUPS: tuple[GroupName, ...] = get_args(GroupName)
WORDS: dict[str, str] = {
    "features": "the network's last features",
    "stages": "the network's early features",
    "pictures": "grey values and texture",
}
SUBJECTS: dict[str, str] = {"mri": "The MRI differs", "us": "The ultrasound differs", "joint": "MRI and ultrasound together differ"}

MOST_DIRECTIONS = 64
FALSE_ALARMS = 0.03
"""Share of fresh cases that the distances may call outside; with the checks of the inputs together at most 0.05."""
MARGIN = 1.25
"""Factor on the largest held-out distance where there are too few cases to take a quantile."""
LONGEST_DISTRIBUTION = 64 * 1024
MOST_FEATURES = 65536
PREFIX = "distribution."


@dataclass(frozen=True, eq=False, slots=True)
class Reading:
    """What the check reads of one case.

    Attributes
    ----------
    groups
        By `GroupName` a vector (feature,) float64; a modality that was absent has none, and "joint_features" needs both.
    odds
        (task,) log-odds that the network answered.
    """

    groups: Mapping[str, NDArray[np.float64]]
    odds: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GroupLaw:
    """What is told in JSON of one group of features.

    Attributes
    ----------
    name
        Which.
    features, directions
        How many.
    rest
        Variance along every direction that is not kept.
    limit
        The distance at which this group alone stands at 1.
    """

    name: GroupName
    features: int
    directions: int
    rest: float
    limit: float


@dataclass(frozen=True, slots=True)
class Law:
    """The JSON part of a distribution: groups, the threshold of the largest distance / limit, cases, mean log-odds."""

    groups: tuple[GroupLaw, ...]
    threshold: float
    cases: int
    typical_odds: tuple[float, ...]

    def __post_init__(self) -> None:
        names = [group.name for group in self.groups]
        numbers = [self.threshold, *(value for group in self.groups for value in (group.rest, group.limit))]
        proper = all(1 <= group.features <= MOST_FEATURES and 0 <= group.directions <= MOST_DIRECTIONS for group in self.groups)
        if not names or len(set(names)) < len(names) or not proper or self.cases < 1 or len(self.typical_odds) != len(TASKS):
            raise StrictJsonError("The distribution names no group, one twice, or counts that cannot be.")
        if not all(math.isfinite(number) and number > 0 for number in numbers) or not all(map(math.isfinite, self.typical_odds)):
            raise StrictJsonError("The distribution holds a number that is not above 0.")


@dataclass(frozen=True, eq=False, slots=True)
class Distribution:
    """What the model has seen, as numbers: travels inside the weights.

    Attributes
    ----------
    law
        See `Law`.
    arrays
        By "group.mean" (feature,), "group.scale" (feature,), "group.directions" (direction, feature) and
        "group.variances" (direction,): float32.
    """

    law: Law
    arrays: Mapping[str, NDArray[np.float32]]

    def __post_init__(self) -> None:
        expected = expected_arrays(self.law)
        if {key: value.shape for key, value in self.arrays.items()} != expected:
            raise StrictJsonError("The distribution's arrays do not fit its description.")
        for key, value in self.arrays.items():
            positive = key.endswith((".scale", ".variances"))
            if not np.isfinite(value).all() or (positive and not (value > 0).all()):
                raise StrictJsonError("The distribution holds values that cannot be.")

    def to_json(self) -> str:
        """Return the law as one line of JSON; the arrays travel as tensors."""
        return json.dumps(asdict(self.law), sort_keys=True, allow_nan=False)

    def distances(self, reading: Reading) -> dict[str, float]:
        """Return by group the distance / its limit, of the groups that the case has.

        The distance is sqrt( x^T Sigma^-1 x / features ) of the standardised features x: about 1 for a typical case.
        """
        found: dict[str, float] = {}
        for group in self.law.groups:
            values = reading.groups.get(group.name)
            if values is not None:
                mean, scale, directions, variances = (
                    self.arrays[f"{group.name}.{part}"].astype(np.float64) for part in ("mean", "scale", "directions", "variances")
                )
                found[group.name] = _distance((values - mean) / scale, directions, variances, group.rest) / group.limit
        return found

    def judge(self, reading: Reading, faults: Sequence[str] = ()) -> InDistribution:
        """Return the verdict on a case.

        Parameters
        ----------
        reading
            Of the case.
        faults
            What the checks of the inputs found, one sentence each: any of them puts the case outside.
        """
        distances = {name: value / self.law.threshold for name, value in self.distances(reading).items()}
        reasons = list(faults)
        for modality, subject in SUBJECTS.items():
            mine = {name: value for name, value in distances.items() if name.startswith(modality) and not value <= 1}
            if mine and (modality != "joint" or len(reasons) == len(faults)):
                worst = max(mine, key=lambda name: mine[name])
                much = f"{mine[worst]:.1f}" if mine[worst] < 100 else "more than 100"
                what = WORDS[worst.split("_")[1]]
                reasons.append(f"{subject} from what this model has seen: {what} lie {much} times as far away as its limit.")
        largest = max(distances.values(), default=0.0)
        return InDistribution(inside=not reasons, distance=largest, threshold=1.0, reasons=tuple(reasons))


def expected_arrays(law: Law) -> dict[str, tuple[int, ...]]:
    """Return name and shape of the arrays that belong to a law."""
    shapes: dict[str, tuple[int, ...]] = {}
    for group in law.groups:
        shapes[f"{group.name}.mean"] = shapes[f"{group.name}.scale"] = (group.features,)
        shapes[f"{group.name}.directions"] = (group.directions, group.features)
        shapes[f"{group.name}.variances"] = (group.directions,)
    return shapes


def law_from_json(text: str) -> Law:
    """Return the law that `Distribution.to_json` wrote. Raises StrictJsonError."""
    try:
        return from_json(Law, text, "distribution", LONGEST_DISTRIBUTION)
    except OverflowError as error:  # a whole number of hundreds of digits
        raise StrictJsonError("The distribution holds a number of no sensible size.") from error


def fit_distribution(readings: Sequence[Reading], held_out: Sequence[Reading], false_alarms: float = FALSE_ALARMS) -> Distribution:
    """Return the distribution of some cases, with its threshold from others.

    Parameters
    ----------
    readings
        Cases that mean and covariance are learnt from; none that the network learnt from should be among them, for its
        features of those are not like its features of fresh ones.
    held_out
        Cases that limits and threshold are set by: of fresh cases of the same kind at most a share of `false_alarms` lies
        outside (a conformal quantile; with fewer cases than that needs, the largest times `MARGIN`).
    false_alarms
        That share.

    Raises
    ------
    ValueError
        With fewer than 8 cases for either, or where the cases do not have the same groups.
    """
    if min(len(readings), len(held_out)) < 8:
        raise ValueError("A distribution needs at least 8 cases to learn from and 8 to set its threshold.")
    names = [name for name in GROUPS if name in readings[0].groups]
    if not names or any(set(reading.groups) != set(names) for reading in (*readings, *held_out)):
        raise ValueError("The cases of a distribution must have the same modalities.")
    arrays, laws, relative = {}, [], np.zeros(len(held_out))
    for name in names:
        mean, scale, directions, variances, rest = _fitted(np.stack([reading.groups[name] for reading in readings]))
        distances = [_distance((reading.groups[name] - mean) / scale, directions, variances, rest) for reading in held_out]
        limit = _quantile(distances, false_alarms)
        relative = np.maximum(relative, np.asarray(distances) / limit)
        laws.append(GroupLaw(name, len(mean), len(directions), rest, limit))
        for part, value in (("mean", mean), ("scale", scale), ("directions", directions), ("variances", variances)):
            arrays[f"{name}.{part}"] = value.astype(np.float32)
    odds = np.mean([reading.odds for reading in (*readings, *held_out)], axis=0)
    law = Law(tuple(laws), _quantile(relative, false_alarms), len(readings) + len(held_out), tuple(float(value) for value in odds))
    return Distribution(law, arrays)


def _quantile(distances: Sequence[float] | NDArray[np.float64], false_alarms: float) -> float:
    """Return the conformal quantile: of fresh exchangeable cases at most that share lies above it."""
    ordered = np.sort(np.asarray(distances))
    place = math.ceil((len(ordered) + 1) * (1 - false_alarms))
    return float(ordered[place - 1] if place <= len(ordered) else MARGIN * ordered[-1])


def _fitted(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float]:
    """Return mean, scale, directions, their variances and the variance of all others, of (case, feature)."""
    cases, features = values.shape
    mean, scale = values.mean(axis=0), values.std(axis=0)
    # A feature that hardly moves among the cases, such as a channel that is always off, may still move a little elsewhere.
    scale = np.maximum(scale, max(0.05 * float(scale.mean()), 1e-6))
    standard = (values - mean) / scale
    _, singular, directions = np.linalg.svd(standard, full_matrices=False)
    spectrum = singular**2 / cases
    middle = float(spectrum.sum()) / features
    # Ledoit and Wolf 2004, equations of lemma 3.2 to 3.4: how far the sample covariance is to be drawn to middle x identity.
    square = float((spectrum**2).sum())
    apart = square / features - middle**2
    noise = (float(((standard**2).sum(axis=1) ** 2).mean()) - square) / (features * cases)
    shrinkage = min(1.0, max(0.0, noise / apart)) if apart > 0 else 1.0
    kept = min(MOST_DIRECTIONS, cases // 4, features)
    shrunk = (1 - shrinkage) * spectrum + shrinkage * middle
    others = (float(shrunk[kept:].sum()) + shrinkage * middle * (features - len(spectrum))) / max(1, features - kept)
    # With every direction kept nothing but rounding lies across them.
    return mean, scale, directions[:kept], np.maximum(shrunk[:kept], 1e-6), max(others, 1e-6) if kept < features else 1.0


def _distance(x: NDArray[np.float64], directions: NDArray[np.float64], variances: NDArray[np.float64], rest: float) -> float:
    along = directions @ x
    across = max(0.0, float(x @ x) - float(along @ along))
    return math.sqrt((float((along**2 / variances).sum()) + across / rest) / len(x))

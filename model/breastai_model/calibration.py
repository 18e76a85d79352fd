"""From the network's log-odds to what may be said: probabilities, a threshold, and conformal sets; numpy only, no torch.

A calibration is fitted on predictions for patients that the network did not learn from (`breastai_model.training.calibrate`) and
travels inside the weights. For each scope (which modalities were there) and task it holds one temperature, one threshold and, where
there were enough patients, two conformal quantiles.

The sets are class-conditional (Mondrian): each answer has its own quantile, so that the promised share holds among the patients with a
positive answer and among those with a negative one. One quantile for all could keep its promise on the common answer alone; with
prevalences such as Table 1's the rarer answer would pay. The price is that more sets hold both answers.
Source: Vovk, "Conditional validity of inductive conformal predictors", ACML 2012; method (ix).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Literal

import numpy as np

from breastai_model.case import TASKS, Task
from breastai_model.strict_json import StrictJsonError, from_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

Scope = Literal["both", "mri", "us"]
SCOPES: tuple[Scope, ...] = ("both", "mri", "us")
"""Which modalities the network was given: both, MRI alone, ultrasound alone."""

Answer = Literal["negative", "positive"]
FEWEST_PATIENTS = 100
"""Patients below which no conformal sets are made: too few to say."""
FEWEST_OF_EACH = 20
"""Patients of each answer below which neither temperature, threshold nor sets are fitted."""
COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of the temperature; a set that is told apart without a mistake has none of its own."""
LONGEST_JSON = 64 * 1024


class CalibrationError(ValueError):
    """A calibration that cannot be used; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class TaskCalibration:
    """What one scope and task were fitted to.

    Attributes
    ----------
    temperature
        By which the log-odds are divided (Guo et al., ICML 2017); 1 where too few patients were there.
    threshold
        Calibrated probability from which the answer reads positive; 0.5 where too few patients were there.
    negative_quantile, positive_quantile
        The largest nonconformity score, 1 - probability of that answer, with which the answer stays in the set; None: too few to say.
    patients, negatives, positives
        Behind these numbers; a patient with two tumours of different answers counts as both.
    """

    temperature: float = 1.0
    threshold: float = 0.5
    negative_quantile: float | None = None
    positive_quantile: float | None = None
    patients: int = 0
    negatives: int = 0
    positives: int = 0

    def __post_init__(self) -> None:
        if not COLDEST <= self.temperature <= HOTTEST:
            raise CalibrationError(f"A temperature of the calibration does not lie between {COLDEST:g} and {HOTTEST:g}.")
        if not 0 <= self.threshold <= 1:
            raise CalibrationError("A threshold of the calibration does not lie between 0 and 1.")
        quantiles = (self.negative_quantile, self.positive_quantile)
        if (quantiles[0] is None) != (quantiles[1] is None) or not all(value is None or 0 <= value <= 1 for value in quantiles):
            raise CalibrationError("The conformal quantiles of the calibration must both lie between 0 and 1, or both be absent.")
        counts = (self.patients, self.negatives, self.positives)
        if min(counts) < 0 or not max(counts[1:]) <= self.patients <= self.negatives + self.positives:
            raise CalibrationError("The patient counts of the calibration do not fit each other.")
        if not self.fitted and (self.temperature, self.threshold) != (1.0, 0.5):
            raise CalibrationError("The calibration was fitted on too few patients to be used.")
        if quantiles[0] is not None and not (self.fitted and self.patients >= FEWEST_PATIENTS):
            raise CalibrationError("The conformal sets of the calibration rest on too few patients to be used.")

    @property
    def fitted(self) -> bool:
        """Whether there were enough patients of each answer to fit a temperature and a threshold."""
        return min(self.negatives, self.positives) >= FEWEST_OF_EACH


@dataclass(frozen=True, slots=True)
class ScopeCalibration:
    """The three tasks with the same modalities present."""

    lymph_node_metastasis: TaskCalibration = TaskCalibration()
    high_grade: TaskCalibration = TaskCalibration()
    high_ki67: TaskCalibration = TaskCalibration()

    def task(self, name: Task) -> TaskCalibration:
        """Return that task's numbers."""
        found: TaskCalibration = getattr(self, name)
        return found


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the log-odds of one network mean.

    Attributes
    ----------
    coverage
        Share of the patients of each answer whose set is to hold the true answer.
    both, mri, us
        With both modalities, MRI alone, ultrasound alone.
    """

    coverage: float = 0.9
    both: ScopeCalibration = ScopeCalibration()
    mri: ScopeCalibration = ScopeCalibration()
    us: ScopeCalibration = ScopeCalibration()

    def __post_init__(self) -> None:
        if not 0.5 <= self.coverage < 1:
            raise CalibrationError("The coverage of the calibration's conformal sets must lie between 0.5 and 1.")

    def of(self, scope: Scope, task: Task) -> TaskCalibration:
        """Return the numbers of one scope and task."""
        chosen: ScopeCalibration = getattr(self, scope)
        return chosen.task(task)

    def probability(self, scope: Scope, task: Task, log_odds: float) -> float:
        """Return the calibrated probability of the positive answer, 0 to 1."""
        return float(probabilities(np.float64(log_odds), self.of(scope, task).temperature))

    def threshold(self, scope: Scope, task: Task) -> float:
        """Return the calibrated probability from which the answer reads positive."""
        return self.of(scope, task).threshold

    def prediction_set(self, scope: Scope, task: Task, log_odds: float) -> tuple[Answer, ...] | None:
        """Return the answers that remain possible at the coverage, or None: too few patients to say.

        Both remain where the network cannot tell. None remains, (), where such log-odds are unusual for either answer, which a network
        that tells nearly all patients apart says of the few between: the set is left empty, for only so the coverage is what it says.
        """
        numbers = self.of(scope, task)
        if numbers.negative_quantile is None or numbers.positive_quantile is None:
            return None
        p = self.probability(scope, task, log_odds)
        remains: list[Answer] = []
        if p <= numbers.negative_quantile:
            remains.append("negative")
        if 1 - p <= numbers.positive_quantile:
            remains.append("positive")
        return tuple(remains)

    def decision(self, scope: Scope, task: Task, log_odds: float) -> Literal["negative", "positive", "not determined"]:
        """Return the only answer of the set; "not determined" where both or none remain. Without sets the threshold decides."""
        remains = self.prediction_set(scope, task, log_odds)
        if remains is None:
            return "positive" if self.probability(scope, task, log_odds) >= self.threshold(scope, task) else "negative"
        return remains[0] if len(remains) == 1 else "not determined"

    def to_json(self) -> str:
        """Return the calibration as JSON text."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Return the calibration of `to_json`.

        Raises
        ------
        CalibrationError
            If an entry is missing, unknown, of the wrong kind or out of range.
        """
        try:
            return from_json(cls, text, "calibration", LONGEST_JSON)
        except CalibrationError:
            raise
        except StrictJsonError as error:
            raise CalibrationError(str(error)) from error
        except (OverflowError, ValueError) as error:  # a whole number of hundreds of digits
            raise CalibrationError("The calibration holds a number of no sensible size.") from error


def probabilities(log_odds: NDArray[np.float64] | np.float64, temperature: float) -> NDArray[np.float64]:
    """Return sigmoid(log-odds / temperature), without overflow at either end.

    Raises
    ------
    CalibrationError
        If a log-odds value is no number.
    """
    scaled = np.asarray(log_odds, dtype=np.float64) / temperature
    if np.isnan(scaled).any():
        raise CalibrationError("The model produced no valid result: its log-odds are no number.")
    ratio = np.exp(-np.abs(scaled))
    result: NDArray[np.float64] = np.where(scaled >= 0, 1.0, ratio) / (1.0 + ratio)
    return result


def log_odds_of(probability: float) -> float:
    """Return ln(p / (1 - p)). Raises ValueError unless 0 < p < 1."""
    if not 0 < probability < 1:
        raise ValueError("Log-odds belong to probabilities between 0 and 1, both excluded.")
    return math.log(probability / (1 - probability))


if tuple(field.name for field in fields(ScopeCalibration)) != TASKS:  # pragma: no cover - the two lists are written by hand
    raise ImportError("ScopeCalibration does not name the tasks.")

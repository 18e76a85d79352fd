"""Which answers follow from a tumour's latents: the clinic and the scenarios S1 to S8 of method section (vii).

Labels are drawn as y = Bernoulli(sigmoid(b + sum of terms)), so the best answer that anyone could give is known.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from breastai_model.case import TASKS, Labels, Task
from breastai_model.phantom.appearance import APPEARANCE
from breastai_model.phantom.latents import LABELS_STREAM, LATENT_NAMES, SCOPES, VISIBLE, Scope, stream
from breastai_model.plan import Scenario

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.phantom.latents import Latents

Shape = Literal["linear", "tanh", "sign"]
Drawn = Literal["", "order", "fold", "asymmetry"]
TANH_STEEPNESS = 1.5
CERTAIN = 40.0
"""Log-odds of a label that follows without chance."""


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of the log-odds: weight times the product of the latents, each as it is, as tanh(1.5 x) or as its sign."""

    weight: float
    latents: tuple[str, ...]
    shape: Shape = "linear"

    def of(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the summand for latents (..., latent) in the order of `LATENT_NAMES`."""
        product = np.full(values.shape[:-1], self.weight)
        for name in self.latents:
            value = values[..., LATENT_NAMES.index(name)]
            if self.shape == "tanh":
                value = np.tanh(TANH_STEEPNESS * value)
            elif self.shape == "sign":
                value = np.where(value > 0, 1.0, -1.0)
            product = product * value
        return product


@dataclass(frozen=True, slots=True)
class TaskLaw:
    """How one answer is drawn: its terms and the share of positives."""

    terms: tuple[Term, ...]
    prevalence: float = 0.5

    def log_odds(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log-odds of the positive answer for latents (..., latent)."""
        total = np.full(values.shape[:-1], intercept(self))
        for term in self.terms:
            total = total + term.of(values)
        return total

    def probability(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the chance of the positive answer for latents (..., latent)."""
        return np.asarray(1.0 / (1.0 + np.exp(-self.log_odds(values))))


@dataclass(frozen=True, slots=True)
class ScenarioLaw:
    """One scenario.

    Attributes
    ----------
    source
        Where the labels come from, in words.
    tasks
        The law of each answer, in the order of `TASKS`.
    drawn
        The extra latent that shows in this scenario's images; in all others the images are those of the clinic.
    """

    source: str
    tasks: tuple[TaskLaw, TaskLaw, TaskLaw]
    drawn: Drawn = ""

    def task(self, name: Task) -> TaskLaw:
        """Return the law of that answer."""
        return self.tasks[TASKS.index(name)]


@cache
def intercept(law: TaskLaw) -> float:
    """Return b so that sigmoid(b + sum of terms) has the law's prevalence as its mean over all patients.

    Linear terms have a normal sum: its mean under the sigmoid is a Gauss-Hermite sum, and b is found by halving. All other
    terms are odd in each latent, so that b is 0; they are allowed at a prevalence of one half alone.

    Raises
    ------
    ValueError
        If a law with other than linear terms asks for another prevalence than 0.5.
    """
    if any(term.shape != "linear" or len(term.latents) != 1 for term in law.terms):
        if law.prevalence != 0.5:
            raise ValueError("A law with products or signs of latents has a prevalence of one half.")
        return 0.0
    spread = float(np.sqrt(sum(term.weight**2 for term in law.terms)))
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        mean = float((weights / (1.0 + np.exp(-(middle + spread * nodes)))).sum() / weights.sum())
        low, high = (middle, high) if mean < law.prevalence else (low, middle)
    return (low + high) / 2


def _linear(prevalence: float = 0.5, **weights: float) -> TaskLaw:
    return TaskLaw(tuple(Term(weight, (name,)) for name, weight in weights.items()), prevalence)


def _thrice(law: TaskLaw) -> tuple[TaskLaw, TaskLaw, TaskLaw]:
    return law, law, law


PREVALENCE: dict[Task, float] = {"lymph_node_metastasis": 199 / 502, "high_grade": 202 / 502, "high_ki67": 230 / 502}
"""Share of positives: 199 of 502, 202 of 502 and 230 of 502 (the paper's table 1; its 200 low grades read as 300)."""

SCENARIOS: dict[Scenario, ScenarioLaw] = {
    "clinic": ScenarioLaw(
        "Shared, MRI-private and ultrasound-private latents together, at the prevalences of Table 1.",
        (
            _linear(PREVALENCE["lymph_node_metastasis"], size=1.7, margin=1.0, slope=1.7, shadow=1.7),
            _linear(PREVALENCE["high_grade"], size=1.0, lobulation=1.0, margin=1.3, wash_out=1.8, echo=-1.8),
            _linear(PREVALENCE["high_ki67"], size=1.7, lobulation=1.0, rim=1.8, anisotropy=1.8),
        ),
    ),
    "S1": ScenarioLaw(
        "Shared latents only: size; size and margin; size and lobulation.",
        (_linear(size=3.0), _linear(size=2.2, margin=2.2), _linear(size=2.2, lobulation=2.2)),
    ),
    "S2": ScenarioLaw(
        "MRI-private latents only: slope; wash-out; rim.",
        (_linear(slope=3.0), _linear(wash_out=3.0), _linear(rim=3.0)),
    ),
    "S3": ScenarioLaw(
        "Ultrasound-private latents only: shadow; echo level; anisotropy.",
        (_linear(shadow=3.0), _linear(echo=-3.0), _linear(anisotropy=3.0)),
    ),
    "S4": ScenarioLaw(
        "An MRI-private latent xor an ultrasound-private one: slope and shadow; wash-out and echo level; rim and anisotropy.",
        (
            TaskLaw((Term(-5.0, ("slope", "shadow"), "tanh"),)),
            TaskLaw((Term(5.0, ("wash_out", "echo"), "tanh"),)),
            TaskLaw((Term(-5.0, ("rim", "anisotropy"), "tanh"),)),
        ),
    ),
    "S5": ScenarioLaw(
        "Nothing that may be seen: the MRI scanner's gain, which preparation removes; two tosses of a coin.",
        (_linear(gain=3.0), _linear(PREVALENCE["high_grade"]), _linear()),
    ),
    "S6": ScenarioLaw(
        "The order of the lesion's values after contrast: rising in class 0, the same values falling in class 1. All three labels are one.",
        _thrice(TaskLaw((Term(CERTAIN, ("order",), "sign"),))),
        "order",
    ),
    "S7": ScenarioLaw(
        "How the lesion's width changes with the angle: one crest over the sweep in class 1, three in class 0; three draws of one law.",
        _thrice(_linear(fold=4.0)),
        "fold",
    ),
    "S8": ScenarioLaw(
        "How much more the healthy breast's gland enhances than the affected one's; three draws of one law.",
        _thrice(_linear(asymmetry=4.0)),
        "asymmetry",
    ),
}
if set(SCENARIOS) != set(get_args(Scenario)):
    raise AssertionError("The scenarios of the plan and those of the phantoms differ.")


def draw_labels(seed: int, latents: Latents, scenario: Scenario = "clinic") -> Labels:
    """Return the labels of the phantom of that seed, drawn by the scenario's law."""
    chances = stream(seed, LABELS_STREAM).random(len(TASKS))
    values = latents.values
    answers = [bool(chance < law.probability(values)) for chance, law in zip(chances, SCENARIOS[scenario].tasks, strict=True)]
    return Labels(*answers)


def weighted_auc(scores: NDArray[np.float64], positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    """Return the AUC of scores (n,) where patient i counts `positive[i]` as a case and `negative[i]` as a control; ties half.

    With the chances p and 1 - p as weights this is the expected AUC over all draws of the labels, without their chance.
    """
    order = np.argsort(scores, kind="stable")
    _, start = np.unique(scores[order], return_index=True)
    cases, controls = (np.add.reduceat(weight[order], start) for weight in (positive, negative))
    below = np.cumsum(controls) - controls
    return float((cases * (below + 0.5 * controls)).sum() / (cases.sum() * controls.sum()))


@cache
def bayes_auc(scenario: Scenario, patients: int = 20_000, hidden: int = 64) -> dict[Task, dict[Scope, float]]:
    """Return the latent-oracle AUC of each answer for a reader of both modalities, of MRI alone and of ultrasound alone.

    Monte Carlo (method section vii): the oracle knows the latents that its modalities show and answers with the expected chance
    over all others; the others are drawn `hidden` times with both signs, the same for every patient, so that what says nothing
    gives exactly equal answers. An upper bound: the noise of the images is not counted.
    """
    rng = np.random.Generator(np.random.PCG64(20230523))
    values = rng.standard_normal((patients, len(LATENT_NAMES)))
    others = rng.standard_normal((hidden // 2, len(LATENT_NAMES)))
    others = np.concatenate([others, -others])
    answer: dict[Task, dict[Scope, float]] = {}
    for task, law in zip(TASKS, SCENARIOS[scenario].tasks, strict=True):
        chance = law.probability(values)
        answer[task] = {}
        for scope in SCOPES:
            seen = np.array([name in VISIBLE[scope] for name in LATENT_NAMES])
            expected = np.zeros(patients)
            for draw in others:
                expected += law.probability(np.where(seen, values, draw))
            # Rounding must not order what is equal.
            answer[task][scope] = weighted_auc(np.round(expected / len(others), 12), chance, 1.0 - chance)
    return answer


_RENDERING = ("anatomy", "beam", "dce", "kinetics", "layers", "lesion", "patient", "texture", "tissues", "ultrasound", "vessels")
"""The modules of `breastai_model.phantom` whose constants say what an image looks like."""


def law_json() -> str:
    """Return all effect sizes, noise constants and prevalences as canonical JSON: sorted names, no blanks.

    Beside the laws and `APPEARANCE` these are the named constants of the modules that draw the images; numbers inside their functions are
    not among them; a test holds the pictures themselves.
    """
    everything = {
        "laws": {name: asdict(law) for name, law in SCENARIOS.items()},
        "tanh": TANH_STEEPNESS,
        "appearance": asdict(APPEARANCE),
        "constants": {name: _constants(name) for name in _RENDERING},
    }
    return json.dumps(everything, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _constants(module: str) -> dict[str, Any]:
    """Return the constants of a module of this package: upper-case names of numbers, texts, and tuples, mappings or records of these."""
    found = vars(importlib.import_module(f"breastai_model.phantom.{module}"))
    own = [name for name in found if name.isupper() and name not in ("TYPE_CHECKING", "APPEARANCE", "SCENARIOS")]
    plain = {name: _plain(found[name]) for name in own}
    return {name: value for name, value in plain.items() if value is not None}


def _plain(value: Any) -> Any:
    """Return what JSON holds of a constant, None where it is none."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value if isinstance(value, int | float | str) else None


def law_hash() -> str:
    """Return the SHA-256 of `law_json`: two cohorts of one hash were made by one law."""
    return hashlib.sha256(law_json().encode()).hexdigest()

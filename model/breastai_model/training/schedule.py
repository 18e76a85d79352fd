"""How far a run is, at which rate it learns now, and when it has learnt enough."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from breastai_model.training.objective import warm_up

if TYPE_CHECKING:
    from collections.abc import Mapping

    from breastai_model.plan import Plan

WARM_UP_SHARE = 0.03
"""Of all steps of a cosine schedule: how long the learning rate rises."""


@dataclass(slots=True)
class Position:
    """How far the run is: what a checkpoint keeps beside the tensors.

    `epoch` counts finished epochs and `batch` the finished batches of the next one; `sums` and `count` are the losses and the
    cases of that epoch so far. Seconds are wall time: `waited` for cases, `computed` in forward, backward and optimiser.

    Attributes
    ----------
    best_epoch, best_value
        Which epoch was the best in what the plan watches; 0 and infinity before the first.
    flat, since_best
        Encoder epochs since the last improvement or halving of the rate, and since the last improvement.
    halvings
        Of the learning rate (schedule "plateau").
    bad_batches
        In a row.
    micro_batch
        Cases that pass the network at once; 0: the whole batch.
    """

    epoch: int = 0
    batch: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    computed: float = 0.0
    all_seconds: float = 0.0
    all_waited: float = 0.0
    all_computed: float = 0.0
    best_epoch: int = 0
    best_value: float = math.inf
    flat: int = 0
    since_best: int = 0
    halvings: int = 0
    bad_batches: int = 0
    micro_batch: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the position as what `json.dumps` takes without infinities."""
        return {**asdict(self), "best_value": self.best_value if math.isfinite(self.best_value) else None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Position:
        """Return the position of `to_json`. Raises ValueError where an entry is missing or unknown."""
        if set(values) != {each.name for each in fields(cls)}:
            raise ValueError("The checkpoint was made by another version of the program.")
        return cls(**{**values, "best_value": math.inf if values["best_value"] is None else values["best_value"]})

    def add(self, parts: Mapping[str, float], cases: int) -> None:
        """Count one batch's losses."""
        for name, value in parts.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * cases
        self.count += cases

    def means(self) -> dict[str, float]:
        """Return the losses of the epoch so far, a mean over its cases."""
        return {name: value / self.count for name, value in self.sums.items()} if self.count else {}

    def end_epoch(self) -> None:
        """Begin the next epoch."""
        self.all_seconds, self.all_waited = self.all_seconds + self.seconds, self.all_waited + self.waited
        self.all_computed += self.computed
        self.epoch, self.batch, self.sums, self.count = self.epoch + 1, 0, {}, 0
        self.seconds = self.waited = self.computed = 0.0


def teaches_encoders(plan: Plan, epoch: int) -> bool:
    """Return whether the encoders learn in that epoch, counted from 0.

    With `alternate: epoch` even epochs belong to f and odd ones to g ("in different epochs"); else every epoch is one of f.
    """
    return plan.losses.alternate == "step" or plan.losses.adversary == "none" or epoch % 2 == 0


def encoder_epochs(plan: Plan, epochs: int) -> int:
    """Return how many of the first `epochs` epochs teach the encoders."""
    return sum(teaches_encoders(plan, epoch) for epoch in range(epochs))


def ramp(plan: Plan, position: Position, batches: int) -> float:
    """Return how much of lambda1 and lambda2 stands now, by encoder epochs."""
    return warm_up(encoder_epochs(plan, position.epoch) + position.batch / batches, plan.losses.warm_up_epochs)


def learning_rate(plan: Plan, position: Position, batches: int) -> float:
    """Return the rate of both optimisers in this step.

    "cosine": a short rise, then half a cosine down to zero. "plateau": the plan's rate, halved as often as `after_epoch` said.
    """
    if plan.schedule == "plateau":
        return float(plan.learning_rate * 0.5**position.halvings)
    step, steps = position.epoch * batches + position.batch, plan.epochs * batches
    return cosine_rate(plan.learning_rate, step, steps)


def cosine_rate(rate: float, step: int, steps: int) -> float:
    """Return the rate of a step, from 0: a short rise, then half a cosine down to zero."""
    fall = 0.5 * (1 + math.cos(math.pi * step / steps))
    return rate * fall * min(1.0, (step + 1) / (WARM_UP_SHARE * steps))


def after_epoch(plan: Plan, position: Position, value: float | None) -> bool:
    """Note what an encoder epoch reached in what the plan watches; return whether it is the best so far.

    None, where nothing could be measured, counts as an improvement: the last network is then the best that is known.
    """
    best = position.best_epoch == 0 or value is None or value < position.best_value
    if best:
        position.best_epoch, position.best_value = position.epoch + 1, math.inf if value is None else value
        position.flat = position.since_best = 0
    else:
        position.flat, position.since_best = position.flat + 1, position.since_best + 1
    if plan.schedule == "plateau" and position.flat >= plan.plateau_epochs:
        position.halvings, position.flat = position.halvings + 1, 0
    return best


def has_learnt_enough(plan: Plan, position: Position) -> bool:
    """Return whether the run stops before its last epoch."""
    return plan.stop_epochs > 0 and position.since_best >= plan.stop_epochs

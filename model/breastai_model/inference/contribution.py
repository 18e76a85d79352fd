"""What each input adds to the answer: Shapley values over the modalities, Owen values over phases and angles inside them.

Every present view is encoded once; what is left out is masked, as an absent phase, angle or modality is, and only the fusion
and the heads are computed again, many subsets in one batch.

Sources: Shapley, "A value for n-person games", 1953; Owen, "Values of games with a priori unions", 1977; sampled orders come as
a Latin square and its reverse, so that every player stands once at every place (Mitchell et al., "Sampling permutations for
Shapley value estimation", JMLR 2022, on reversed pairs).
"""

from __future__ import annotations

import copy
import itertools
import math
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from breastai_model.case import TASKS, Contributions
from breastai_model.prepare import Batch, collate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from breastai_model.network.net import BreastNet
    from breastai_model.prepare import Prepared

    Subset = tuple[frozenset[int], frozenset[int]]
    """Slots of the phases and of the angles that are shown."""

MOST_EXACT = 5
"""Players up to which every subset is computed: 32 of five phases."""
ROWS = 64


class Replay(nn.Module):
    """Stands in for a modality's streams: returns what they once said of a view, which is named by the number that it holds."""

    def __init__(self, agnostic: torch.Tensor, specific: torch.Tensor) -> None:
        super().__init__()
        self._agnostic, self._specific = agnostic, specific

    def forward(self, views: torch.Tensor, _tap: object = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tokens and specific features of the views (M, channel, *space), whose first number is their place."""
        place = views.flatten(1)[:, 0].long()
        return self._agnostic[place], self._specific[place]


class Subsets:
    """The network's log-odds of one patient with some of the inputs left out.

    Parameters
    ----------
    net
        In eval mode.
    prepared
        The patient.
    """

    def __init__(self, net: BreastNet, prepared: Prepared) -> None:
        batch = collate([prepared]).to(next(net.parameters()).device)
        kept: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        handles = [
            streams.register_forward_hook(lambda _module, _inputs, output, name=name: kept.__setitem__(name, output))
            for name, streams in (("mri", net.mri), ("us", net.us))
        ]
        try:
            with torch.inference_mode():
                net(batch)
        finally:
            for handle in handles:
                handle.remove()
        self._mri, self._us = batch.mri_present, batch.us_present
        self._stacked = net.recipe.layout == "channels"
        self._net = copy.copy(net)
        self._net._modules = dict(net._modules)
        for name, (agnostic, specific) in kept.items():
            setattr(self._net, name, Replay(agnostic, specific))
        self._known: dict[Subset, NDArray[np.float64]] = {}

    def read(self, subsets: Iterable[Subset], tell: Callable[[float], None] | None = None) -> None:
        """Compute the log-odds of those subsets that are not known yet."""
        wanted = list(dict.fromkeys(subset for subset in subsets if subset not in self._known))
        for first in range(0, len(wanted), ROWS):
            rows = wanted[first : first + ROWS]
            mri, us = self._mri.repeat(len(rows), 1, 1), self._us.repeat(len(rows), 1)
            for row, (phases, angles) in enumerate(rows):
                mri[row, [slot for slot in range(mri.shape[1]) if slot not in phases]] = False
                us[row, [slot for slot in range(us.shape[1]) if slot not in angles]] = False
            batch = Batch(self._places(self._mri, len(rows), 3), mri, self._places(self._us, len(rows), 2), us)
            with torch.inference_mode():
                logits = self._net(batch).logits.double().cpu()
            odds = (logits[:, :, 1] - logits[:, :, 0]).numpy()
            self._known.update(zip(rows, odds, strict=True))
            if tell is not None:
                tell(min(1.0, (first + ROWS) / len(wanted)))

    def _places(self, present: torch.Tensor, rows: int, space: int) -> torch.Tensor:
        """Return pictures of one pixel that hold the place of each view among those that were encoded."""
        if self._stacked:  # all phases or angles of a side entered as one view
            place = (present[0].any(dim=0, keepdim=True).cumsum(-1) - 1).expand(present.shape[1:])
        else:
            place = (present[0].flatten().cumsum(0) - 1).reshape(present.shape[1:])
        shape = (1, *present.shape[1:], *(1,) * space)
        return place.clamp(min=0).float().reshape(shape).expand(rows, *shape[1:])

    def __call__(self, phases: Iterable[int], angles: Iterable[int]) -> NDArray[np.float64]:
        """Return the log-odds (task,) of a subset."""
        subset = (frozenset(phases), frozenset(angles))
        self.read([subset])
        return self._known[subset]


def contributions(
    net: BreastNet, prepared: Prepared, base: NDArray[np.float64], tell: Callable[[float], None] | None = None
) -> Contributions:
    """Return what each modality, phase and angle adds to the log-odds.

    A modality's number is its Shapley value between `base` and the answer, from the four subsets of the two modalities. A
    phase's or an angle's is its Owen value: its mean gain over the orders in which its modality joins as a whole, first or
    second. With up to five players all orders count; else they are sampled from a fixed seed. A phase left out is masked.
    With `Recipe.subtraction` the phase before contrast that is left out is still what the others are compared with: its number is what
    its own picture adds, and what the differences add is counted to the phases after contrast. An exam without it is another matter.

    Parameters
    ----------
    net
        In eval mode.
    prepared
        The patient.
    base
        (task,) log-odds before any input is known.
    tell
        Called with 0 to 1 as the work goes on.
    """
    start = time.perf_counter()
    subsets = Subsets(net, prepared)
    phases, angles = (
        tuple(int(slot) for slot in np.flatnonzero(present)) for present in (prepared.mri_present.any(axis=1), prepared.us_present)
    )
    apart = net.recipe.layout == "sequence"
    players = (phases, angles)
    orders = [_orders(mine) if apart else [mine] for mine in players]
    shown = [
        _subset(part, modality, rest)
        for modality in (0, 1)
        for order in orders[modality]
        for part in (order[:count] for count in range(len(order) + 1))
        for rest in ((), players[1 - modality])
        if part or rest
    ]
    subsets.read(shown, tell)

    def value(subset: Subset) -> NDArray[np.float64]:
        return subsets(*subset) if subset[0] or subset[1] else base

    found: list[dict[int, NDArray[np.float64]]] = []
    whole: list[tuple[float, ...] | None] = []
    error = 0.0
    for modality in (0, 1):
        rests = [(), players[1 - modality]] if players[1 - modality] else [()]
        per_order = []
        for order in orders[modality]:
            gain = {}
            for count, player in enumerate(order):
                before, after = (order[:count], order[: count + 1]) if apart else ((), order)
                gains = [value(_subset(after, modality, rest)) - value(_subset(before, modality, rest)) for rest in rests]
                gain[player] = np.mean(gains, axis=0)
            per_order.append(gain)
        mean = {player: np.mean([gain[player] for gain in per_order], axis=0) for player in players[modality]}
        if len(players[modality]) > MOST_EXACT and apart:
            pairs = [[(first[player] + second[player]) / 2 for player in players[modality]] for first, second in _paired(per_order)]
            error = max(error, float(np.std(pairs, axis=0, ddof=1).max()) / math.sqrt(len(pairs)))
        total = sum(mean.values()) if apart else next(iter(mean.values()), None)
        whole.append(tuple(float(number) for number in np.asarray(total)) if players[modality] else None)
        found.append(mean if apart else {})
    return Contributions(
        base=tuple(float(number) for number in base),
        mri=whole[0],
        ultrasound=whole[1],
        phases=_named(found[0], phases, prepared.inputs.phases),
        angles=_named(found[1], angles, prepared.inputs.angles),
        angle_error=error,
        seconds=time.perf_counter() - start,
    )


def _subset(mine: Sequence[int], modality: int, rest: Sequence[int]) -> Subset:
    return (frozenset(mine), frozenset(rest)) if modality == 0 else (frozenset(rest), frozenset(mine))


def _orders(players: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return all orders of a few players, else the cyclic shifts of a drawn one, each followed by its reverse.

    Whoever comes first are neighbours in the drawn circle either way, so n players need n (n - 1) subsets for 2 n orders.
    """
    if len(players) <= MOST_EXACT:
        return list(itertools.permutations(players))
    drawn = tuple(int(player) for player in np.random.default_rng(0).permutation(players))
    shifts = [drawn[first:] + drawn[:first] for first in range(len(drawn))]
    return [order for each in shifts for order in (each, each[::-1])]


def _paired(orders: list[dict[int, NDArray[np.float64]]]) -> list[tuple[dict[int, NDArray[np.float64]], dict[int, NDArray[np.float64]]]]:
    return list(zip(orders[::2], orders[1::2], strict=True))


def _named(
    values: dict[int, NDArray[np.float64]], slots: tuple[int, ...], names: tuple[int, ...]
) -> tuple[tuple[int, tuple[float, ...]], ...]:
    """Return pairs of an index into the case and numbers, from numbers by slot; `names` are the indices in order of slot."""
    return tuple((name, tuple(float(number) for number in values[slot])) for slot, name in zip(slots, names, strict=True) if slot in values)


def scaled(found: Contributions, factors: Sequence[float]) -> Contributions:
    """Return the numbers of each task times a factor: log-odds divided by a temperature."""

    def each(numbers: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(number * factor for number, factor in zip(numbers, factors, strict=True))

    return Contributions(
        base=each(found.base),
        mri=None if found.mri is None else each(found.mri),
        ultrasound=None if found.ultrasound is None else each(found.ultrasound),
        phases=tuple((name, each(numbers)) for name, numbers in found.phases),
        angles=tuple((name, each(numbers)) for name, numbers in found.angles),
        angle_error=found.angle_error * max(factors),
        seconds=found.seconds,
    )


def mean_of(first: Contributions, second: Contributions) -> Contributions:
    """Return the mean of two, as for the two orders of the breasts where the side is unknown."""

    def mean(one: Sequence[float], other: Sequence[float]) -> tuple[float, ...]:
        return tuple((a + b) / 2 for a, b in zip(one, other, strict=True))

    pairs = [
        tuple((name, mean(one, other)) for (name, one), (_, other) in zip(ours, theirs, strict=True))
        for ours, theirs in ((first.phases, second.phases), (first.angles, second.angles))
    ]
    return Contributions(
        base=mean(first.base, second.base),
        mri=None if first.mri is None or second.mri is None else mean(first.mri, second.mri),
        ultrasound=None if first.ultrasound is None or second.ultrasound is None else mean(first.ultrasound, second.ultrasound),
        phases=pairs[0],
        angles=pairs[1],
        angle_error=max(first.angle_error, second.angle_error),
        seconds=first.seconds + second.seconds,
    )


def even_odds() -> NDArray[np.float64]:
    """Return the base where the weights do not say what their mean answer is: a probability of one half."""
    return np.zeros(len(TASKS))

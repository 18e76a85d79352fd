"""What a comparator is: it learns from some prepared cases, chooses on others, and answers three tasks for any."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from breastai_model.recipe import Recipe
    from breastai_model.training.dataset import CaseFiles
    from breastai_model.training.features import Absent

HEADING = "our re-implementations from published descriptions, not the published systems."
"""Stands above every table of comparators."""

"""Which modality is taken away from every case: none, MRI or ultrasound."""


class PieceOver(Exception):
    """The budget's deadline has passed; what was learnt so far lies in the system's folder and the next call goes on from it."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What each system may spend; the same for all of one comparison.

    Attributes
    ----------
    recipe
        How the cases were prepared; systems built from our network also take its widths.
    epochs
        How often a network passes the learning cases. Systems without epochs (forests of support vectors, regressions) ignore it.
    batch_size
        Cases per step.
    seed
        Everything random in the system follows from it.
    learning_rate
        Of Adam, at its highest.
    device
        "cpu", "cuda" or "mps", for systems that are trained with torch.
    deadline
        `time.monotonic()` after which a system that can go on later saves itself and raises `PieceOver`; others run to their end.
    """

    recipe: Recipe
    epochs: int
    batch_size: int
    seed: int
    learning_rate: float
    device: str = "cpu"
    deadline: float = field(default=math.inf, compare=False)

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not 0 < self.learning_rate < 1 or not 0 <= self.seed < 2**31:
            raise ValueError("A budget needs at least one epoch, one case a step, a learning rate between 0 and 1 and a seed below 2**31.")


class Fitted(Protocol):
    """A system that has learnt."""

    @property
    def seconds(self) -> float:
        """How long it learnt, wall clock."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What this training had to do otherwise than the table says, a sentence each."""
        ...

    def probabilities(self, cases: CaseFiles, indices: NDArray[np.int64], absent: Absent = "") -> NDArray[np.float64]:
        """Return the probability of the positive answer, (len(indices), task) float64, tasks in the order of `TASKS`.

        Parameters
        ----------
        cases, indices
            Any prepared cases, learnt from or not; labels are not read. Cases of another cohort are welcome.
        absent
            The modality to take away. Whatever the case holds of it must not matter. A case that is left with nothing is answered
            with the prevalence among the cases learnt from.
        """
        ...


class System(Protocol):
    """A comparator before it has learnt."""

    @property
    def name(self) -> str:
        """Short, as in ``--systems``."""
        ...

    @property
    def title(self) -> str:
        """What stands in the table's first column."""
        ...

    @property
    def source(self) -> str:
        """The publication, and what we changed, in a sentence or two."""
        ...

    def fit(
        self,
        cases: CaseFiles,
        learning: NDArray[np.int64],
        held_out: NDArray[np.int64],
        budget: Budget,
        folder: Path,
        tell: Callable[[str], None],
    ) -> Fitted:
        """Learn.

        Parameters
        ----------
        cases
            The comparison's training side; every other index is never touched.
        learning
            (n,) indices to learn from. A label of -1 is not known: such a cell adds nothing.
        held_out
            (m,) indices on which to choose (best epoch, settings); no part of the table's figures comes from them but thresholds.
        budget
            The same for every system.
        folder
            Its own; empty, or what an earlier, cut-off call left there.
        tell
            Takes one sentence for the person now and then.

        Raises
        ------
        PieceOver
            See `Budget.deadline`.
        """
        ...

"""What the comparators of single pictures share: a scorer for each modality, and the patient's mean over all pictures."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

import numpy as np

from breastai_model.baselines.absence import prevalence, shown
from breastai_model.baselines.fit_network import one_thread
from breastai_model.baselines.images import MODALITIES, PictureSet, modality_pictures, picture_set, sizes
from breastai_model.baselines.picture_network import PictureNetwork, fit_pictures
from breastai_model.case import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from breastai_model.baselines.images import Modality, Sizes
    from breastai_model.baselines.system import Budget
    from breastai_model.recipe import Recipe
    from breastai_model.training.dataset import CaseFiles
    from breastai_model.training.features import Absent

Network = TypeVar("Network", bound=PictureNetwork)
Net = TypeVar("Net", bound="nn.Module")


@dataclass(frozen=True, eq=False, slots=True)
class Scores:
    """What a scorer says of the pictures, or of the patches of the pictures, of one case.

    Attributes
    ----------
    probabilities
        (piece, task) float64.
    kept
        (piece, task) bool: which pieces count for which task.
    """

    probabilities: NDArray[np.float64]
    kept: NDArray[np.bool_]


class Scorer(Protocol):
    """What has been learnt of one modality."""

    def scores(self, pictures: NDArray[np.float32]) -> Scores:
        """Return the scores of the pictures (picture, side, side), at least one, of one case."""
        ...


@dataclass(eq=False, slots=True)
class Lesson:
    """All that one modality of one comparator learns from, and how a network is taught on it.

    Attributes
    ----------
    modality, sizes, budget
        What is learnt, how large, and what may be spent.
    learning
        The pictures to learn from. Everything that is fitted sees these alone.
    held_out
        The pictures on which settings may be chosen.
    cases, rows
        Where both come from: the cases, and the indices to learn from and of those held out.
    folder, tell
        As in `System.fit`.
    notes
        Sentences for the person who reads the table.
    taught, teaching
        Seconds that networks learnt, counted over all pieces of a run that was cut off, and of those the ones in this piece.
    """

    modality: Modality
    sizes: Sizes
    budget: Budget
    learning: PictureSet
    held_out: PictureSet
    cases: CaseFiles
    rows: tuple[NDArray[np.int64], NDArray[np.int64]]
    folder: Path
    tell: Callable[[str], None]
    notes: list[str] = field(default_factory=list)
    taught: float = 0.0
    teaching: float = 0.0

    def draws(self, purpose: str) -> np.random.Generator:
        """Return random numbers that follow from seed, modality and purpose alone."""
        return np.random.default_rng([self.budget.seed, MODALITIES.index(self.modality), *purpose.encode()])

    def teach(self, name: str, make: Callable[[], Net]) -> Net:
        """Return a network of pictures, (picture, 1, side, side) to (picture, task), taught and in evaluation mode."""
        made = self.teach_network(name, lambda: PictureNetwork(make(), self.modality, self.budget.recipe, self.sizes.side))
        return cast("Net", made.net)

    def teach_network(self, name: str, make: Callable[[], Network]) -> Network:
        """Return a picture network with a loss of its own, taught and in evaluation mode."""
        started = time.monotonic()
        self.tell(f"{self.modality}: {name} learns.")
        fitted = fit_pictures(make, self.cases, *self.rows, self.budget, self.folder / f"{self.modality}-{name}", self.tell)
        self.taught += fitted.seconds
        self.teaching += time.monotonic() - started
        return cast("Network", fitted.net.eval())


@dataclass(frozen=True, eq=False, slots=True)
class FittedPictures:
    """A comparator of single pictures that has learnt; see `Fitted`.

    Attributes
    ----------
    scorers
        Of the modalities that the learning cases had.
    unseen
        (task,): the answer to a case of which nothing can be read, the prevalence.
    notes
        What was done that the table's reader should know: sizes, origin of weights, what was kept.
    """

    scorers: Mapping[Modality, Scorer]
    recipe: Recipe
    side: int
    unseen: NDArray[np.float64]
    seconds: float
    notes: tuple[str, ...]

    def probabilities(self, cases: CaseFiles, indices: NDArray[np.int64], absent: Absent = "") -> NDArray[np.float64]:
        """Return (n, task): the mean over the pieces that count; over all, where none does; see `Fitted.probabilities`."""
        answers = np.tile(self.unseen, (len(indices), 1))
        with one_thread():
            for row, index in enumerate(indices):
                case = shown(cases.load(int(index)), absent)
                found = []
                for modality, scorer in self.scorers.items():
                    pictures = modality_pictures(case, modality, self.recipe, self.side)
                    if len(pictures):
                        found.append(scorer.scores(pictures))
                if found:
                    probabilities = np.concatenate([scores.probabilities for scores in found])
                    answers[row] = mean_of_kept(probabilities, np.concatenate([scores.kept for scores in found]))
        return answers


def mean_of_kept(probabilities: NDArray[np.float64], kept: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return (task,): the mean over the kept pieces, or over all pieces for a task of which none was kept."""
    counted = np.where(kept.any(axis=0), kept, True)
    mean: NDArray[np.float64] = (probabilities * counted).sum(axis=0) / counted.sum(axis=0)
    return mean


@dataclass(frozen=True, slots=True)
class PictureSystem:
    """A comparator that learns one scorer for each modality; see `System`.

    Attributes
    ----------
    name, title
        See `System`.
    publication
        Where the method comes from.
    changes
        What we changed, or had to decide; a callable, for what stands in for ImageNet weights depends on the computer.
    learn
        Makes a scorer from a lesson.
    """

    name: str
    title: str
    publication: str
    changes: Callable[[], str]
    learn: Callable[[Lesson], Scorer]

    @property
    def source(self) -> str:
        """The publication, and what we changed."""
        return f"{self.publication} {self.changes()}"

    def fit(
        self,
        cases: CaseFiles,
        learning: NDArray[np.int64],
        held_out: NDArray[np.int64],
        budget: Budget,
        folder: Path,
        tell: Callable[[str], None],
    ) -> FittedPictures:
        """Learn one modality after the other; see `System.fit`."""
        started = time.monotonic()
        size = sizes(budget.recipe)
        scorers: dict[Modality, Scorer] = {}
        notes = [f"{size}."]
        taught = teaching = 0.0
        with one_thread():
            for modality in MODALITIES:
                shown_now, held = (picture_set(cases, rows, modality, budget.recipe, size.side) for rows in (learning, held_out))
                if len(shown_now.labels) < 2:
                    notes.append(f"Nothing to learn from in {modality}.")
                    continue
                lesson = Lesson(modality, size, budget, shown_now, held, cases, (learning, held_out), folder, tell)
                scorers[modality] = self.learn(lesson)
                notes += lesson.notes
                taught += lesson.taught
                teaching += lesson.teaching
        seconds = time.monotonic() - started - teaching + taught
        return FittedPictures(scorers, budget.recipe, size.side, prevalence(cases.labels[learning]), seconds, tuple(notes))


def all_kept(probabilities: NDArray[np.float64]) -> Scores:
    """Return scores of which every piece counts."""
    return Scores(probabilities, np.ones((len(probabilities), len(TASKS)), dtype=bool))

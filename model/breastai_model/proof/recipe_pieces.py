"""Both recipes, `faithful` and `stable`, trained to their end on the same phantoms, side by side: which one is the default.

Method, "Decided for this project". Labels and prevalences are the clinic's, the images those that S1 to S5 share.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from breastai_model.case import TASKS
from breastai_model.plan import plan_with
from breastai_model.proof import image_claims, probes
from breastai_model.proof.image_cases import of_scenario, read_cases
from breastai_model.proof.image_training import trained_net
from breastai_model.proof.intervals import auc_contrast
from breastai_model.proof.pieces import Piece
from breastai_model.proof.table import Row
from breastai_model.training.dataset import ordered_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from breastai_model.phantom.latents import Scope
    from breastai_model.plan import Plan
    from breastai_model.proof.image_cases import ImageCohort
    from breastai_model.proof.image_claims import Answers
    from breastai_model.proof.pieces import Bench

Losses = Literal["stable", "faithful"]
RULE = (
    "`faithful` becomes the default where its AUC is higher in one of the three answers and lower in none, the whole interval on that "
    "side; else `stable` stays"
)
"""Fixed before the first of these trainings."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One recipe at one learning rate.

    Attributes
    ----------
    name
        What its rows call it; its piece's name begins with "recipe-".
    losses
        The recipe; its schedule, augmentation and dropout are its own.
    learning_rate
        `faithful` has two: that of `stable`, and the paper's own, at which so few steps may not suffice.
    """

    name: str
    losses: Losses
    learning_rate: float

    @property
    def piece(self) -> str:
        """The name of its piece and of its run."""
        return f"recipe-{self.name}"


@dataclass(frozen=True, slots=True)
class Length:
    """How long a training may last.

    Attributes
    ----------
    epochs
        Of the encoders at most; `faithful` has the discriminators' on top.
    patience
        Epochs of the encoders without improvement in what the recipe watches, after which it ends.
    batch_size
        Cases a step.
    """

    epochs: int = 60
    patience: int = 20
    batch_size: int = 8

    def words(self) -> str:
        """Return it in words."""
        return (
            f"preset tiny on windows around the lesion, at most {self.epochs} epochs of the encoders, ended after {self.patience} without "
            f"improvement, batch {self.batch_size}, one seed"
        )


LENGTH = Length()
CANDIDATES = Candidate("stable", "stable", 1e-3), Candidate("faithful", "faithful", 1e-3), Candidate("faithful-slow", "faithful", 1e-4)


def recipe_pieces(learn: ImageCohort, test: ImageCohort, after: Sequence[str], length: Length = LENGTH) -> list[Piece]:
    """Return one piece for each training, and one that sets them side by side.

    Parameters
    ----------
    learn, test
        Phantoms with the clinic's images.
    after
        The pieces that write them.
    """
    cohorts = f"learnt from {learn.words()}; tested on {test.words()}; {length.words()}"
    pieces = []
    for each in CANDIDATES:
        title = f"Clinic labels, recipe {each.losses} to its end, learning rate {each.learning_rate:g}"
        order = "(left, right)" if each.losses == "faithful" else "(affected, other)"
        words = f"{cohorts}, learning rate {each.learning_rate:g}, breasts as {order}"
        pieces.append(Piece(each.piece, title, words, partial(_candidate, each, learn, test, length), tuple(after)))
    trained = tuple(piece.name for piece in pieces)
    together = f"{cohorts}, each with its own order of the breasts"
    return [*pieces, Piece("recipes", "Both recipes side by side", together, partial(_compared, learn, test, length), trained)]


def plan_of(candidate: Candidate, learn: ImageCohort, length: Length) -> Plan:
    """Return the plan of a candidate: the recipe's own, ending by itself, on these cases."""
    faithful = candidate.losses == "faithful"
    changes: dict[str, Any] = {
        "epochs": 2 * length.epochs - 1 if faithful else length.epochs,
        "batch_size": length.batch_size,
        "learning_rate": candidate.learning_rate,
        "stop_epochs": length.patience,
        "plateau_epochs": max(1, length.patience // 2),
        "validation_share": 0.1,
        "seed": 1,
        "device": "cpu",
    }
    return plan_with(f"proof {candidate.piece}", learn.recipe, candidate.losses, **changes)


def _answers(candidate: Candidate, learn: ImageCohort, test: ImageCohort, length: Length, bench: Bench) -> Answers:
    sources, plan = of_scenario("clinic"), plan_of(candidate, learn, length)
    net = trained_net(candidate.piece, plan, ordered_for(plan.recipe, read_cases(learn, bench, sources)), bench)
    return image_claims.read(net, ordered_for(plan.recipe, read_cases(test, bench, sources)))


def _candidate(candidate: Candidate, learn: ImageCohort, test: ImageCohort, length: Length, bench: Bench) -> list[Row]:
    """Return what one recipe reaches: its AUC with both modalities and with each, and whether its F^a tell the modality."""
    answers = _answers(candidate, learn, test, length, bench)
    # `faithful` never saw a patient with one modality alone.
    unjudged: tuple[Scope, ...] = ("mri", "us") if candidate.losses == "faithful" else ()
    rows = image_claims.law_rows(answers, of_scenario("clinic"), (0, 1, 2), candidate.name, unjudged)
    said = answers.said["both"]
    agnostic = said.agnostic_mri, said.agnostic_us
    note = f"{len(said.logits)} phantoms, split by patient, {probes.REPEATS} repeats"
    return [
        *rows,
        Row(f"{candidate.name} probe, MLP(64)", "fresh probe names the modality of F^a", None, probes.leakage(*agnostic, "mlp"), note),
        Row(
            f"{candidate.name} retrieval",
            "F^a_M finds its own patient's F^a_U first",
            None,
            probes.retrieval(*agnostic),
            f"chance {1 / len(said.logits):.4f}",
        ),
    ]


def _compared(learn: ImageCohort, test: ImageCohort, length: Length, bench: Bench) -> list[Row]:
    """Return the paired differences of AUC, `stable` minus each `faithful`."""
    first, *others = (_answers(candidate, learn, test, length, bench) for candidate in CANDIDATES)
    rows = []
    for candidate, other in zip(CANDIDATES[1:], others, strict=True):
        for place, task in enumerate(TASKS):
            scores = first.said["both"].logits[:, place], other.said["both"].logits[:, place]
            difference = auc_contrast(scores, (1.0, -1.0), first.labels[:, place])
            rows.append(Row(f"clinic {task}, stable minus {candidate.name}", "AUC with both modalities", None, difference, RULE))
    return rows

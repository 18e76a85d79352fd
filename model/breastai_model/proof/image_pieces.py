"""The pieces on image phantoms: cohorts, trainings, and what each scenario must show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from breastai_model.case import TASKS
from breastai_model.phantom.scenarios import SCENARIOS
from breastai_model.plan import Plan, plan_with
from breastai_model.proof import image_claims, image_swaps
from breastai_model.proof.image_cases import ImageCohort, Source, of_scenario, read_cases, same_images, write_cases
from breastai_model.proof.image_training import trained_net
from breastai_model.proof.intervals import auc_interval
from breastai_model.proof.pieces import Piece
from breastai_model.proof.recipe_pieces import recipe_pieces
from breastai_model.proof.table import Row, above, contains
from breastai_model.recipe import preset
from breastai_model.training.dataset import ordered_for

if TYPE_CHECKING:
    from breastai_model.plan import Scenario
    from breastai_model.proof.image_claims import Answers
    from breastai_model.proof.pieces import Bench

LEARN_SEED, TEST_SEED = 400_000_000, 500_000_000
PART = 200
"""Phantoms of one piece: about two minutes of one processor."""
RECIPE = preset("tiny", mri_shape=(12, 24, 24), mri_spacing_mm=(6.0, 4.0, 4.0))
"""The MRI is a window of 72 x 96 x 96 mm around the lesion: in whole breasts of `tiny` a lesion is one slice thick and three voxels
wide, and what is private to the MRI is not learnt from a few hundred labels. Whole breasts are the matter of `prove --weights`."""
WHOLE = (24, 32, 40)
"""Slices, rows and columns of the breasts that the windows are cut from."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Patients and epochs of the trainings of one table. Fixed before the first was run; never chosen by a test cohort."""

    learn: int
    test: int
    own_learn: int
    own_test: int
    epochs: int
    batch_size: int = 8

    def plan(self, name: str, losses: Literal["stable", "faithful"]) -> Plan:
        """Return the plan of a training: the recipe's own, with this budget's epochs, batch and rate.

        `faithful` gets the discriminators' epochs on top, so that the encoders of both pass the cases as often.
        """
        changes = {
            "epochs": 2 * self.epochs - 1 if losses == "faithful" else self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": 1e-3,
            "validation_share": 0.1,
            "seed": 1,
            "device": "cpu",
        }
        return plan_with(name, RECIPE, losses, **changes, stop_epochs=0)

    def words(self, losses: str) -> str:
        """Return the budget in words."""
        cut = " x ".join(map(str, RECIPE.mri_shape))
        return (
            f"preset tiny on windows of {cut} voxels around the lesion, recipe {losses}, {self.epochs} epochs of the encoders, "
            f"batch {self.batch_size}, learning rate 0.001, one seed"
        )


QUICK = Budget(learn=280, test=160, own_learn=180, own_test=100, epochs=12)
FULL = Budget(learn=1000, test=1000, own_learn=800, own_test=400, epochs=12)

MIXED: tuple[Source, Source, Source] = (("S1", TASKS[0]), ("S2", TASKS[0]), ("S2", TASKS[1]))
"""The quick table's one network for two scenarios: their images are the same, each task has another law's labels."""
S5_EPOCHS = 6


def image_pieces(*, quick: bool) -> list[Piece]:
    """Return the pieces in the order of the table."""
    budget = QUICK if quick else FULL
    scenarios: tuple[Scenario, ...] = ("S7",) if quick else ("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8")
    images: list[Scenario] = ["clinic"]
    images += [name for name in scenarios if SCENARIOS[name].drawn]
    pieces = [piece for name in images for piece in _cohort_pieces(name, budget)]
    if quick:
        pieces.append(_piece("S1-S2", "One network, labels of S1 and S2 in its three tasks", "clinic", MIXED, budget, "stable"))
        pieces.append(_piece("S5", SCENARIOS["S5"].source, "clinic", of_scenario("S5"), replace(budget, epochs=S5_EPOCHS), "stable"))
    pieces += [_piece(name, SCENARIOS[name].source, same_images(name), of_scenario(name), budget, "stable") for name in scenarios]
    if not quick:
        pieces.append(_piece("S4-faithful", "S4 with the linear heads of faithful", "clinic", of_scenario("S4"), budget, "faithful"))
        learn, test = cohorts("clinic", budget)
        pieces += recipe_pieces(learn, test, [piece.name for piece in _cohort_pieces("clinic", budget)])
    return pieces


def cohorts(images: Scenario, budget: Budget) -> tuple[ImageCohort, ImageCohort]:
    """Return the phantoms to learn from and the fresh ones."""
    learn, test = (budget.learn, budget.test) if images == "clinic" else (budget.own_learn, budget.own_test)
    return ImageCohort(images, learn, LEARN_SEED, RECIPE, WHOLE), ImageCohort(images, test, TEST_SEED, RECIPE, WHOLE)


def _cohort_pieces(images: Scenario, budget: Budget) -> list[Piece]:
    """Return the pieces that write the phantoms, each a part of them, so that two processors share the work."""
    pieces = []
    for use, cohort in zip(("learn", "test"), cohorts(images, budget), strict=True):
        for first in range(0, cohort.patients, PART):
            part = range(first + 1, min(first + PART, cohort.patients) + 1)
            name = f"phantoms-{images}-{use}-{first // PART + 1}"
            words = f"numbers {part.start} to {part.stop - 1} of {cohort.words()}"
            pieces.append(Piece(name, f"Phantoms with {images} images, to {use}", words, partial(_write, cohort, part)))
    return pieces


def _write(cohort: ImageCohort, part: range, bench: Bench) -> list[Row]:
    write_cases(cohort, part, bench)
    return []


def _piece(
    name: str, title: str, images: Scenario, sources: tuple[Source, Source, Source], budget: Budget, losses: Literal["stable", "faithful"]
) -> Piece:
    learn, test = cohorts(images, budget)
    constants = f"learnt from {learn.words()}; tested on {test.words()}; {budget.words(losses)}; labels {sources}"
    after = tuple(piece.name for piece in _cohort_pieces(images, budget))
    return Piece(name, title, constants, partial(_scenario, name, images, sources, budget, losses), after)


def _scenario(
    name: str,
    images: Scenario,
    sources: tuple[Source, Source, Source],
    budget: Budget,
    losses: Literal["stable", "faithful"],
    bench: Bench,
) -> list[Row]:
    """Train, read the fresh phantoms and return what the scenario must show."""
    learn, test = cohorts(images, budget)
    plan = budget.plan(f"proof {name}", losses)
    net = trained_net(name, plan, ordered_for(plan.recipe, read_cases(learn, bench, sources)), bench)
    answers = image_claims.read(net, ordered_for(plan.recipe, read_cases(test, bench, sources)))
    bench.left_s()
    if name.startswith("S4"):
        return interaction_rows(answers, losses)
    same = {"S6", "S7", "S8"} & {name}
    places = (0,) if same else (0, 1, 2)
    # The angle law shows in the MRI as well, but not at this resolution: what MRI alone makes of it is told, not judged.
    rows = image_claims.law_rows(answers, sources, places, losses, ("mri",) if name == "S7" else ())
    if name in ("S1-S2", "S1", "S2", "S3"):
        rows += image_claims.missing_rows(answers, sources, places)
    if name in ("S1-S2", "S1", "S2"):
        rows += feature_rows(answers, sources, name, test.seed)
    if name == "S6":
        rows += image_claims.order_rows(answers)
    if name == "S7":
        rows += image_claims.roll_rows(answers)
    if name == "S8":
        rows += image_claims.healthy_side_rows(answers, test.seed)
    return rows


def feature_rows(answers: Answers, sources: tuple[Source, Source, Source], name: str, seed: int) -> list[Row]:
    """Return what the features carry: the first task of S1 and of S2, where the network learnt it."""
    rows: list[Row] = []
    places = {scenario: place for place, (scenario, task) in reversed(list(enumerate(sources))) if task == TASKS[0]}
    for scenario, place in sorted(places.items()):
        rows.append(image_swaps.levelled_row(answers, sources[place], place))
        if scenario == "S1":
            rows.append(image_swaps.swap_row(answers, sources[place], place, seed))
        else:
            rows.append(image_swaps.ignorance_row(answers, sources[place], place))
    return rows + (image_swaps.leakage_rows(answers, name) if name != "S2" else [])


def interaction_rows(answers: Answers, losses: str) -> list[Row]:
    """Return S4: each modality alone is a guess; the two together are not, with heads that can join two specific latents."""
    rows = []
    for place, task in enumerate(TASKS):
        for scope in ("mri", "us"):
            measured = answers.auc(scope, place)
            rows.append(Row(f"S4 {task}, {image_claims.WORDS[scope]}", f"AUC, {losses}", contains(0.5, image_claims.WIDEST), measured, ""))
        measured = auc_interval(answers.said["both"].logits[:, place], answers.labels[:, place])
        expected = above(0.5) if losses == "stable" else contains(0.5, image_claims.WIDEST)
        note = (
            "interaction of two private latents"
            if losses == "stable"
            else "linear heads cannot join two specific latents: expected to stay at 0.5"
        )
        rows.append(Row(f"S4 {task}, MRI + US", f"AUC, {losses}", expected, measured, note))
    return rows

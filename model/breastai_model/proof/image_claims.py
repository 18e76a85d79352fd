"""What the scenarios S1 to S8 must show, measured on image phantoms that the network never saw."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from breastai_model.network.net import BreastNet
from breastai_model.network.tokens import mirrored
from breastai_model.phantom.patient import make_patient
from breastai_model.phantom.scenarios import bayes_auc
from breastai_model.prepare import collate, prepare
from breastai_model.proof.intervals import Interval, auc_contrast, auc_interval, exact, mean_interval
from breastai_model.proof.table import Row, at_least, at_most, between, contains
from breastai_model.training.augment import sweep_order
from breastai_model.training.features import ABSENT, Features, predict_cases

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from breastai_model.phantom.latents import Scope
    from breastai_model.prepare import Prepared
    from breastai_model.proof.image_cases import Source
    from breastai_model.recipe import Recipe
    from breastai_model.training.dataset import CaseFiles

WORDS: dict[Scope, str] = {"both": "MRI + US", "mri": "MRI alone", "us": "US alone"}
NEARLY = 0.5
"""Share of the way from 0.5 to the Bayes AUC that counts as "the information was found" with these small networks."""
EQUAL = 0.1
"""Margin within which two AUCs count as about equal."""
WIDEST = 0.25
"""An interval wider than this cannot show chance."""
ROLL_CHANGE = 0.02
MIRRORED = 5
TOKENS = "prior graphs, mirror-symmetric tokens"


@dataclass(frozen=True, eq=False, slots=True)
class Answers:
    """What a network says of held-out phantoms with both modalities and with each alone."""

    net: BreastNet
    cases: CaseFiles
    said: dict[Scope, Features]

    @property
    def labels(self) -> NDArray[np.int64]:
        """(patient, task)."""
        return self.cases.labels

    def auc(self, scope: Scope, task: int) -> Interval:
        """Return the AUC of one answer."""
        return auc_interval(self.said[scope].logits[:, task], self.labels[:, task])

    def contrast(self, first: Scope, second: Scope, task: int) -> Interval:
        """Return the paired difference of two AUCs."""
        scores = (self.said[first].logits[:, task], self.said[second].logits[:, task])
        return auc_contrast(scores, (1.0, -1.0), self.labels[:, task])


def read(net: BreastNet, cases: CaseFiles) -> Answers:
    """Return the network's answers for all cases."""
    every = np.arange(len(cases))
    return Answers(net, cases, {scope: predict_cases(net, cases, every, absent) for scope, absent in ABSENT.items()})


def law_rows(
    answers: Answers, sources: tuple[Source, ...], places: tuple[int, ...], recipe_name: str, unjudged: tuple[Scope, ...] = ()
) -> list[Row]:
    """Return for each label the AUCs of both modalities and of each alone against what its law allows; `unjudged` ones as they are.

    A scope whose Bayes AUC is one half must be at chance; any other must have found at least half of the way to its Bayes AUC.
    """
    rows = []
    for place in places:
        scenario, task = sources[place]
        tops = bayes_auc(scenario)[task]
        for scope in cast("tuple[Scope, ...]", ("both", "mri", "us")):
            top = tops[scope]
            blind = top < 0.51
            bound = contains(0.5, WIDEST) if blind else at_least(0.5 + NEARLY * (top - 0.5))
            expected = None if scope in unjudged else bound
            rows.append(
                Row(
                    f"{scenario} {task}, {WORDS[scope]}",
                    f"AUC on {len(answers.labels)} fresh phantoms, {recipe_name}",
                    expected,
                    answers.auc(scope, place),
                    f"Bayes AUC {top:.3f}" + ("" if blind else f"; bound: {NEARLY:g} of the way from 0.5"),
                )
            )
    return rows


def missing_rows(answers: Answers, sources: tuple[Source, ...], places: tuple[int, ...]) -> list[Row]:
    """Return the AUC lost without a modality beside the gap between the Bayes AUCs."""
    rows = []
    for place in places:
        scenario, task = sources[place]
        tops = bayes_auc(scenario)[task]
        for scope in cast("tuple[Scope, ...]", ("mri", "us")):
            gap = tops["both"] - tops[scope]
            rows.append(
                Row(
                    f"{scenario} {task}, lost with {WORDS[scope]}",
                    "AUC of both modalities minus AUC of one",
                    between(gap - EQUAL, gap + EQUAL),
                    answers.contrast("both", scope, place),
                    f"Bayes gap {gap:.3f}",
                )
            )
    return rows


def chances(net: BreastNet, cases: CaseFiles, changed: Callable[[Prepared, int], Prepared]) -> NDArray[np.float64]:
    """Return the probabilities (patient, task) of cases that are changed before they are read; `changed` gets case and index."""
    said = []
    with torch.inference_mode():
        for start in range(0, len(cases), 8):
            shown = [changed(cases.load(index), index) for index in range(start, min(start + 8, len(cases)))]
            said.append(net(collate(shown)).logits.softmax(dim=-1)[..., 1].double().numpy())
    return np.concatenate(said)


def order_rows(answers: Answers) -> list[Row]:
    """Return S6: with phases permuted at test the answer is a guess."""
    rng = np.random.default_rng(6)
    orders = [np.concatenate([[0], 1 + rng.permutation(answers.net.recipe.phases - 1)]) for _ in range(len(answers.cases))]
    mixed = chances(answers.net, answers.cases, lambda case, index: replace(case, mri=np.ascontiguousarray(case.mri[orders[index]])))
    says = "AUC when the phases after contrast are shuffled, each patient anew"
    measured = auc_interval(mixed[:, 0], answers.labels[:, 0])
    return [Row("S6 phases permuted", says, contains(0.5, WIDEST), measured, "the values are the same, only their order is gone")]


def roll_rows(answers: Answers, steps: tuple[int, ...] = (1, 4, 7)) -> list[Row]:
    """Return S7: rolling the sweep with the mirror at the wrap, beside any other order of the angles."""

    def rolled(case: Prepared, step: int) -> Prepared:
        order, flipped = sweep_order(len(case.us_present), step, mirror=False)
        us = case.us[order]
        us[flipped] = us[flipped][:, :, ::-1]
        return replace(case, us=us, us_present=case.us_present[order])

    here = chances(answers.net, answers.cases, lambda case, _: case)
    said = [chances(answers.net, answers.cases, lambda case, _, s=step: rolled(case, s)) for step in steps]  # type: ignore[misc]
    moved = np.abs(np.stack(said) - here)
    rng = np.random.default_rng(7)
    orders = [rng.permutation(answers.net.recipe.angles) for _ in range(len(answers.cases))]
    mixed = np.abs(chances(answers.net, answers.cases, lambda case, index: replace(case, us=case.us[orders[index]])) - here)
    return [
        Row(
            "S7 sweep rolled",
            f"mean change of a probability when the sweep begins {', '.join(map(str, steps))} angles later, mirrored at the wrap",
            at_most(ROLL_CHANGE),
            mean_interval(moved.mean(axis=(0, 2))),
            f"{len(answers.cases)} phantoms, three tasks; between patients a probability spreads by {float(here.std(axis=0).mean()):.3f}",
        ),
        Row("S7 sweep rolled, greatest", "the greatest change of any of them", at_most(ROLL_CHANGE), exact(float(moved.max())), ""),
        Row("S7 angles shuffled", "mean change for a random order of the angles", None, mean_interval(mixed.mean(axis=1)), "may be more"),
        Row("S7 tokens rolled", "greatest change of F^a", at_most(1e-5), exact(token_roll(answers.net.recipe)), TOKENS),
    ]


def token_roll(recipe: Recipe) -> float:
    """Return the greatest change of F^a when the ultrasound tokens are rolled with the mirrored wrap.

    In a network whose graphs are the priors of the start, which are the same in a mirror, and for tokens that are their own mirror
    image, as the mean over time of a node would else mix left and right.
    """
    torch.manual_seed(7)
    net = BreastNet(recipe).eval()
    layout, grid = net.mmaff.layout, recipe.token_grid
    with torch.no_grad():
        for block in net.mmaff.blocks:
            block.graph.norm.weight.fill_(0.7)  # type: ignore[operator,union-attr]
    tokens = torch.randn(2, recipe.feature_width, layout.mri_frames * layout.mri_nodes + layout.us_frames * layout.us_nodes)
    mri, us = layout.split(tokens)
    us = us + us[..., mirrored(grid)]
    present = torch.ones(2, tokens.shape[2], dtype=torch.bool)

    def fused(angles: Tensor) -> Tensor:
        with torch.inference_mode():
            feature: Tensor = net.affinity(*net.mmaff(layout.join(mri, angles), present))
        return feature

    here = fused(us)
    changes = []
    for step in range(1, layout.us_frames):
        rolled = torch.cat([us[:, :, step:], us[:, :, :step][..., mirrored(grid)]], dim=2)
        changes.append(float((fused(rolled) - here).abs().max()))
    return max(changes)


def healthy_side_rows(answers: Answers, seed: int, mirrored: int = MIRRORED) -> list[Row]:
    """Return S8: another patient's healthy breast changes the answer; mirroring the whole patient does not."""
    cases, count = answers.cases, len(answers.cases)

    def healthy_of_next(case: Prepared, index: int) -> Prepared:
        # The second breast of the recipe's order (affected, contralateral) is the healthy one.
        mri = case.mri.copy()
        mri[:, 1] = cases.load((index + 1) % count).mri[:, 1]
        return replace(case, mri=mri)

    here = chances(answers.net, cases, lambda case, _: case)
    put = chances(answers.net, cases, healthy_of_next)
    differs = answers.labels[:, 0] != np.roll(answers.labels[:, 0], -1)
    moved = mean_interval(np.abs(put - here).mean(axis=1)[differs])
    note = f"{mirrored} phantoms; images mirrored, side exchanged"
    return [
        Row("S8 another's healthy breast", "mean change of a probability", at_least(0.05), moved, "the other patient has the other label"),
        Row(
            "S8 patient mirrored",
            "greatest change of a probability",
            at_most(1e-4),
            exact(mirror_change(answers.net, seed, mirrored)),
            note,
        ),
    ]


def mirror_change(net: BreastNet, seed: int, count: int = MIRRORED) -> float:
    """Return the greatest change of a probability when phantoms are mirrored: the MRI from left to right, the side exchanged."""
    changes = []
    for number in range(count):
        case = make_patient(seed + number, "model", "S8").case
        if case.dce is None or case.side is None:
            raise AssertionError("A phantom has MRI and a side.")
        # The columns of a phantom lie symmetric about the midline, so that turning them round is a mirror.
        mirror = replace(case, dce=np.ascontiguousarray(case.dce[..., ::-1]), side="left" if case.side == "right" else "right")
        with torch.inference_mode():
            said = net(collate([prepare(each, net.recipe) for each in (case, mirror)])).logits.softmax(dim=-1)[..., 1]
        changes.append(float((said[0] - said[1]).abs().max()))
    return max(changes)

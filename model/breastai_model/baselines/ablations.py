"""Ours, and ours with one part taken away or changed; `mum-net` is one of them.

All go through the same objective and the same training as the shipped model, within the comparison's budget.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from breastai_model.baselines.fit_breast_net import fit_breast_net, variant_plan
from breastai_model.network.affinity import AffinityPooling
from breastai_model.network.net import BreastNet
from breastai_model.network.tokens import token_layout
from breastai_model.plan import LOSSES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from breastai_model.baselines.system import Budget, Fitted
    from breastai_model.plan import Plan
    from breastai_model.recipe import Recipe
    from breastai_model.training.dataset import CaseFiles


class TimeMean(nn.Module):
    """In MMAFF's place: the mean of each node over its present frames, (N, d, L) tokens to (N, d, V) nodes. Nothing is learnt."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.layout = self.last_layout = token_layout(recipe)
        self.width = recipe.feature_width

    def forward(self, tokens: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return the nodes and which of them are present, as `MMAFF.forward`."""
        return self.layout.time_mean(tokens * present[:, None], present), self.layout.node_present(present)


class NodeMean(nn.Module):
    """In the affinity's place: the mean over present nodes and the same linear map, (N, C, V) to (N, d). No graph."""

    def __init__(self, inputs: int, recipe: Recipe) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, recipe.feature_width)

    def forward(self, h: Tensor, present: Tensor) -> Tensor:
        """Return F^a of each patient."""
        mean = (h * present[:, None]).sum(dim=2) / present.sum(dim=1, keepdim=True).clamp(min=1)
        fused: Tensor = self.linear(mean)
        return fused


class WithoutMmaff(BreastNet):
    """Affinity over the nodes' plain means over time: no STAF block."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.mmaff = TimeMean(recipe)  # type: ignore[assignment]
        self.affinity = AffinityPooling(self.mmaff.width, recipe)


class WithoutAffinity(BreastNet):
    """MMAFF, then the plain mean over nodes."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.affinity = NodeMean(self.mmaff.width, recipe)  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Variant:
    """One form of the network and of its losses. A `System`.

    Attributes
    ----------
    name, title, source
        See `System`.
    net
        What builds it.
    losses
        The named losses, which also decide heads, normalisation and the order of the breasts (`breastai_model.plan.with_losses`).
    recipe_changes, loss_changes
        Over the budget's recipe and the named losses.
    """

    name: str
    title: str
    source: str
    net: Callable[[Recipe], BreastNet] = BreastNet
    losses: Literal["stable", "faithful"] = "stable"
    recipe_changes: Mapping[str, Any] = field(default_factory=dict)
    loss_changes: Mapping[str, Any] = field(default_factory=dict)

    def plan(self, budget: Budget) -> Plan:
        """Return what the training of this variant within the budget is."""
        terms = replace(LOSSES[self.losses], **self.loss_changes)
        return variant_plan(replace(budget.recipe, **self.recipe_changes), self.losses, terms, budget)

    def fit(
        self,
        cases: CaseFiles,
        learning: NDArray[np.int64],
        held_out: NDArray[np.int64],
        budget: Budget,
        folder: Path,
        tell: Callable[[str], None],
    ) -> Fitted:
        """Learn; see `System.fit`."""
        return fit_breast_net(self.net, self.plan(budget), cases, learning, held_out, budget, folder, tell)


_OURS = "This program's own method (method sections i to iv)"


def ours() -> Variant:
    """Return our network: `stable` losses, layout `sequence`."""
    return Variant("ours", "Ours (stable, sequence)", f"{_OURS}, from scratch within the budget.")


def mum_net() -> Variant:
    """Return MUM-Net by its description: ours without MMAFF, trained as printed.

    The paper names affinity with nearest neighbours as MUM-Net's own (method section 0), so that it stays.
    """
    return Variant(
        "mum-net",
        "MUM-Net",
        "Qiao et al., IEEE JBHI 2022, doi 10.1109/JBHI.2022.3140236; full text and code not found. Changed: ours without MMAFF, the "
        "nodes' means over time enter the affinity; `faithful` losses with the features normalised, linear heads, breasts as (left, "
        "right), no modality dropout; the comparison's preset, epochs and learning rate, the discriminators' epochs on top.",
        net=WithoutMmaff,
        losses="faithful",
    )


_ABLATIONS = (
    Variant(
        "without-mmaff",
        "Ours without MMAFF",
        f"{_OURS}; the nodes' means over time enter the affinity, no STAF block.",
        net=WithoutMmaff,
    ),
    Variant(
        "without-affinity",
        "Ours without affinity",
        f"{_OURS}; the plain mean over nodes in place of affinity and nearest neighbours.",
        net=WithoutAffinity,
    ),
    Variant(
        "without-adversary",
        "Ours without adversary",
        f"{_OURS}; without L_mo, L_M, L_U and the discriminators.",
        loss_changes={"adversary": "none"},
    ),
    Variant("without-lc", "Ours without L_C", f"{_OURS}; without L_C.", loss_changes={"compactness": "none", "lambda_compactness": 0.0}),
    Variant(
        "faithful",
        "Ours, faithful losses",
        f"{_OURS}; the losses as printed (features normalised), linear heads, breasts as (left, right), no modality dropout, the "
        "discriminators' epochs on top.",
        losses="faithful",
    ),
    Variant(
        "channels",
        "Ours, layout channels",
        f"{_OURS}; phases and angles as channels, backbone stages as time.",
        recipe_changes={"layout": "channels"},
    ),
    Variant(
        "head-inputs-full",
        "Ours, all five features to the heads",
        f"{_OURS}; the heads also read F^a_M and F^a_U.",
        recipe_changes={"head_inputs": "full"},
    ),
)

ABLATIONS: dict[str, Variant] = {variant.name: variant for variant in _ABLATIONS}
"""Each ablation by name; they stand in a block of their own, against ours."""

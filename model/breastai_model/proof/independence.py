"""Planted neighbours, and answers that do not depend on the other patients of a batch.

Method section (vii), Affinity.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from breastai_model.network.affinity import affinity
from breastai_model.network.net import BreastNet
from breastai_model.prepare import Batch
from breastai_model.proof.intervals import Interval, exact, mean_interval
from breastai_model.proof.table import Row, at_least, at_most, contains

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from breastai_model.recipe import Recipe

GROUP = 5
"""Nodes of a planted group: k of the affinity, self included."""
GROUPS = 5
CHANNELS = 64
SPREAD = 0.35
"""Length of a node's deviation from its group's direction, both of random direction."""
BATCHES = (1, 6, 32)
TOLERANCE = 1e-5
ABSENT_SHARE = 0.2
WARM_PASSES = 12
"""In training mode, so that the norms' statistics fit the inputs and the answers of patients differ."""
HEAD_GAIN = 40.0


def planted_recall(patients: int, seed: int, spread: float = SPREAD, *, planted: bool = True) -> tuple[Interval, float]:
    """Return the share of planted neighbours among the k that the affinity keeps, one value a patient.

    Every patient has 25 nodes in 5 groups of 5; the nodes of a group point the same way up to noise; a fifth of the nodes is
    absent and must never be chosen (a group then has fewer neighbours to find). Without `planted` the nodes have no groups:
    the negative control. Also returned: the recall by chance.
    """
    rng = np.random.default_rng([seed, 8])
    nodes = GROUP * GROUPS
    centres = _directions(rng, (patients, GROUPS))
    noise = _directions(rng, (patients, nodes))
    member = np.stack([rng.permutation(np.repeat(np.arange(GROUPS), GROUP)) for _ in range(patients)])
    features = noise if not planted else np.take_along_axis(centres, member[..., None], axis=1) + spread * noise
    features = features * rng.uniform(0.5, 2.0, (patients, nodes, 1))  # the length must not matter
    present = rng.random((patients, nodes)) >= ABSENT_SHARE
    graph = affinity(torch.from_numpy(features.transpose(0, 2, 1)), torch.from_numpy(present), GROUP).numpy()
    pairs = (member[:, :, None] == member[:, None, :]) & present[:, :, None] & present[:, None, :] & ~np.eye(nodes, dtype=bool)
    if (graph[~(present[:, :, None] & present[:, None, :])] != 0).any():
        raise AssertionError("The affinity chose an absent node.")
    # Of each row the k largest, as the graph was made symmetric after the selection.
    found = np.zeros_like(pairs)
    np.put_along_axis(found, np.argsort(-graph, axis=2, kind="stable")[:, :, :GROUP], True, axis=2)
    planted_pairs = pairs.sum(axis=(1, 2)).astype(np.float64)
    by_chance = (GROUP - 1) / np.maximum(present.sum(axis=1) - 1, GROUP - 1)
    recall = mean_interval((found & pairs).sum(axis=(1, 2)).astype(np.float64), seed, planted_pairs)
    return recall, float((by_chance * planted_pairs).sum() / planted_pairs.sum())


def affinity_rows(patients: int, seed: int = 1) -> list[Row]:
    """Return the recall of planted neighbours and of none."""
    note = f"{patients} patients of {GROUP * GROUPS} nodes, k = {GROUP}, deviation {SPREAD:g}, a fifth of the nodes absent"
    loose, chance = planted_recall(patients, seed, planted=False)
    return [
        Row("planted affinity", "recall of the planted nearest neighbours", at_least(0.95), planted_recall(patients, seed)[0], note),
        Row("planted affinity, control", "the same without planted groups", contains(chance, 0.1), loose, f"chance {chance:.3f}"),
    ]


def random_batch(recipe: Recipe, count: int, seed: int) -> Batch:
    """Return made-up inputs of that many patients, views and modalities missing here and there."""
    rng = np.random.default_rng([seed, 9])
    # A level of its own for each view, breast and patient, and noise: pure noise would look the same in every patient.
    mri = rng.random((count, recipe.phases, 2, 1, 1, 1), dtype=np.float32) * rng.random(
        (count, recipe.phases, 2, *recipe.mri_shape), dtype=np.float32
    )
    us = rng.random((count, recipe.angles, 1, 1), dtype=np.float32) * rng.random((count, recipe.angles, *recipe.us_shape), dtype=np.float32)
    mri_present, us_present = rng.random((count, recipe.phases, 2)) > 0.1, rng.random((count, recipe.angles)) > 0.1
    mri_present[1::7], us_present[3::7] = False, False
    return Batch(*(torch.from_numpy(each) for each in (mri, mri_present, us, us_present)))


def lively(recipe: Recipe, seed: int) -> BreastNet:
    """Return an untrained network in eval mode whose norms and gates are not those of the start, so that every path is used."""
    torch.manual_seed(seed)
    net = BreastNet(recipe)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if name.endswith(("beta", "alpha")) or ("norm" in name and name.endswith("weight")):
                value.uniform_(0.5, 1.0)
        for head in net.heads.values():
            list(head.parameters())[-2].mul_(HEAD_GAIN)
        net.train()
        for turn in range(WARM_PASSES):
            net(random_batch(recipe, 8, seed + 1000 + turn))
    return net.eval()


def batch_rows(recipe: Recipe, seed: int = 1, net: BreastNet | None = None) -> list[Row]:
    """Return how much an answer depends on how many, and on which, other patients share its batch, and on what is absent.

    Parameters
    ----------
    net
        The network; None: an untrained one, see `lively`.
    """
    net = lively(recipe, seed) if net is None else net
    batch = random_batch(recipe, max(BATCHES), seed)
    with torch.inference_mode():
        alone = torch.cat([_said(net, _part(batch, slice(place, place + 1))) for place in range(max(BATCHES))])
        spread = float((alone.std(dim=0)).min())
        apart = 0.0
        for size in BATCHES[1:]:
            together = torch.cat([_said(net, _part(batch, slice(start, start + size))) for start in range(0, max(BATCHES), size)])
            apart = max(apart, float((together - alone).abs().max()))
        others = random_batch(recipe, max(BATCHES), seed + 1)
        first = _said(net, _part(batch, slice(0, 6)))[0]
        company = _said(net, _joined(_part(batch, slice(0, 1)), _part(others, slice(0, 5))))[0]
        filled = _said(net, _filled(batch))
        whole = _said(net, batch)
    note = f"preset {recipe.preset}, untrained, every norm and gate open; probabilities of different patients spread by {spread:.2g}"
    return [
        Row("batch sizes 1, 6, 32", "greatest difference of a probability", at_most(TOLERANCE), exact(apart), note),
        Row("companions", "bits that change in a batch of 6 with other companions", at_most(0), exact(float((first != company).sum())), ""),
        Row(
            "absent inputs",
            "greatest difference when absent arrays hold other values",
            at_most(0),
            exact(float((filled - whole).abs().max())),
            "",
        ),
    ]


def _said(net: BreastNet, batch: Batch) -> Tensor:
    """Return (N, task) probabilities."""
    said: Tensor = net(batch).logits.softmax(dim=-1)[..., 1]
    return said


def _part(batch: Batch, members: slice) -> Batch:
    return Batch(batch.mri[members], batch.mri_present[members], batch.us[members], batch.us_present[members])


def _joined(first: Batch, second: Batch) -> Batch:
    names = ("mri", "mri_present", "us", "us_present")
    return Batch(*(torch.cat([getattr(first, name), getattr(second, name)]) for name in names))


def _filled(batch: Batch) -> Batch:
    """Return the batch with other numbers wherever something is absent."""
    mri = torch.where(batch.mri_present[(...,) + (None,) * 3], batch.mri, 0.7)
    us = torch.where(batch.us_present[..., None, None], batch.us, 0.3)
    return replace(batch, mri=mri, us=us)


def _directions(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    drawn = rng.standard_normal((*shape, CHANNELS))
    made: NDArray[np.float64] = drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)
    return made

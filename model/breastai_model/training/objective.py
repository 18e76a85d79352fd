"""Equations 14 and 15: what the encoders and what the discriminators make small, put together from `losses` as a plan says.

Who learns from what (section i.6): L_t1 to L_t3 reach the encoders, the fusion and the heads; L_C and the term of g_a reach
the agnostic streams and their trunk; L_M, L_U and L_X reach the specific streams, and the agnostic ones too unless the plan
stops them (`LossPlan.detach_agnostic` for L_M and L_U). The discriminators learn from `Objective.discriminator_loss` alone, on
detached features; in `Objective.encoder_loss` they are constants.

L_X of N patients with features that have nothing to do with each other is about d / N, and one patient far from the others makes it
nearly d: over a few rows it is noise that drowns every other term. So it is left out until its memory is half full (a plan without
memory takes the batch as it is). The memory travels in the checkpoint, so a run that goes on begins with it in the same step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call

from breastai_model.training.feature_memory import FeatureMemory
from breastai_model.training.latent_readout import ASKED, LatentReadout
from breastai_model.training.losses import (
    Gather,
    Group,
    confusion,
    cross_covariance,
    divided,
    hat,
    laplacian_energy,
    masked_mean,
    modality_cross_entropy,
    neighbour_contrast,
    projection_distance,
    task_losses,
)

if TYPE_CHECKING:
    from breastai_model.network.adversary import Discriminators
    from breastai_model.network.net import Output
    from breastai_model.plan import LossPlan

PARTS = ("L_f", "L_cls", "L_t1", "L_t2", "L_t3", "L_C", "L_mo", "L_M", "L_U", "L_X", "L_Z")
"""The names of `Terms.parts`."""


@dataclass(frozen=True, eq=False, slots=True)
class Seen:
    """What the network was shown of each patient of a batch.

    Attributes
    ----------
    mri, us
        (N,) bool.
    patient
        (N,) int64, 0 or more: who it is, so that a patient met again is no stranger to its own features in the memory of L_C.
        None: not known.
    """

    mri: Tensor
    us: Tensor
    patient: Tensor | None = None

    @property
    def both(self) -> Tensor:
        """(N,) bool: patients with both modalities."""
        return self.mri & self.us


@dataclass(frozen=True, eq=False, slots=True)
class Counts:
    """What the sums of a batch are divided by.

    Attributes
    ----------
    labels
        (task,) known labels, or the sum of their class weights.
    mri, us, both
        () patients with MRI, ultrasound, both.
    """

    labels: Tensor
    mri: Tensor
    us: Tensor
    both: Tensor


@dataclass(frozen=True, eq=False, slots=True)
class Terms:
    """Equation 14 of a batch.

    Attributes
    ----------
    total
        L_f, to be minimised.
    parts
        Every name of `PARTS`, () without gradient and without weight. A term that the plan leaves out is 0.
    """

    total: Tensor
    parts: dict[str, Tensor]


@dataclass(frozen=True, eq=False, slots=True)
class _Features:
    """The features of a batch, (N, d), at least float32."""

    agnostic_mri: Tensor
    agnostic_us: Tensor
    specific_mri: Tensor
    specific_us: Tensor
    fused: Tensor


def warm_up(epoch: float, epochs: float) -> float:
    """Return how much of lambda1 and lambda2 stands after so many epochs: 0 to 1, straight; 1 at once where epochs is 0."""
    return 1.0 if epochs <= 0 else min(1.0, max(0.0, epoch / epochs))


class Objective(nn.Module):
    """The losses of a plan, with their memory as buffers: equations 1 to 3 and 10 to 13, weighed as in 14 and 15.

    Parameters
    ----------
    plan
        Which terms, with what weight.
    width
        d, the recipe's `feature_width`.
    group
        Adds a tensor up over processes (`breastai_model.training.losses.masked_mean`); None: one process.
    gather
        Returns the rows of all processes, so that all remember the same; None: one process.
    """

    def __init__(self, plan: LossPlan, width: int, group: Group | None = None, gather: Gather | None = None) -> None:
        super().__init__()
        self.plan = plan
        self.group = group
        self.gather = gather
        self.mri_memory = FeatureMemory(plan.memory, width)
        self.us_memory = FeatureMemory(plan.memory, width)
        self.readout = LatentReadout(width) if plan.lambda_latents else None

    def counts(self, labels: Tensor, seen: Seen, class_weights: Tensor | None = None) -> Counts:
        """Return what a whole batch's sums are divided by, over all processes. Micro-batches of it are given this."""
        blank = torch.zeros(*labels.shape, 2, device=labels.device)
        known = task_losses(blank, labels, class_weights)[1]
        return Counts(*(self._added(count) for count in (known, seen.mri.sum(), seen.us.sum(), seen.both.sum())))

    def discriminator_loss(self, output: Output, discriminators: Discriminators, seen: Seen, counts: Counts | None = None) -> Tensor:
        """Return lambda1 L_mo + lambda2 (L_M + L_U): minus equation 15, to be minimised over omega (equation 17).

        The features are detached: no encoder learns from it. 0 with the adversary "none".

        Parameters
        ----------
        counts
            Of the whole batch, where this is a micro-batch of it.
        """
        with torch.autocast(output.logits.device.type, enabled=False):
            features = _features(output, detach=True)
            if self.plan.adversary == "none":
                return features.agnostic_mri.new_zeros(())
            logits = self._modality(features, discriminators)
            l_mo = self._mean(modality_cross_entropy(*logits), seen.both, None if counts is None else counts.both)
            l_m, l_u = self._projections(features, discriminators, seen, counts, detach=False)
            return self.plan.lambda_modality * l_mo + self.plan.lambda_projection * (l_m + l_u)

    def encoder_loss(
        self,
        output: Output,
        labels: Tensor,
        discriminators: Discriminators,
        seen: Seen,
        ramp: float,
        class_weights: Tensor | None = None,
        counts: Counts | None = None,
        latents: Tensor | None = None,
    ) -> Terms:
        """Return equation 14, to be minimised over theta (equation 16).

        L_f = L_cls + lambda_C L_C - ramp lambda1 L_mo - ramp lambda2 (L_M + L_U) + lambda_X L_X + lambda_Z L_Z. With the adversary
        "confusion" the third term is + ramp lambda1 times the cross-entropy to uniform. The discriminators are constants.

        Parameters
        ----------
        labels
            (N, task) int64: 1, 0, -1 not known.
        ramp
            `warm_up` of now.
        class_weights
            (task, answer), or None.
        counts
            Of the whole batch, where this is a micro-batch of it: the sum over the micro-batches is then the batch's mean, for
            L_cls, L_mo, L_M, L_U and L_Z exactly. L_C and L_X see the micro-batch (and their memory), weighted by its share.
        latents
            (N, latent) of made-up patients, in the order of `LATENT_NAMES`; needed where the plan asks for them.
        """
        plan = self.plan
        with torch.autocast(output.logits.device.type, enabled=False):
            here = self.counts(labels, seen, class_weights)
            whole = here if counts is None else counts
            share = divided(here.both, whole.both)
            features = _features(output)
            if self.group is not None:
                features = _with_gradients(features)
            sums, _ = task_losses(_wide(output.logits), labels, class_weights)
            tasks = divided(self._added(sums), whole.labels)
            zero = tasks.new_zeros(())
            l_c = l_x = l_z = l_mo = l_m = l_u = pull = zero
            if plan.compactness == "laplacian":
                l_c = self._laplacian(features, seen) * share
            elif plan.compactness == "contrastive":
                l_c = self._contrastive(features, seen, whole.both)
            if plan.lambda_cross_covariance:
                l_x = self._cross_covariance(features, seen, here, whole)
            if self.readout is not None:
                l_z = self._latents(features, self.readout, latents, seen, whole)
            if plan.adversary != "none":
                # omega stands still: its numbers enter as constants, whatever asks for their gradients elsewhere
                frozen = {name: value.detach() for name, value in discriminators.named_parameters()}
                logits = self._modality(features, discriminators, frozen)
                l_mo = self._mean(modality_cross_entropy(*logits), seen.both, whole.both)
                pull = -l_mo if plan.adversary == "minimax" else self._mean(confusion(*logits), seen.both, whole.both)
                l_m, l_u = self._projections(features, discriminators, seen, whole, detach=plan.detach_agnostic, frozen=frozen)
            l_cls = tasks.sum()
            total = l_cls + plan.lambda_compactness * l_c + plan.lambda_cross_covariance * l_x + plan.lambda_latents * l_z
            total = total + ramp * (plan.lambda_modality * pull - plan.lambda_projection * (l_m + l_u))
        parts = dict(zip(PARTS, (total, l_cls, *tasks, l_c, l_mo, l_m, l_u, l_x, l_z), strict=True))
        return Terms(total, {name: value.detach() for name, value in parts.items()})

    def remember(self, output: Output, seen: Seen) -> None:
        """Put the batch's features into the memory, after the step that learnt from them.

        With several processes these are the features of all, in the order of one process with their joint batch. Each process then
        must bring equally many patients.
        """
        features = _features(output, detach=True)
        rows = torch.cat([features.agnostic_mri, features.specific_mri, features.agnostic_us, features.specific_us], dim=1)
        patient = torch.full_like(seen.mri, -1, dtype=torch.int64) if seen.patient is None else seen.patient
        notes = torch.stack([seen.mri.long(), seen.us.long(), patient], dim=1)
        if self.gather is not None:
            rows, notes = self.gather(rows), self.gather(notes)
        agnostic_mri, specific_mri, agnostic_us, specific_us = rows.chunk(4, dim=1)
        for memory, mask, agnostic, specific in (
            (self.mri_memory, notes[:, 0] > 0, agnostic_mri, specific_mri),
            (self.us_memory, notes[:, 1] > 0, agnostic_us, specific_us),
        ):
            memory.remember(agnostic[mask], specific[mask], notes[mask, 2])

    # -- parts ---------------------------------------------------------------------------------------------------------
    def _added(self, value: Tensor) -> Tensor:
        return value if self.group is None else self.group(value)

    def _mean(self, values: Tensor, mask: Tensor, count: Tensor | None) -> Tensor:
        return masked_mean(values, mask, self.group, count)

    def _hat(self, features: Tensor) -> Tensor:
        """hat(v), or v itself where the plan is literal."""
        return features if self.plan.literal else hat(features)

    def _modality(self, features: _Features, net: Discriminators, frozen: dict[str, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Return g_a's logits (N, 2) of both modalities (equation 3)."""
        inputs = tuple(self._hat(each) for each in (features.agnostic_mri, features.agnostic_us))
        classify = [_called(net, frozen, "modality", each) for each in inputs]
        return classify[0], classify[1]

    def _projections(
        self,
        features: _Features,
        net: Discriminators,
        seen: Seen,
        counts: Counts | None,
        *,
        detach: bool,
        frozen: dict[str, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return L_M and L_U (equations 1 and 2)."""
        found = []
        for name, specific, agnostic, mask, count in (
            ("project_mri", features.specific_mri, features.agnostic_mri, seen.mri, None if counts is None else counts.mri),
            ("project_ultrasound", features.specific_us, features.agnostic_us, seen.us, None if counts is None else counts.us),
        ):
            target = self._hat(agnostic.detach() if detach else agnostic)
            found.append(self._mean(projection_distance(_called(net, frozen, name, self._hat(specific)), target), mask, count))
        return found[0], found[1]

    def _laplacian(self, features: _Features, seen: Seen) -> Tensor:
        """Return L_C of the batch alone, read literally."""
        mri, us = hat(features.agnostic_mri), hat(features.agnostic_us)
        energy, weight = laplacian_energy(mri, us, seen.mri, seen.us, self.plan.neighbours)
        return divided(self._added(energy), self._added(weight))

    def _contrastive(self, features: _Features, seen: Seen, both: Tensor) -> Tensor:
        """Return L_C of the batch against batch and memory, half of it in either direction."""
        mri, us = hat(features.agnostic_mri), hat(features.agnostic_us)
        terms = [
            neighbour_contrast(anchors, own, *self._candidates(own, mask, seen, memory), self.plan.temperature, self.plan.neighbours)
            for anchors, own, mask, memory in ((mri, us, seen.us, self.us_memory), (us, mri, seen.mri, self.mri_memory))
        ]
        return self._mean(0.5 * (terms[0] + terms[1]), seen.both, both)

    def _candidates(self, features: Tensor, mask: Tensor, seen: Seen, memory: FeatureMemory) -> tuple[Tensor, Tensor]:
        """Return the candidates (K, d) of one modality, batch then memory, and who may use which (N, K)."""
        candidates = torch.cat([features, hat(memory.agnostic.to(features))])
        stranger = ~torch.eye(len(features), dtype=torch.bool, device=features.device)
        known = memory.filled.expand(len(features), -1)
        if seen.patient is not None:
            stranger = stranger & (seen.patient[:, None] != seen.patient)
            known = known & (seen.patient[:, None] != memory.patient)
        return candidates, torch.cat([stranger & mask, known], dim=1)

    def _cross_covariance(self, features: _Features, seen: Seen, here: Counts, whole: Counts) -> Tensor:
        """Return the mean of L_X over both modalities, weighted by the share of a micro-batch; 0 while a memory is not half full.

        What all processes remember is the same and counts once, not once a process.
        """
        total = features.agnostic_mri.new_zeros(())
        once = torch.ones_like(total) / self._added(torch.ones_like(total))
        for memory, specific, agnostic, mask, share in (
            (self.mri_memory, features.specific_mri, features.agnostic_mri, seen.mri, divided(here.mri, whole.mri)),
            (self.us_memory, features.specific_us, features.agnostic_us, seen.us, divided(here.us, whole.us)),
        ):
            rows = torch.cat([specific, memory.specific.to(specific)]), torch.cat([agnostic, memory.agnostic.to(agnostic)])
            weights = torch.cat([mask.to(total), memory.filled * once])
            total = total + 0.5 * share * memory.half_full * cross_covariance(*rows, weights, self.group)
        return total

    def _latents(self, features: _Features, readout: LatentReadout, latents: Tensor | None, seen: Seen, whole: Counts) -> Tensor:
        """Return L_Z: the sum over the features of the mean squared error of their read-outs, each over the patients that have them."""
        if latents is None:
            raise ValueError("The plan asks the features for latents, which only made-up patients have.")
        errors = readout.errors({name: getattr(features, name) for name in ASKED}, latents)
        who = {
            "agnostic_mri": (seen.mri, whole.mri),
            "specific_mri": (seen.mri, whole.mri),
            "agnostic_us": (seen.us, whole.us),
            "specific_us": (seen.us, whole.us),
            "fused": (seen.both, whole.both),
        }
        total = features.fused.new_zeros(())
        for name, error in errors.items():
            total = total + self._mean(error, *who[name])
        return total


def _wide(values: Tensor) -> Tensor:
    """Return float32 of half-width values; float64 stays."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _features(output: Output, *, detach: bool = False) -> _Features:
    features = (output.agnostic_mri, output.agnostic_us, output.specific_mri, output.specific_us, output.fused)
    return _Features(*(_wide(each.detach() if detach else each) for each in features))


def _with_gradients(features: _Features) -> _Features:
    """Return the features, those without gradients as constants that take some.

    A process whose patients all lack a modality has a constant there; its backward pass would then send fewer messages than the
    others wait for.
    """
    each = (features.agnostic_mri, features.agnostic_us, features.specific_mri, features.specific_us, features.fused)
    return _Features(*(value if value.requires_grad else value.detach().clone().requires_grad_() for value in each))


def _called(net: Discriminators, frozen: dict[str, Tensor] | None, name: str, features: Tensor) -> Tensor:
    """Return one discriminator's answer, with its own parameters or with frozen ones."""
    part: nn.Module = getattr(net, name)
    if frozen is None:
        answer: Tensor = part(features)
        return answer
    own = {key.removeprefix(f"{name}."): value for key, value in frozen.items() if key.startswith(f"{name}.")}
    fixed: Tensor = functional_call(part, own, (features,))
    return fixed

"""The one supervised loop of all small networks among the comparators, so that each spends the same budget in the same way.

Adam with the rate's short rise and half cosine, the masked losses of the three tasks, our own augmentation, the epoch with the lowest L_cls
on the held-out cases. Everything random follows from (seed, epoch, batch); after each epoch the folder holds all that is
needed to go on.
"""

from __future__ import annotations

import hashlib
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from breastai_model.baselines.absence import prevalence, shown
from breastai_model.baselines.system import PieceOver
from breastai_model.case import TASKS
from breastai_model.plan import LOSSES, Plan
from breastai_model.prepare import Batch, Prepared, collate
from breastai_model.training.augment import augmented
from breastai_model.training.checkpoint import load_checkpoint, save_checkpoint
from breastai_model.training.losses import classification_loss, task_losses
from breastai_model.training.schedule import cosine_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from breastai_model.baselines.system import Budget
    from breastai_model.training.dataset import CaseFiles
    from breastai_model.training.features import Absent

WEIGHT_DECAY = 1e-4
LARGEST_GRADIENT_NORM = 5.0

Modality = Literal["mri", "ultrasound"]


class TaskNetwork(nn.Module):
    """A network that answers the three tasks. What it does not read, it must not be changed by.

    Attributes
    ----------
    reads
        The modalities that it looks at. A case without any of them is not learnt from and is answered with the prevalence.
    """

    reads: tuple[Modality, ...] = ("mri", "ultrasound")

    def forward(self, batch: Batch) -> Tensor:
        """Return (N, task, 2) logits: negative, positive."""
        raise NotImplementedError

    def loss(self, batch: Batch, labels: Tensor) -> Tensor:
        """Return what training makes small: L_cls, equations 10 to 13 with masks. Labels are (N, task), -1 where not known."""
        return classification_loss(self(batch), labels)

    def sees(self, batch: Batch) -> Tensor:
        """Return (N,) bool: which cases hold something that it reads."""
        seen = torch.zeros(len(batch.mri), dtype=torch.bool, device=batch.mri.device)
        if "mri" in self.reads:
            seen = seen | batch.mri_present.flatten(1).any(dim=1)
        if "ultrasound" in self.reads:
            seen = seen | batch.us_present.any(dim=1)
        return seen


@dataclass(frozen=True, slots=True)
class Showing:
    """How cases are shown while learning.

    `drop_mri` and `drop_ultrasound` are the shares shown without that modality (never both); they rise from 0 over the
    first `warm_up` of the epochs. `drop_view` is the chance that a phase after contrast or an angle is left out.
    """

    drop_mri: float = 0.2
    drop_ultrasound: float = 0.2
    drop_view: float = 0.1
    warm_up: float = 0.0

    def plan(self, budget: Budget, epoch: int) -> Plan:
        """Return the plan that `augmented` reads, for the epoch counted from 0."""
        ramp = 1.0 if self.warm_up == 0 else min(1.0, epoch / (self.warm_up * budget.epochs))
        plan = Plan("comparison", budget.recipe, LOSSES["supervised"], seed=budget.seed, drop_view=self.drop_view)
        return replace(plan, drop_mri=self.drop_mri * ramp, drop_ultrasound=self.drop_ultrasound * ramp)


@dataclass(frozen=True, eq=False, slots=True)
class FittedNetwork:
    """A network that has learnt, with the prevalence (task,) for cases of which it sees nothing. See `Fitted`."""

    net: TaskNetwork
    seconds: float
    best_epoch: int
    unseen: NDArray[np.float64]
    batch_size: int
    notes: tuple[str, ...] = ()

    def probabilities(self, cases: CaseFiles, indices: NDArray[np.int64], absent: Absent = "") -> NDArray[np.float64]:
        """Return (n, task) probabilities; see `Fitted.probabilities`."""
        answers = np.empty((len(indices), len(TASKS)))
        with one_thread(), torch.inference_mode():
            self.net.eval()
            for start in range(0, len(indices), self.batch_size):
                members = indices[start : start + self.batch_size]
                answers[start : start + len(members)] = self._read([shown(cases.load(int(index)), absent) for index in members])
        return answers

    def _read(self, read: list[Prepared]) -> NDArray[np.float64]:
        """Return the answers to a batch; a case whose side is unknown is read in both orders of its breasts and averaged."""
        first = self._once(read)
        twice = [place for place, case in enumerate(read) if case.both_orders]
        if twice:
            first[twice] = (first[twice] + self._once([read[place].swapped() for place in twice])) / 2
        return first

    def _once(self, read: list[Prepared]) -> NDArray[np.float64]:
        batch = collate(read).to(next(self.net.parameters()).device)
        answers: NDArray[np.float64] = self.net(batch).softmax(dim=-1)[..., 1].double().cpu().numpy()
        return np.where(self.net.sees(batch).cpu().numpy()[:, None], answers, self.unseen)


@dataclass(slots=True)
class _Place:
    """How far learning has come: what a checkpoint keeps beside the tensors."""

    epoch: int = 0
    seconds: float = 0.0
    best_epoch: int = 0
    best_loss: float = math.inf


def fit_network(
    make: Callable[[], TaskNetwork],
    cases: CaseFiles,
    learning: NDArray[np.int64],
    held_out: NDArray[np.int64],
    budget: Budget,
    folder: Path,
    tell: Callable[[str], None],
    showing: Showing | None = None,
) -> FittedNetwork:
    """Train a network within the budget and return it as it was in its best epoch.

    Parameters
    ----------
    make
        Builds it; its first weights follow from the budget's seed.
    cases, learning, held_out, budget, folder, tell
        See `System.fit`. Without held-out labels the last epoch is taken.
    showing
        How cases are shown; with modality dropout if not told otherwise.

    Raises
    ------
    PieceOver
        See `Budget.deadline`.
    ValueError
        If the folder holds what was learnt under another budget, or a case is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with one_thread():
        torch.manual_seed(budget.seed)
        net = make().to(budget.device)
        optimizer = torch.optim.Adam(net.parameters(), lr=budget.learning_rate, weight_decay=WEIGHT_DECAY)
        place, terms = _Place(), _terms(budget, learning, held_out)
        last, best = folder / "checkpoint.safetensors", folder / "best.safetensors"
        if last.is_file():
            place = _resumed(last, net, optimizer, terms)
        while place.epoch < budget.epochs:
            if place.epoch and time.monotonic() > budget.deadline:
                raise PieceOver(f"stopped after epoch {place.epoch} of {budget.epochs}; it can go on.")
            started = time.monotonic()
            _train_epoch(net, optimizer, cases, learning, budget, place.epoch, (showing or Showing()).plan(budget, place.epoch))
            loss = _held_out_loss(net, cases, held_out, budget)
            place.epoch += 1
            if place.best_epoch == 0 or loss is None or loss < place.best_loss:
                place.best_epoch, place.best_loss = place.epoch, math.inf if loss is None else loss
                save_checkpoint(best, net, None, {"epoch": place.epoch})
            place.seconds += time.monotonic() - started
            save_checkpoint(last, net, {"adam": optimizer}, {"terms": terms, **_state(place)})
            tell(f"epoch {place.epoch} of {budget.epochs}" + ("" if loss is None else f", held-out loss {loss:.3f}"))
        load_checkpoint(best, net)
    return FittedNetwork(net, place.seconds, place.best_epoch, prevalence(cases.labels[learning]), budget.batch_size)


def _train_epoch(
    net: TaskNetwork,
    optimizer: torch.optim.Optimizer,
    cases: CaseFiles,
    learning: NDArray[np.int64],
    budget: Budget,
    epoch: int,
    plan: Plan,
) -> None:
    net.train()
    order = np.random.default_rng([budget.seed, epoch]).permutation(learning)
    batches = math.ceil(len(order) / budget.batch_size)
    for number in range(batches):
        chance = np.random.default_rng([budget.seed, epoch, number])
        torch.manual_seed(int(chance.integers(2**31)))  # dropout
        members = order[number * budget.batch_size : (number + 1) * budget.batch_size]
        batch = collate([shown(augmented(cases.load(int(index)), chance, plan), "") for index in members]).to(budget.device)
        labels = torch.from_numpy(cases.labels[members]).to(budget.device)
        # A case of which the network sees nothing teaches it nothing.
        labels = labels.where(net.sees(batch)[:, None], -1)
        for group in optimizer.param_groups:
            group["lr"] = cosine_rate(budget.learning_rate, epoch * batches + number, budget.epochs * batches)
        optimizer.zero_grad(set_to_none=True)
        loss = net.loss(batch, labels)
        if not (loss.requires_grad and loss.isfinite()):
            continue
        loss.backward()  # type: ignore[no-untyped-call]
        if torch.nn.utils.clip_grad_norm_(net.parameters(), LARGEST_GRADIENT_NORM).isfinite():
            optimizer.step()


def _held_out_loss(net: TaskNetwork, cases: CaseFiles, held_out: NDArray[np.int64], budget: Budget) -> float | None:
    """Return L_cls of the held-out cases, None without a label among them."""
    net.eval()
    sums, counts = torch.zeros(len(TASKS)), torch.zeros(len(TASKS))
    with torch.inference_mode():
        for start in range(0, len(held_out), budget.batch_size):
            members = held_out[start : start + budget.batch_size]
            batch = collate([shown(cases.load(int(index)), "") for index in members]).to(budget.device)
            labels = torch.from_numpy(cases.labels[members]).to(budget.device).where(net.sees(batch)[:, None], -1)
            batch_sums, batch_counts = task_losses(net(batch), labels)
            sums, counts = sums + batch_sums.cpu(), counts + batch_counts.cpu()
    loss = float((sums / counts.clamp(min=1)).sum())
    return None if not counts.any() else loss if math.isfinite(loss) else math.inf


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one processor thread, so that the same seed gives the same numbers, bit for bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _terms(budget: Budget, learning: NDArray[np.int64], held_out: NDArray[np.int64]) -> str:
    """Return a hash of what a checkpoint was learnt under."""
    parts = (
        budget.recipe.to_json(),
        budget.epochs,
        budget.batch_size,
        budget.seed,
        budget.learning_rate,
        learning.tolist(),
        held_out.tolist(),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _state(place: _Place) -> dict[str, Any]:
    best = place.best_loss if math.isfinite(place.best_loss) else None
    return {"epoch": place.epoch, "seconds": place.seconds, "best_epoch": place.best_epoch, "best_loss": best}


def _resumed(path: Path, net: TaskNetwork, optimizer: torch.optim.Optimizer, terms: str) -> _Place:
    state = load_checkpoint(path, net, {"adam": optimizer})
    if state["terms"] != terms:
        raise ValueError(f"The folder {path.parent.name} holds what was learnt under another budget: choose another folder.")
    best = math.inf if state["best_loss"] is None else state["best_loss"]
    return _Place(state["epoch"], state["seconds"], state["best_epoch"], best)

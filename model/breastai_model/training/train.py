"""The training loop: from whatever point the run's folder stands at to a whole model.

Everything random follows from (seed, epoch, batch, place in the batch), never from what ran before. So a run that was killed,
paused or stopped goes on from its last checkpoint as if nothing had happened, bit for bit on one processor thread; and several
processes draw what one process with their joint batch would draw.
"""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from breastai_model.case import TASKS
from breastai_model.network.net import BreastNet
from breastai_model.prepare import Batch
from breastai_model.run_folder import Epoch
from breastai_model.training.augment import draw, shown
from breastai_model.training.checkpoint import load_checkpoint, save_checkpoint
from breastai_model.training.dataset import CaseFiles
from breastai_model.training.evaluate import auc
from breastai_model.training.features import predict_cases
from breastai_model.training.finish import finished
from breastai_model.training.folds import split_by_patient
from breastai_model.training.learner import Learner, channels_last
from breastai_model.training.loader import made_ahead
from breastai_model.training.machine import Machine, out_of_memory
from breastai_model.training.schedule import (
    Position,
    after_epoch,
    has_learnt_enough,
    learning_rate,
    ramp,
    teaches_encoders,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from breastai_model.recipe import Recipe
    from breastai_model.run_folder import RunFolder, StopWish
    from breastai_model.training.features import Absent
    from breastai_model.training.predictions import Predictions

__all__ = ["BAD_BATCHES_IN_A_ROW", "Training", "TrainingError", "channels_last"]

BAD_BATCHES_IN_A_ROW = 3
SAVE_SECONDS = 600.0
"""After so long a checkpoint is written within an epoch as well."""
WISHES = ("pause", "finish")

Split = tuple["NDArray[np.int64]", "NDArray[np.int64]"]
"""Indices of the cases to learn from, and of those held out."""


class TrainingError(Exception):
    """Training cannot go on; the text is one sentence."""


class Training:
    """One run: its plan, cases, network and position.

    Parameters
    ----------
    run
        The folder.
    cases
        The cases, where they are not simply the folder's own.
    first
        A checkpoint whose network to begin from, where the run has none of its own yet.
    split
        Who is held out, where the plan's share does not say it.
    machine
        Where to compute; one is made for the plan's device and precision where it is None.
    begin
        Called with the fresh network, where the run has no checkpoint yet: to start from imported weights.
    build
        Makes the network of a recipe; ablations build another than ours.

    Raises
    ------
    TrainingError
        If there is too little to learn from, or the checkpoint belongs to another plan.
    ValueError
        If the plan, a case or the checkpoint is damaged.
    """

    def __init__(
        self,
        run: RunFolder,
        cases: CaseFiles | None = None,
        first: Path | None = None,
        split: Split | None = None,
        machine: Machine | None = None,
        begin: Callable[[BreastNet], None] | None = None,
        build: Callable[[Recipe], BreastNet] = BreastNet,
    ) -> None:
        self.folder = run
        self.plan = run.plan()
        self.cases = CaseFiles(run.case_paths()) if cases is None else cases
        if split is None:
            split = split_by_patient(self.cases.labels, self.cases.groups, self.plan.validation_share, self.plan.seed)
        self.learning, self.held_out = split
        self.machine = Machine(self.plan.device, self.plan.precision, run.tell_note) if machine is None else machine
        self.place = self.machine.place
        if len(self.learning) < self.place.world or len(self.held_out) == 0:
            raise TrainingError("There are too few patients to learn from some and to measure on others.")
        if self.plan.losses.lambda_latents and self.cases.latents is None:
            raise TrainingError("The plan's lambda_latents asks for hidden numbers that only made-up patients have: set it to 0.")
        # Bitwise repeatable on a processor. On a graphics card some of the kernels have no such form.
        torch.use_deterministic_algorithms(self.machine.device.type == "cpu")
        # Nothing here reads memory that was not written, and filling all of it first took a seventh of a step (measured).
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        self.learner = Learner(self.plan, self.machine, torch.from_numpy(self.cases.labels[self.learning]), build)
        self.net = self.learner.net
        self.position = Position(micro_batch=self.plan.micro_batch)
        self._saved = time.monotonic()
        if run.checkpoint.is_file():
            self.resume()
        elif first is not None:
            load_checkpoint(first, self.net)
        elif begin is not None:
            begin(self.net)

    @property
    def batches(self) -> int:
        """How many batches an epoch has.

        The processes' shares of a batch are equal, so that all of them send equally many messages: at the end of an epoch fewer cases
        than there are processes are left to another epoch.
        """
        whole, rest = divmod(len(self.learning), self.plan.batch_size * self.place.world)
        return whole + (rest >= self.place.world)

    def run(self, predictions: Predictions | None = None) -> str:
        """Train until the plan is done or somebody asks to stop; return the last word, a sentence for `output.txt`.

        Parameters
        ----------
        predictions
            Out-of-fold predictions to calibrate with; without them the held-out cases do.

        Raises
        ------
        TrainingError
            If the loss stops being a number, or memory is too small for one case.
        OSError
            If the disk refuses; the last good checkpoint is untouched.
        """
        while self.position.epoch < self.plan.epochs and not has_learnt_enough(self.plan, self.position):
            wish = self.train_epoch()
            if wish == "pause":
                self.save()
                return f"as asked, in epoch {self.position.epoch + 1} of {self.plan.epochs}; it can go on."
            if wish == "finish" and self.position.best_epoch:
                break
            self.end_epoch()
            if wish == "finish":
                break
        return finished(self, predictions)

    # -- one epoch -----------------------------------------------------------------------------------------------------
    def train_epoch(self) -> StopWish | None:
        """Go through the rest of the epoch, batch by batch; return early with a wish to stop."""
        place = self.position
        encoders = teaches_encoders(self.plan, place.epoch)
        order = np.random.default_rng([self.plan.seed, place.epoch]).permutation(self.learning)
        epoch = place.epoch

        def made(number: int) -> tuple[NDArray[np.int64], Batch]:
            return self.made_batch(order, epoch, number)

        begun = time.monotonic()
        with contextlib.closing(made_ahead(made, place.batch, self.batches)) as batches:
            for members, batch in batches:
                ready = time.monotonic()
                losses = self._learnt(members, batch, encoders=encoders)
                place.batch += 1
                over = time.monotonic()
                place.waited += ready - begun
                place.computed += self.learner.computed
                if losses is not None:
                    place.add(losses, len(members))
                    self._tell_batch(losses.get("L_cls"), ready - begun, self.learner.computed)
                wish = self.machine.agreed(self.folder.stop_wish() if self.place.first else None, WISHES)
                if wish is None and self.machine.agreed("due" if over - self._saved > SAVE_SECONDS else None, ("due",)):
                    self.save()
                now = time.monotonic()
                place.seconds, begun = place.seconds + now - begun, now
                if wish is not None:
                    return "pause" if wish == "pause" else "finish"
        return None

    def made_batch(self, order: NDArray[np.int64], epoch: int, number: int) -> tuple[NDArray[np.int64], Batch]:
        """Return this process's cases of a batch, loaded and as they are shown this time, on the device."""
        size = self.plan.batch_size * self.place.world
        members = order[number * size : (number + 1) * size]
        members = members[: len(members) // self.place.world * self.place.world]
        images, present = [], []
        for place in range(self.place.rank, len(members), self.place.world):
            case = self.cases.load(int(members[place]))
            drawn = draw(case, np.random.default_rng([self.plan.seed, epoch, number, place]), self.plan)
            mri, us = (torch.from_numpy(each).to(self.machine.device, non_blocking=True) for each in (case.mri, case.us))
            images.append(shown(mri, us, drawn, self.plan))
            present.append((torch.from_numpy(drawn.mri_present.copy()), torch.from_numpy(drawn.us_present.copy())))
        (mri_images, us_images), (mri_present, us_present) = zip(*images, strict=True), zip(*present, strict=True)
        batch = Batch(torch.stack(mri_images), torch.stack(mri_present), torch.stack(us_images), torch.stack(us_present))
        return members[self.place.rank :: self.place.world], batch.to(self.machine.device)

    def end_epoch(self) -> None:
        """Measure on the held-out cases, tell, keep the best, write the checkpoint."""
        place = self.position
        if not teaches_encoders(self.plan, place.epoch):
            place.end_epoch()
            self.save()
            return
        started = time.monotonic()
        probabilities, loss = self.measure()
        labels = self.cases.labels[self.held_out]
        parts, rate = place.means(), self.learning_rate()
        best = after_epoch(self.plan, place, loss if self.plan.watch == "validation" else parts.get("L_f"))
        epoch = Epoch(
            number=place.epoch + 1,
            train_loss=parts.get("L_cls", 0.0),
            validation_loss=loss,
            auc={task: auc(probabilities[:, index], labels[:, index]) for index, task in enumerate(TASKS)},
            learning_rate=rate,
            seconds=round(place.seconds + time.monotonic() - started, 2),
            best=best,
            parts={name: round(value, 6) for name, value in parts.items()},
            waiting_seconds=round(place.waited, 2),
        )
        place.end_epoch()
        if best and self.place.first:
            save_checkpoint(self.folder.best, self.net, None, {"epoch": place.epoch})
        self.save()
        if self.place.first:
            self.folder.tell_epoch(epoch)

    def learning_rate(self) -> float:
        """Return the rate of this step."""
        return learning_rate(self.plan, self.position, self.batches)

    def measure(self, absent: Absent = "") -> tuple[NDArray[np.float64], float | None]:
        """Return probabilities (case, task) and L_cls of the held-out cases, with nothing or one modality taken away, in float32.

        A case that would be left with nothing is shown whole. Several processes share the cases.
        """
        own = slice(self.place.rank, None, self.place.world)
        log_odds = np.zeros((len(self.held_out), len(TASKS)))
        if len(self.held_out[own]):
            size = self.position.micro_batch or self.plan.batch_size
            log_odds[own] = predict_cases(self.net, self.cases, self.held_out[own], absent, size).logits
        if self.place.world > 1:
            log_odds = self.machine.added(torch.from_numpy(log_odds).to(self.machine.device)).cpu().numpy()
        labels = self.cases.labels[self.held_out]
        known = labels >= 0
        with np.errstate(invalid="ignore"):  # a network that has blown up is told by its loss, which is then infinite
            surprise = np.where(known, np.logaddexp(0.0, np.where(labels == 1, -log_odds, log_odds)), 0.0)
            probabilities = np.exp(-np.logaddexp(0.0, -log_odds))
        loss = float((surprise.sum(axis=0) / known.sum(axis=0).clip(min=1)).sum()) if known.any() else None
        return probabilities, loss if loss is None or math.isfinite(loss) else math.inf

    # -- saving and going on -------------------------------------------------------------------------------------------
    def save(self) -> None:
        """Write the checkpoint from which the run can go on; the first process does."""
        if self.place.first:
            scaler = self.machine.scaler
            state = {
                "position": self.position.to_json(),
                "plan": self.plan.to_json(),
                "scaler": None if scaler is None else scaler.state_dict(),
            }
            save_checkpoint(self.folder.checkpoint, self.net, self.learner.optimizers, state, self.learner.objective)
        self.machine.wait()
        self._saved = time.monotonic()

    def resume(self) -> None:
        """Go on from the checkpoint. Raises TrainingError where it belongs to another plan."""
        state = load_checkpoint(self.folder.checkpoint, self.net, self.learner.optimizers, self.learner.objective)
        if state["plan"] != self.plan.to_json():
            raise TrainingError("The plan was changed after this run began: start a new run instead.")
        self.position = Position.from_json(state["position"])
        if self.machine.scaler is not None and state["scaler"]:
            self.machine.scaler.load_state_dict(state["scaler"])
        if self.place.first:
            self.folder.tell_note(f"Went on in epoch {self.position.epoch + 1}, after batch {self.position.batch}.")

    # -- one batch -----------------------------------------------------------------------------------------------------
    def _learnt(self, members: NDArray[np.int64], batch: Batch, *, encoders: bool) -> dict[str, float] | None:
        """Learn from these cases; return the losses, or None where the batch had to be skipped."""
        place, device = self.position, self.machine.device
        labels, groups = (torch.from_numpy(each[members]).to(device) for each in (self.cases.labels, self.cases.groups))
        latents = None if self.cases.latents is None else torch.from_numpy(self.cases.latents[members]).to(device)
        while True:
            chance = np.random.default_rng([self.plan.seed, place.epoch, place.batch, 2**31 + self.place.rank])
            torch.manual_seed(int(chance.integers(2**31)))  # dropout
            try:
                losses = self.learner.step(
                    batch,
                    labels,
                    groups,
                    rate=self.learning_rate(),
                    ramp=ramp(self.plan, place, self.batches),
                    encoders=encoders,
                    micro_batch=place.micro_batch,
                    latents=latents,
                )
                break
            except (RuntimeError, MemoryError) as error:
                # The other processes would wait in vain for this one's second try.
                if not out_of_memory(error) or self.place.world > 1:
                    raise
            self._halve(len(members))  # here, where the failed pass and its tensors are gone
        if losses is None:
            self._skip_batch()
        else:
            place.bad_batches = 0
        return losses

    def _halve(self, cases: int) -> None:
        """Let half as many cases pass at once, the batch staying as large. Raises TrainingError where it is one already."""
        now = min(self.position.micro_batch or cases, cases)
        if now <= 1:
            raise TrainingError("memory ran out even with one case at a time: choose a smaller preset, or a machine with more memory.")
        self.position.micro_batch = now // 2
        if self.machine.device.type == "cuda":
            torch.cuda.empty_cache()
        fewer = f"{self.position.micro_batch} instead of {now} cases pass the network at once from now on"
        self.folder.tell_note(f"Memory ran out: {fewer}; a batch stays as large.")

    def _skip_batch(self) -> None:
        place = self.position
        place.bad_batches += 1
        if self.place.first:
            self.folder.tell_note(f"A batch of epoch {place.epoch + 1} was skipped: its loss was not a number.")
        if place.bad_batches >= BAD_BATCHES_IN_A_ROW:
            raise TrainingError(
                f"the loss was not a number {BAD_BATCHES_IN_A_ROW} times in a row, in epoch {place.epoch + 1}. "
                "The last good checkpoint is kept; try a smaller learning rate."
            )

    def _tell_batch(self, loss: float | None, waiting: float, computing: float) -> None:
        if self.place.first:
            place = self.position
            self.folder.tell_batch(place.epoch + 1, place.batch, self.batches, self.plan.epochs, loss, waiting, computing)

"""What each of several training processes does in `model/test_distributed.py`; the tests call the same functions in one process."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from breastai_gui.services import training_worker
from breastai_model.run_folder import RunFolder
from breastai_model.training.machine import Machine
from breastai_model.training.train import Training
from training_process import say_into

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

FIXED = {"float64": torch.float64, "float32": torch.float32}
"""Runs with batch norms in evaluation mode, and the width of their numbers."""


def fixed_epoch(run: RunFolder, machine: Machine) -> dict[str, Tensor]:
    """Learn for one epoch; return the weights and the memory after it, and below "gradient/" the gradients of the first step."""
    kind = FIXED[run.name]
    training = Training(run, machine=machine)
    learner = training.learner
    learner.learning_mode = training.net.eval
    training.net.to(kind)
    learner.objective.to(kind)
    made, average = training.made_batch, machine.average_gradients
    names = {id(value): name for name, value in training.net.named_parameters()}
    gradients: dict[str, Tensor] = {}

    def wide(order, epoch, number):
        members, batch = made(order, epoch, number)
        return members, replace(batch, mri=batch.mri.to(kind), us=batch.us.to(kind))

    def averaged(parameters):
        average(parameters)
        for each in parameters:
            if each.grad is not None:
                gradients.setdefault(f"gradient/{names[id(each)]}", each.grad.clone())

    training.made_batch, machine.average_gradients = wide, averaged
    try:
        training.train_epoch()
    finally:
        machine.average_gradients = average
    return state_of(training) | gradients


def state_of(training: Training) -> dict[str, Tensor]:
    """Return weights, running statistics and the objective's memory."""
    net = {f"net/{name}": value for name, value in training.net.state_dict().items() if not name.endswith("num_batches_tracked")}
    memory = {f"memory/{name}": value for name, value in training.learner.objective.state_dict().items()}
    return {name: value.detach().contiguous().clone() for name, value in (net | memory).items()}


def whole_recipe(run: RunFolder, machine: Machine) -> dict[str, Tensor]:
    """Train all epochs of the run, or until somebody asks to pause, and return where it stands."""
    training = Training(run, machine=machine)
    while training.position.epoch < training.plan.epochs:
        if training.train_epoch() is not None:
            training.save()
            break
        training.end_epoch()
    return state_of(training)


def work(folder: Path, rank: int, port: int) -> None:
    """Be process `rank` of two, as torchrun says it: do everything, write what came out, last train `folder`/worker as the command does."""
    place = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": 2, "GROUP_RANK": 0}
    meeting = {"TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    os.environ.update({name: str(value) for name, value in (place | meeting).items()})
    say_into(folder / "said.txt")
    torch.set_num_threads(1)
    machine = Machine("cpu")

    def keep(name: str, tensors: dict[str, Tensor]) -> None:
        save_file(tensors, folder / f"{name}-{machine.place.rank}.safetensors")

    for name in FIXED:
        keep(name, fixed_epoch(RunFolder(folder / name), machine))
    keep("whole", whole_recipe(RunFolder(folder / "whole"), machine))
    paused = RunFolder(folder / "paused")
    whole_recipe(paused, machine)  # after its first batch
    machine.wait()
    if machine.place.first:
        paused.clear_stop()
    machine.wait()
    keep("paused", whole_recipe(paused, machine))
    machine.wait()
    raise SystemExit(training_worker.main(folder / "worker"))

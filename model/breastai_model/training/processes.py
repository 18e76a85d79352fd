"""Which of several training processes this one is, as `torchrun` or SLURM's `srun` say it; no torch.

Started by hand there is one process. All processes share one run folder; the first alone writes into it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Place:
    """One process among those of a job.

    Attributes
    ----------
    rank, world
        Its number from 0, and how many there are.
    local, local_world
        The same on this machine.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    local_world: int = 1

    @property
    def machines(self) -> int:
        """How many machines work on the job."""
        return self.world // self.local_world

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0


def place(environment: Mapping[str, str] = os.environ) -> Place:
    """Return the place that the environment tells: torchrun's variables, else those of a step of SLURM, else one process.

    Raises
    ------
    ValueError
        If the variables do not fit each other.
    """
    if "TORCHELASTIC_RUN_ID" in environment:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    elif int(environment.get("SLURM_NTASKS", "1")) > 1 and "SLURM_STEP_ID" in environment and "SLURM_LOCALID" in environment:
        names = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE")
    else:
        return Place()
    try:
        rank, world, local, local_world = (int(environment[name]) for name in names)
    except (KeyError, ValueError):
        raise ValueError(f"To train with several processes, {', '.join(names)} must be set to numbers: start them with torchrun.") from None
    if not (0 <= rank < world and 0 <= local < local_world and world % local_world == 0):
        raise ValueError("The numbers of the training processes do not fit each other: start them with torchrun.")
    return Place(rank, world, local, local_world)

"""Everything that is needed to go on with a run, in one safetensors file: tensors, and the state as JSON in its metadata.

Nothing here can run code when it is read, and one file replaced whole cannot hold tensors of one moment and a state of
another.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from breastai_model.whole_file import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn
    from torch.optim import Optimizer


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the text is one sentence."""


def save_checkpoint(
    path: Path, net: nn.Module, optimizers: Mapping[str, Optimizer] | None, state: Mapping[str, Any], objective: nn.Module | None = None
) -> None:
    """Write the network, the optimizers' moments, the objective's memory and the state, whole or not at all.

    Raises
    ------
    CheckpointError
        If a weight is not a finite number: such a network never replaces a good one.
    OSError
        If it cannot be written; the old checkpoint is untouched then.
    """
    tensors = {f"net/{name}": value for name, value in net.state_dict().items()}
    if objective is not None:
        tensors |= {f"objective/{name}": value for name, value in objective.state_dict().items()}
    if any(value.is_floating_point() and not bool(value.isfinite().all()) for value in tensors.values()):
        raise CheckpointError("The network holds numbers that are not finite; the last good checkpoint is kept.")
    for own, optimizer in (optimizers or {}).items():
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{own}/{index}/{name}": torch.as_tensor(value) for name, value in values.items()}
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}

    def write(temporary: Path) -> None:
        try:
            save_file(plain, temporary, metadata={"state": json.dumps(dict(state), allow_nan=False)})
        except SafetensorError as error:
            raise disk_error(error) from error

    replace_file(path, write)


def disk_error(error: SafetensorError) -> OSError:
    """Return the system's own error that safetensors wrapped in a text."""
    found = re.search(r"(?:code: |os error )(\d+)", str(error))
    number = int(found.group(1)) if found else 5
    return OSError(number, os.strerror(number))


def load_checkpoint(
    path: Path, net: nn.Module, optimizers: Mapping[str, Optimizer] | None = None, objective: nn.Module | None = None
) -> dict[str, Any]:
    """Put the checkpoint's numbers into network, optimizers and objective and return its state.

    Raises
    ------
    CheckpointError
        If the file is damaged or belongs to another network.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            state: dict[str, Any] = json.loads((file.metadata() or {})["state"])
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
        net.load_state_dict(_below("net/", tensors))
        if objective is not None:
            objective.load_state_dict(_below("objective/", tensors))
        for own, optimizer in (optimizers or {}).items():
            _load_optimizer(optimizer, _below(f"optimizer/{own}/", tensors))
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"The checkpoint {path.name} cannot be read or belongs to another network.") from error
    return state


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, what = name.split("/")
        moments.setdefault(int(index), {})[what] = value
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})

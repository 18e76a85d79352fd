"""Several processes: the same weights as one process with the joint batch, one writer, and a plain end when one of them dies."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

from breastai_model.network.net import BreastNet
from breastai_model.plan import LossPlan
from breastai_model.recipe import preset
from breastai_model.training.processes import Place, place
from training_cases import RECIPE, a_plan, make_run

if TYPE_CHECKING:
    from breastai_model.run_folder import RunFolder

# What each process does: one epoch with fixed batch norms, then its own weights into a file.
FIXED = """
import sys, torch
from pathlib import Path
from safetensors.torch import save_file
from breastai_model.prepare import Batch
from breastai_model.run_folder import RunFolder
from breastai_model.training.train import Training
torch.set_num_threads(1)
training = Training(RunFolder(Path(sys.argv[1])))
training.learner.learning_mode = training.net.eval
# In float64: Adam's first steps have the size of the rate whatever the gradient is, so rounding near 0 would become a whole step.
training.net.double(), training.learner.objective.double()
made = training.made_batch
def wide(*arguments):
    members, batch = made(*arguments)
    return members, Batch(batch.mri.double(), batch.mri_present, batch.us.double(), batch.us_present)
training.made_batch = wide
training.train_epoch()
training.machine.wait()
out = Path(sys.argv[2]) / f"{training.place.rank}.safetensors"
save_file({name: value.contiguous().clone() for name, value in training.net.state_dict().items()}, out)
training.machine.close()
"""


def launched(*arguments: str) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "GLOO_SOCKET_IFNAME": "lo"}
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.Popen(
        [sys.executable, *start, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )


def fixed_plan(batch_size: int):
    recipe = preset("tiny", mri_shape=RECIPE.mri_shape, us_shape=RECIPE.us_shape, dropout=0.0)
    losses = LossPlan(compactness="none", class_weights=True, warm_up_epochs=1.0)
    return a_plan(recipe=recipe, epochs=1, batch_size=batch_size, learning_rate=1e-3, losses=losses)


def test_two_processes_reach_the_weights_of_one_with_the_doubled_batch(tmp_path, monkeypatch):
    script = tmp_path / "fixed.py"
    script.write_text(FIXED, "utf-8")
    two = make_run(tmp_path / "two", patients=12, plan=fixed_plan(2))
    process = launched(str(script), str(two.path), str(two.path))
    one = make_run(tmp_path / "one", patients=12, plan=fixed_plan(4))
    monkeypatch.setattr(sys, "argv", [str(script), str(one.path), str(one.path)])
    try:
        runpy.run_path(str(script))
    finally:
        torch.use_deterministic_algorithms(False)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    first, second = (load_file(tmp_path / "two" / f"{rank}.safetensors") for rank in (0, 1))
    alone = load_file(tmp_path / "one" / "0.safetensors")
    assert all(torch.equal(first[name], second[name]) for name in first)
    start = start_of(one)
    assert max(float((alone[name] - value.detach()).abs().max()) for name, value in start.items()) > 1e-4, "something was learnt"
    for name, value in alone.items():
        assert (value - first[name]).abs().max() <= 1e-5, name


def start_of(run: RunFolder) -> dict[str, torch.Tensor]:
    """Return the parameters before the first step: they follow from the seed."""
    torch.manual_seed(run.plan().seed)
    return dict(BreastNet(run.plan().recipe).named_parameters())


@pytest.fixture(scope="module")
def trained_by_two(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("two") / "run", patients=14, epochs=2, batch_size=2)
    process = launched("-m", "breastai_gui", "train", str(run.path))
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return run, said


def test_the_whole_recipe_trains_with_two_processes_and_the_first_alone_writes(trained_by_two):
    run, said = trained_by_two
    assert said.count("Ended: finished after 2 epochs") == 1
    epochs = run.progress().epochs
    assert [epoch.number for epoch in epochs] == [1, 2]
    assert epochs[1].parts["L_C"] > 0
    assert epochs[1].train_loss < epochs[0].train_loss
    assert run.result()["processes"] == 2
    assert "A batch is 2 cases in each of 2 processes" in (run.path / "model_card.md").read_text("utf-8")


@pytest.mark.long
def test_t10_when_one_process_dies_the_job_fails_with_a_sentence_and_goes_on_later(tmp_path):
    run = make_run(tmp_path / "run", patients=14, epochs=200, batch_size=2)
    process = launched("-m", "breastai_gui", "train", str(run.path))
    deadline = time.monotonic() + 100
    while not run.checkpoint.is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert run.checkpoint.is_file()
    workers = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True).stdout.split()
    second = next(int(pid) for pid in workers if b"RANK=1" in environment_of(pid))
    killed = time.monotonic()
    os.kill(second, signal.SIGKILL)
    said, _ = process.communicate(timeout=60)
    assert time.monotonic() - killed < 60
    assert process.returncode != 0
    ended = [line for line in said.splitlines() if line.startswith("Ended: ")]
    assert len(ended) == 1
    assert "died" in ended[0]
    assert "can go on from its last checkpoint" in ended[0]
    assert not run.is_locked()
    done = len(run.progress().epochs)
    run.ask_to_stop("finish")
    again = subprocess.run([sys.executable, "-m", "breastai_gui", "train", str(run.path)], capture_output=True, text=True, check=True)
    assert "Ended: finished after" in again.stdout
    assert any("Went on in epoch" in note for note in run.progress().notes)
    assert len(run.progress().epochs) >= done


def environment_of(pid: str) -> list[bytes]:
    with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
        return file.read().split(b"\0")


def test_the_place_of_a_process_comes_from_torchrun_or_slurm():
    assert place({}) == Place()
    torchrun = {"TORCHELASTIC_RUN_ID": "x", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    assert place(torchrun) == Place(5, 8, 1, 4)
    assert place(torchrun).machines == 2
    slurm = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_LOCALID": "1", "SLURM_NTASKS_PER_NODE": "2"}
    assert place(slurm) == Place(3, 4, 1, 2)
    assert place({"SLURM_NTASKS": "4"}) == Place(), "a shell inside an allocation is one process"
    with pytest.raises(ValueError, match="start them with torchrun"):
        place({"TORCHELASTIC_RUN_ID": "x", "RANK": "5", "WORLD_SIZE": "8"})

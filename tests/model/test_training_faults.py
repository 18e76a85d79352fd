"""What goes wrong in training ends in a plain sentence, and the last good checkpoint stays."""

from __future__ import annotations

import random
import resource
import time

import pytest
import torch
from safetensors.torch import load_file

from breastai_model.network.net import BreastNet
from breastai_model.training.checkpoint import load_checkpoint
from breastai_model.training.cross_validation import train
from breastai_model.training.train import Training, TrainingError
from training_cases import CHANNELS, make_run
from training_process import started, train_and_save_after_every_batch, train_as_the_command_does


@pytest.fixture(autouse=True)
def _determinism_ends_with_the_test():
    yield
    torch.use_deterministic_algorithms(False)


def limited(run, limit: int, size: int) -> str:
    """Train in a process with a limit of the system; return what it said."""
    output = run.path.parent / "said.txt"
    process = started(train_as_the_command_does, run.path, output, limit, size)
    process.join(120)
    said = output.read_text("utf-8")
    assert process.exitcode == 1, said
    assert "Traceback" not in said
    return said


def test_t5_a_full_disk_ends_in_a_sentence_and_the_last_checkpoint_stays(tmp_path):
    run = make_run(tmp_path / "run", epochs=2, recipe=CHANNELS)
    run.ask_to_stop("pause")
    train(run)
    run.clear_stop()
    before = run.checkpoint.read_bytes()
    # No file may grow beyond half a checkpoint: the next write of one breaks off, as on a full disk.
    said = limited(run, resource.RLIMIT_FSIZE, len(before) // 2)
    assert "Ended: the disk is full: free at least 2 GB and go on." in said
    assert run.checkpoint.read_bytes() == before
    assert not [path for path in run.path.iterdir() if path.name.startswith(".")], "nothing half written lies about"
    assert train(run).startswith("finished after 2 epochs")


def test_t6_when_memory_runs_out_half_as_many_cases_pass_at_once_and_the_batch_stays(tmp_path, monkeypatch):
    whole = make_run(tmp_path / "whole", epochs=1, batch_size=6)
    train(whole)
    run = make_run(tmp_path / "run", epochs=1, batch_size=6)
    forward = BreastNet.forward

    def small_memory(net, batch, tap=None):
        if net.training and len(batch.mri) > 2:
            torch.empty(2**60)  # torch's own error of a processor without memory
        return forward(net, batch, tap)

    monkeypatch.setattr(BreastNet, "forward", small_memory)
    assert train(run).startswith("finished after 1 epochs")
    notes = [note for note in run.progress().notes if "Memory ran out" in note]
    assert len(notes) == 2, "6 to 3, 3 to 1, then never again"
    assert "1 instead of 3 cases pass the network at once from now on; a batch stays as large" in notes[1]
    assert run.result()["micro_batch"] == 1
    assert "1 at a time" in (run.path / "model_card.md").read_text("utf-8")
    for one, other in zip(whole.progress().epochs, run.progress().epochs, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, rel=0.25)


def test_t6_where_not_even_one_case_fits_it_says_so(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run")
    training = Training(run)
    monkeypatch.setattr(training.net, "forward", lambda *_: torch.empty(2**60))
    with pytest.raises(TrainingError, match=r"even with one case at a time: choose a smaller preset"):
        training.run()


def test_t4_a_loss_that_is_no_number_never_reaches_a_checkpoint(tmp_path):
    run = make_run(tmp_path / "run", recipe=CHANNELS)
    training = Training(run)
    training.train_epoch()
    training.end_epoch()
    with torch.no_grad():  # weights that are finite, whose product is not: what a learning rate that is too large leads to
        training.net.heads["high_ki67"][0].weight.fill_(3e38)
        training.net.heads["high_ki67"][3].weight.fill_(3e38)
    with pytest.raises(TrainingError, match="not a number 3 times in a row"):
        training.run()
    assert all(bool(value.isfinite().all()) for value in load_file(run.checkpoint).values())
    assert sum("skipped" in note for note in run.progress().notes) == 3


def test_a_skipped_batch_leaves_no_trace_in_statistics_and_memory(tmp_path):
    training = Training(make_run(tmp_path / "run"))
    members, batch = training.made_batch(training.learning, 0, 0)
    labels, groups = (torch.from_numpy(each[members]) for each in (training.cases.labels, training.cases.groups))
    state = {name: value.clone() for name, value in training.net.state_dict().items()}
    memory = {name: value.clone() for name, value in training.learner.objective.state_dict().items()}
    batch.us[0, 0, 0, 0] = float("nan")
    assert training.learner.step(batch, labels, groups, rate=1e-3, ramp=1.0, encoders=True) is None
    now = training.net.state_dict()
    assert all(torch.equal(value, now[name]) for name, value in state.items())
    assert all(torch.equal(value, training.learner.objective.state_dict()[name]) for name, value in memory.items())


def test_a_step_that_fails_after_the_discriminators_have_learnt_takes_that_back(tmp_path, monkeypatch):
    """Memory runs out in the encoders' part: the batch is tried again in smaller parts, and the discriminators learn from it once."""
    training = Training(make_run(tmp_path / "run"))
    members, batch = training.made_batch(training.learning, 0, 0)
    labels, groups = (torch.from_numpy(each[members]) for each in (training.cases.labels, training.cases.groups))

    def no_memory(*_, **__):
        raise MemoryError

    for turn in range(2):  # before Adam has moments, and after
        before = {name: value.clone() for name, value in training.net.state_dict().items()}
        steps = [int(each["step"]) for each in training.learner.optimizers["omega"].state.values()]
        with monkeypatch.context() as patched:
            patched.setattr(training.learner.objective, "encoder_loss", no_memory)
            with pytest.raises(MemoryError):
                training.learner.step(batch, labels, groups, rate=1e-3, ramp=1.0, encoders=True)
        assert all(torch.equal(value, training.net.state_dict()[name]) for name, value in before.items())
        assert [int(each["step"]) for each in training.learner.optimizers["omega"].state.values()] == steps
        assert training.learner.step(batch, labels, groups, rate=1e-3, ramp=1.0, encoders=True) is not None
        assert {int(each["step"]) for each in training.learner.optimizers["omega"].state.values()} == {turn + 1}


@pytest.mark.parametrize(("kills", "epochs"), [(1, 3), pytest.param(10, 5, marks=pytest.mark.long)])
def test_t1_killed_at_random_moments_it_ends_bit_for_bit_where_an_uninterrupted_run_does(tmp_path, kills, epochs):
    """Checkpoints after every batch here, so that kills fall into writing, learning and measuring."""
    whole, killed = (make_run(tmp_path / name, epochs=epochs, recipe=CHANNELS) for name in ("whole", "killed"))
    train(whole)
    chance = random.Random(kills)
    for _ in range(kills):
        lines = told(killed)
        process = started(train_and_save_after_every_batch, killed.path)
        deadline = time.monotonic() + 60
        while told(killed) < lines + 2 and process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.5)
        process.kill()
        process.join()
        assert told(killed) >= lines + 2, "it had learnt, and had kept what it learnt"
    assert train(killed).startswith(f"finished after {epochs} epochs")
    assert any("Went on in epoch" in note for note in killed.progress().notes)
    one, other = load_file(whole.model), load_file(killed.model)
    assert all(torch.equal(one[name], other[name]) for name in one)
    last = Training(whole).learner, Training(killed).learner
    for learner, run in zip(last, (whole, killed), strict=True):
        load_checkpoint(run.checkpoint, learner.net, learner.optimizers, learner.objective)
    for name in ("theta", "omega"):
        first, second = (learner.optimizers[name].state_dict()["state"] for learner in last)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key][what], second[key][what]) for key in first for what in first[key])
    assert all(torch.equal(a, b) for a, b in zip(last[0].objective.buffers(), last[1].objective.buffers(), strict=True))
    assert [epoch.parts for epoch in whole.progress().epochs] == [epoch.parts for epoch in killed.progress().epochs]


def told(run) -> int:
    path = run.path / "progress.jsonl"
    return path.read_bytes().count(b'"kind": "batch"') if path.is_file() else 0

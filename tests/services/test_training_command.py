"""`breastai train PLAN`: a plan is started as it stands in its file, and goes on when it is named again."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from breastai_gui.services import command_line
from breastai_gui.services.places import Places
from breastai_model.plan import PhantomData, Plan, plan_with
from breastai_model.recipe import preset
from breastai_model.run_folder import RunFolder
from breastai_model.weights import read_weights
from resnet_files import SMALL, state_dict

PLANS = Path(__file__).parents[2] / "resources" / "plans"
RECIPE = preset("tiny", mri_shape=(4, 16, 16), us_shape=(16, 16))


@pytest.fixture
def plan_file(tmp_path):
    plan = plan_with(
        "small", RECIPE, "stable", data=PhantomData("clinic", 4, 3), epochs=1, batch_size=3, device="cpu", validation_share=0.34
    )
    path = tmp_path / "small.json"
    path.write_text(json.dumps(plan.to_json()), "utf-8")
    return path


def breastai(*words) -> int:
    return command_line.run(command_line.parse(["train", *map(str, words)]))


def test_a_plan_makes_its_phantoms_trains_and_is_found_again(plan_file, capsys):
    assert breastai(plan_file) == 0
    said = capsys.readouterr().out
    assert "Making 4 made-up patients of the scenario clinic." in said
    assert "Epoch 1: loss" in said
    assert "Ended: finished after 1 epochs" in said
    run = RunFolder(Places().runs / "plan-small")
    assert len(run.case_paths()) == 4
    assert run.model.is_file()
    assert (run.path / "predictions.json").is_file()
    assert breastai(plan_file) == 0
    assert "this run is finished already" in capsys.readouterr().out


def test_what_cannot_be_started_is_said_in_one_sentence(plan_file, tmp_path, capsys):
    plan = Plan.from_json(json.loads(plan_file.read_text("utf-8")))
    run = RunFolder(tmp_path / "run")
    run.create(replace(plan, epochs=2), {"cases": []})
    without_data = tmp_path / "other.json"
    without_data.write_text(json.dumps(replace(plan, data=None).to_json()), "utf-8")
    damaged = tmp_path / "damaged.json"
    damaged.write_text(plan_file.read_text("utf-8").replace('"epochs"', '"epoch"'), "utf-8")
    for words, sentence in (
        ((plan_file, "--out", run.path), "was begun with another plan"),
        ((plan_file, "--out", tmp_path), "holds something else than a training run"),
        ((without_data,), "names no phantom cohort: to train with patients, start from the training wizard"),
        ((damaged,), "not a plan of this version"),
        ((tmp_path / "none.json",), "cannot be read"),
        ((run.path, "--out", tmp_path), "--out goes with a plan"),
        ((), "Name what to train"),
    ):
        assert breastai(*words) == 1
        said = capsys.readouterr().err
        assert sentence in said
        assert len(said.splitlines()) == 1


def test_a_run_starts_from_the_imported_backbone_that_its_plan_names(tmp_path, capsys):
    """One epoch at a rate that moves nothing: what comes out is what was brought, in every stream."""
    brought = state_dict(SMALL)
    save_file(brought, tmp_path / "resnet.safetensors")
    sha256 = hashlib.sha256((tmp_path / "resnet.safetensors").read_bytes()).hexdigest()
    small = {"epochs": 1, "batch_size": 3, "device": "cpu", "validation_share": 0.34, "weight_decay": 0.0, "learning_rate": 1e-9}
    plan = plan_with("begun", SMALL, "stable", data=PhantomData("clinic", 4, 3), **small, start_from=sha256)
    (tmp_path / "begun.json").write_text(json.dumps(plan.to_json()), "utf-8")
    assert breastai(tmp_path / "begun.json") == 1
    said = capsys.readouterr().out
    assert "which is not here: import it with breastai models import-imagenet FILE" in said
    assert "made-up patients" not in said, "not after minutes of making phantoms"

    assert command_line.run(command_line.parse(["models", "import-imagenet", str(tmp_path / "resnet.safetensors")])) == 0
    assert breastai(tmp_path / "begun.json") == 0
    run = RunFolder(Places().runs / "plan-begun")
    model = read_weights(run.model)
    kernel = brought["stages.1.blocks.0.conv2.weight"]
    streams = [
        value for value in model.net.state_dict().values() if value.shape == kernel.shape and torch.allclose(value, kernel, atol=1e-6)
    ]
    assert len(streams) == 2, "the agnostic and the specific stream of the ultrasound"
    stem = brought["stem.conv.weight"].sum(dim=1, keepdim=True)
    assert any(value.shape == stem.shape and torch.allclose(value, stem, atol=1e-6) for value in model.net.state_dict().values())
    assert sha256 in model.card, "the card in the file tells where the weights began"


def test_each_plan_that_comes_with_the_program_starts_unchanged(tmp_path):
    """All four at once, ended when the first of their patients are there."""
    plans = sorted(PLANS.glob("*.json"))
    command = [sys.executable, "-u", "-m", "breastai_gui", "train"]
    started = [
        subprocess.Popen(
            [*command, str(plan), "--out", str(tmp_path / plan.stem)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for plan in plans
    ]
    try:
        for plan, process in zip(plans, started, strict=True):
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(2)]
            assert said[0].startswith("The run's folder is")
            assert f"Making {Plan.from_json(json.loads(plan.read_text())).data.patients} made-up patients" in said[1], said
            process.terminate()
            assert "it can go on from its last checkpoint" in process.communicate(timeout=60)[0]
            assert process.returncode == 0
    finally:
        for process in started:
            process.kill()


def test_after_its_minutes_a_run_is_saved_and_can_go_on(plan_file, tmp_path):
    plan = replace(Plan.from_json(json.loads(plan_file.read_text("utf-8"))), epochs=500)
    plan_file.write_text(json.dumps(plan.to_json()), "utf-8")
    run = RunFolder(tmp_path / "run")
    words = ["train", str(plan_file), "--out", str(run.path), "--minutes"]
    done = subprocess.run([sys.executable, "-m", "breastai_gui", *words, "0.3"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "Ended: as asked" in done.stdout
    assert run.result() is None
    assert run.checkpoint.is_file()
    refused = subprocess.run([sys.executable, "-m", "breastai_gui", *words, "0"], capture_output=True, text=True, check=False, timeout=120)
    assert refused.returncode == 1
    assert "--minutes takes a number above 0." in refused.stderr

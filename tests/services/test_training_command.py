"""`breastai train PLAN`: a plan is started as it stands in its file, and goes on when it is named again."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from breastai_gui.services import command_line
from breastai_gui.services.places import Places
from breastai_model.plan import PhantomData, Plan, plan_with
from breastai_model.recipe import preset
from breastai_model.run_folder import RunFolder

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

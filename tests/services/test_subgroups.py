"""Subgroups from the table of answers to the evaluation."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from breastai_gui.data.reader_process import Reader
from breastai_gui.services.cohort import check
from breastai_gui.services.evaluation_report import evaluate_run
from breastai_gui.services.labels_table import propose_columns, read_table
from breastai_gui.services.phantom_cohort import write_phantom_cohort
from breastai_gui.services.subgroups import subgroup_columns, too_many, with_subgroups, words_of
from breastai_model.plan import plan_with
from breastai_model.recipe import preset
from breastai_model.run_folder import RunFolder
from breastai_model.training.predictions import Predictions


def predicted(groups: list[int]) -> Predictions:
    chance = np.random.default_rng(1)
    count = len(groups)
    said = {scope: chance.normal(size=(count, 3)) for scope in ("both", "mri", "us")}
    return Predictions(chance.integers(0, 2, (count, 3)), np.array(groups), np.zeros(count, dtype=np.int64), said)


def test_columns_that_begin_with_subgroup_are_told_apart_and_no_others():
    header = ("patient", "Subgroup: MRI vendor", "subgroup_age", "scanner", "subgroup", "Subgroup <b>", "Subgroups - site")
    assert subgroup_columns(header) == {1: "MRI vendor", 2: "age", 6: "site"}
    assert propose_columns(header).patient == 0


def test_a_cell_that_is_no_short_word_counts_as_unknown_and_is_said():
    words, problems = words_of(("1", "Siemens 1.5 T", "<script>", ""), {1: "scanner", 2: "site", 3: "age"})
    assert words == {"scanner": "Siemens 1.5 T", "site": "unknown", "age": "unknown"}
    assert len(problems) == 1
    assert problems[0].startswith("The subgroup site reads “<script>”")


def test_a_column_that_names_every_patient_apart_is_refused():
    rows = [{"site": str(number), "scanner": "A"} for number in range(21)]
    assert too_many(rows) == ("The column for the subgroup site holds 21 different words; at most 20 can be told apart.",)
    assert too_many(rows[:20]) == ()


def test_each_patient_of_the_predictions_gets_its_own_word():
    entries = [
        {"group": 1, "subgroups": {"scanner": "A"}},
        {"group": 2, "subgroups": {"scanner": "B"}},
        {"group": 2, "subgroups": {"scanner": "A"}},
        {"group": 3},
    ]
    seen = with_subgroups(replace(predicted([3, 2, 1, 9]), subgroups={"vendor": tuple("abcd")}), {"cases": entries})
    assert seen.subgroups == {"vendor": tuple("abcd"), "scanner": ("unknown", "mixed", "A", "unknown")}
    assert with_subgroups(predicted([1]), {}).subgroups == {}


def test_from_a_table_with_a_subgroup_to_the_page_of_the_evaluation(tmp_path):
    folder = tmp_path / "patients"
    write_phantom_cohort(folder, 4, seed=11)
    lines = (folder / "labels.csv").read_text("utf-8").splitlines()
    scanners = ("subgroup scanner", "Alpha 3 T", "Alpha 3 T", "Beta 1.5 T", "")
    (folder / "labels.csv").write_text("\n".join(f"{line},{word}" for line, word in zip(lines, scanners, strict=True)), "utf-8")
    table = read_table(folder / "labels.csv")
    with Reader() as reader:
        cohort = check(folder, table, propose_columns(table.header), 20, reader)
    run = RunFolder(tmp_path / "run")
    run.create(plan_with("Test model", preset("tiny"), "stable"), cohort.to_json())
    numbers = [entry["group"] for entry in cohort.to_json()["cases"]]
    predicted(numbers).write(run.path / "predictions.json")
    page = evaluate_run(run.path).page.read_text("utf-8")
    assert all(word in page for word in ("Subgroups", "Alpha 3 T", "Beta 1.5 T", "unknown"))
    told = json.loads((run.path / "evaluation" / "result.json").read_text("utf-8"))["subgroups"]
    assert {(each["word"], each["cases"]) for each in told if each["task"] == "lymph_node_metastasis"} == {
        ("Alpha 3 T", 2),
        ("Beta 1.5 T", 1),
        ("unknown", 1),
    }

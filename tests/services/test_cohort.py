"""A cohort as hospitals hand it over: every patient that cannot be used is named with the reason, none is dropped."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from breastai_gui.data.reader_process import Reader
from breastai_gui.services.cohort import Cohort, CohortRow, RowProblem, check, summary
from breastai_gui.services.labels_table import Columns, TableError, propose_columns, read_table
from breastai_gui.services.phantom_cohort import write_phantom_cohort
from breastai_model.case import Labels


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort 病人")
    write_phantom_cohort(folder, 4, seed=11)
    return folder


@pytest.fixture(scope="module")
def reader():
    with Reader() as reader:
        yield reader


def checked(folder, reader, tell=None) -> Cohort:
    table = read_table(folder / "labels.csv")
    return check(folder, table, propose_columns(table.header), 20, reader, tell)


def test_a_good_cohort_is_ready_and_known_to_be_made_up(phantoms, reader):
    told = []
    cohort = checked(phantoms, reader, lambda done, total, row: told.append((done, total, row.patient)))
    assert [row.status for row in cohort.rows] == ["ready"] * 4
    assert [(row.phases, row.angles) for row in cohort.rows] == [(5, 12)] * 4
    assert told == [(n, 4, f"phantom-{n:03d}") for n in range(1, 5)]
    assert cohort.trained_on() == "synthetic"
    assert cohort.why_not_yet() == "4 patients are ready; at least 6 are needed."
    assert summary(cohort).startswith("4 of 4 patients are ready; Lymph node metastasis: ")
    assert cohort.positives().high_ki67 == "Ki-67 of at least 20 %"
    numbers = [case["number"] for case in cohort.to_json()["cases"]]
    assert numbers == [1, 2, 3, 4]
    json.dumps(cohort.to_json())


def test_every_patient_with_a_problem_is_named_with_it(phantoms, reader, tmp_path):
    folder = tmp_path / "bad"
    for number, name in enumerate(("cut-short", "no-ultrasound", "twin", "other-patient"), start=1):
        shutil.copytree(phantoms / f"phantom-{number:03d}", folder / name)
    slice_10 = folder / "cut-short/mri/phase_3/IM010.dcm"
    slice_10.write_bytes(slice_10.read_bytes()[:6000])
    shutil.rmtree(folder / "no-ultrasound/ultrasound")
    shutil.rmtree(folder / "twin")
    shutil.copytree(phantoms / "phantom-002/mri", folder / "twin/mri")
    shutil.rmtree(folder / "other-patient/ultrasound")
    shutil.copytree(phantoms / "phantom-003/ultrasound", folder / "other-patient/ultrasound")
    (folder / "empty").mkdir()
    (folder / "unnamed").mkdir()
    (folder / "labels.csv").write_text(
        "patient;lnm;grade\ncut-short;yes;3\nno-ultrasound;no;2\ntwin;no;2\nother-patient;yes;9\nempty;no;1\nnobody;yes;3\nNOBODY2;;\n",
        "utf-8",
    )
    cohort = checked(folder, reader)
    rows = {row.patient: row for row in cohort.rows}
    said = {name: " ".join(problem.text for problem in row.problems) for name, row in rows.items()}
    assert "slice 10 of 24 is damaged" in said["cut-short"]
    assert rows["cut-short"].status == "stops"
    assert "trained on MRI alone" in said["no-ultrasound"]
    assert rows["no-ultrasound"].status == "ready"
    assert "Shows the same images as no-ultrasound" in said["twin"]  # T12
    assert rows["twin"].status == "stops"
    assert "disagree in patient ID" in said["other-patient"]
    assert "Grade reads “9”" in said["other-patient"]
    assert rows["other-patient"].status == "asks"
    assert rows["empty"].status == rows["nobody"].status == rows["NOBODY2"].status == "stops"
    assert "No folder has this name" in said["nobody"]
    assert cohort.folders_without_row == ("unnamed",)
    assert cohort.why_not_yet().startswith("6 patients need a decision")


def row(number: int, **changes) -> CohortRow:
    labels = Labels(number % 2 == 0, None, None)
    return CohortRow(**{"patient": f"p{number}", "folder": None, "labels": labels, "group": f"g{number}"} | changes)


def cohort_of(*rows: CohortRow, tmp_path) -> Cohort:
    return Cohort(tmp_path, rows, (), Columns(0, 1, None, None), 20.0)


def test_nobody_is_left_out_without_a_reason_and_the_reason_is_kept(tmp_path):
    asks = row(7, problems=(RowProblem("MRI and ultrasound disagree.", "asks"),))
    stops = row(8, problems=(RowProblem("No folder has this name.", "stops"),))
    cohort = cohort_of(*(row(n) for n in range(1, 7)), asks, stops, tmp_path=tmp_path)
    assert cohort.why_not_yet() == "2 patients need a decision: use as read, or leave out with a reason."
    cohort = cohort.with_row(replace(asks, accepted=True)).with_row(replace(stops, accepted=True))
    assert cohort.why_not_yet().startswith("1 patient needs")  # what cannot be read cannot be accepted
    cohort = cohort.with_row(replace(stops, left_out="Images are incomplete"))
    assert cohort.why_not_yet() == ""
    kept = cohort.to_json()
    assert kept["left_out"] == [{"patient": "p8", "reason": "Images are incomplete"}]
    assert [case["accepted"] for case in kept["cases"]] == [False] * 6 + [True]


def test_exams_of_one_person_share_a_group(tmp_path):
    cohort = cohort_of(row(1), row(2, group="g1"), row(3), tmp_path=tmp_path)
    assert [case["group"] for case in cohort.to_json()["cases"]] == [1, 1, 2]


def test_t13_one_answer_alone_is_nothing_to_learn(tmp_path):
    cohort = cohort_of(*(row(2 * n) for n in range(1, 9)), tmp_path=tmp_path)
    assert "at least two patients of each answer" in cohort.why_not_yet()


def test_one_made_up_patient_makes_the_whole_model_made_up(tmp_path):
    assert cohort_of(row(1), row(2), tmp_path=tmp_path).trained_on() == "patients"
    assert cohort_of(row(1), row(2, phantom=True), tmp_path=tmp_path).trained_on() == "synthetic"


def test_a_table_without_patients_or_answers_is_refused(tmp_path, reader):
    (tmp_path / "t.csv").write_text("name,age\na,3\n", "utf-8")
    table = read_table(tmp_path / "t.csv")
    with pytest.raises(TableError, match="names the patients"):
        check(tmp_path, table, Columns(None, 1, None, None), 20, reader)
    with pytest.raises(TableError, match="choose at least one"):
        check(tmp_path, table, Columns(0, None, None, None), 20, reader)


def test_a_leading_zero_that_excel_ate_is_pointed_out(tmp_path, reader):
    (tmp_path / "007").mkdir()
    (tmp_path / "labels.csv").write_text("patient,lnm\n7,yes\n8,no\n", "utf-8")
    cohort = checked(tmp_path, reader)
    assert "A folder 007 is there: is it meant?" in cohort.rows[0].problems[0].text

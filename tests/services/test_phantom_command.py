"""`breastai phantom`: a cohort from the command line, and a cohort as DICOM for the training wizard."""

import csv
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from breastai_gui.services import command_line
from breastai_gui.services.command_line import parse, run
from breastai_gui.services.commands import command, names
from breastai_gui.services.commands.phantom import Bar
from breastai_gui.services.phantom_cohort import write_phantom_cohort
from breastai_model.phantom.cohort import PhantomCohort, write_cohort
from breastai_model.phantom.latents import draw_latents
from breastai_model.phantom.scenarios import draw_labels
from breastai_model.plan import PhantomData


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BREASTAI_HOME", str(tmp_path / "home"))


def test_a_cohort_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "phantom",
        str(tmp_path / "out"),
        "--patients",
        "2",
        "--scenario",
        "S2",
        "--seed",
        "7",
        "--grade-missing",
        "1",
        "--processes",
        "1",
    ]
    assert run(parse(words)) == 0
    cohort = PhantomCohort(tmp_path / "out")
    assert (cohort.data.scenario, cohort.data.patients, cohort.data.seed) == ("S2", 2, 7)
    assert (cohort.labels[:, 1] == -1).sum() == 1
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["1 of 2 patients written", "2 of 2 patients written"]
    assert cohort.law_hash[:12] in said[2]
    (row,) = [line for line in said if line.startswith("high grade, from the latents")]
    assert row.split()[-1] == "0.500"  # S2 says nothing to ultrasound
    assert sum(line.split()[-3:] == ["few"] * 3 for line in said) == 6  # two patients are too few to measure a ceiling
    # Again: nothing is made twice.
    assert run(parse(words)) == 0
    assert "2 of 2 patients are there already" in capsys.readouterr().out


def test_another_cohort_in_the_folder_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["phantom", str(tmp_path / "out"), "--patients", "1", "--processes", "1", "--seed"]
    assert run(parse([*words, "3"])) == 0
    assert run(parse([*words, "4"])) == 1
    assert "another kind" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong", [["--patients", "0"], ["--patients", "two"], ["--scenario", "S9"], ["--seed", "-1"], ["--grade-missing", "-1"]]
)
def test_wrong_options_are_refused_before_anything_is_written(wrong: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["phantom", str(tmp_path / "out"), *wrong])
    assert ended.value.code == 2
    assert not (tmp_path / "out").exists()


def test_dicom_for_the_wizard_has_the_scenarios_labels_and_missing_grades(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write_phantom_cohort(
        tmp_path / "out", 2, 5, lambda done, count: told.append((done, count)), scenario="S3", grade_missing=1, processes=2
    )
    assert told == [(0, 2), (1, 2), (2, 2)]
    with (tmp_path / "out" / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["patient"] for row in rows] == ["phantom-001", "phantom-002"]
    assert sum(row["grade"] == "" for row in rows) == 1
    for row, seed in zip(rows, (5, 6), strict=True):
        labels = draw_labels(seed, draw_latents(seed), "S3")
        assert (row["lymph_node_metastasis"] == "yes") == labels.lymph_node_metastasis
        assert (int(row["ki67_percent"]) >= 20) == labels.high_ki67
        assert row["grade"] == "" or (row["grade"] == "3") == labels.high_grade
        assert len(list((tmp_path / "out" / row["patient"] / "ultrasound").iterdir())) == 12
    known = json.loads((tmp_path / "out" / "phantoms.json").read_text("utf-8"))
    assert known["latents"] == [list(draw_latents(seed).values) for seed in (5, 6)]
    assert known["bayes_auc"]["high_ki67"]["mri"] == 0.5  # S3 says nothing to MRI


def test_dicom_keeps_what_features_measured_in_its_images_reach(tmp_path: Path) -> None:
    write_phantom_cohort(tmp_path / "dicom", 2, 5, scenario="S3", processes=2)
    write_cohort(tmp_path / "arrays", PhantomData("S3", 2, 5), processes=2)
    arrays = PhantomCohort(tmp_path / "arrays")
    for number, (outlined, found) in enumerate(zip(arrays.measured(), arrays.measured(found=True), strict=True), start=1):
        assert np.array_equal(np.load(tmp_path / "dicom" / ".measured" / f"phantom-{number:03d}.npy"), [outlined, found])
    known = json.loads((tmp_path / "dicom" / "phantoms.json").read_text("utf-8"))
    assert known["ceilings"] == asdict(arrays.ceilings)
    assert known["ceilings"]["high_ki67"]["bayes"] == known["bayes_auc"]["high_ki67"]


def test_dicom_goes_on_where_it_was_broken_off_and_mixes_nothing(tmp_path: Path) -> None:
    out, told = tmp_path / "out", []
    write_phantom_cohort(out, 2, 5)
    kept = out / "phantom-001" / "mri"
    stamps = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    shutil.rmtree(out / "phantom-002")
    (out / ".phantom-002.part" / "mri").mkdir(parents=True)  # as a call that was killed leaves it
    (out / ".phantom-002.part" / "mri" / "half").write_bytes(b"DICM")
    write_phantom_cohort(out, 2, 5, lambda done, count: told.append((done, count)))
    assert told == [(1, 2), (2, 2)]
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == stamps
    assert sorted(path.name for path in out.iterdir()) == [".measured", "labels.csv", "phantom-001", "phantom-002", "phantoms.json"]
    assert not (out / "phantom-002" / "mri" / "half").exists()
    with pytest.raises(ValueError, match="another kind"):
        write_phantom_cohort(out, 2, 6)


def test_options_of_a_cohort_without_a_number_of_patients_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert command_line.run(parse(["phantom", str(out), "--scenario", "S2", "--dicom"])) == 2
    assert "--scenario and --dicom go with --patients" in capsys.readouterr().err
    assert not out.exists()


def test_the_bar_draws_over_itself_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    lines: list[str] = []
    bar = Bar(4, lines.append)
    for done in range(5):
        bar(done, 4)
    drawn = capsys.readouterr().out
    assert drawn.count("\r") == 5
    assert drawn.endswith("\n")
    assert "[##############################] 4 of 4" in drawn
    assert not lines


def test_every_command_that_is_there_can_be_asked_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert "phantom" in names()
    for name in names():
        assert callable(command(name).run)
        with pytest.raises(SystemExit) as ended:
            parse([name, "--help"])
        assert ended.value.code == 0
        assert f"breastai {name}" in capsys.readouterr().out


def test_a_folder_named_first_opens_the_window(tmp_path: Path) -> None:
    assert command_line.parse([str(tmp_path)]).command == "window"
    assert command_line.parse([]).command == "window"

"""From a folder to a PDF and a JSON document by command, in a process of their own."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from breastai_gui.services.assessment import DEMONSTRATION_SENTENCE

if TYPE_CHECKING:
    from pathlib import Path


def breastai(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    answer = subprocess.run(
        [sys.executable, "-m", "breastai_gui", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=280,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
    )
    assert "Traceback" not in answer.stdout + answer.stderr, answer.stderr
    return answer


def pdf_text(path: Path) -> list[str]:
    """Return the text of each page; skips where poppler is not installed."""
    program = shutil.which("pdftotext")
    if program is None:
        pytest.skip("pdftotext is not installed")
    answer = subprocess.run([program, "-layout", str(path), "-"], capture_output=True, check=True)
    return [" ".join(page.split()) for page in answer.stdout.decode("utf-8").split("\f")]


def document(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def assessed(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path, Path]:
    """What the command answered for the demo patient, its report and its JSON document."""
    folder = tmp_path_factory.mktemp("assessed")
    report, written = folder / "out of 王.pdf", folder / "out.json"
    return breastai("assess", demo_folder, "--report", report, "--json", written, "--device", "cpu"), report, written


def test_the_demo_patient_is_assessed_whole(assessed: tuple[subprocess.CompletedProcess[str], Path, Path], demo_folder: Path) -> None:
    answer, report, written = assessed
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stderr == ""
    assert "5 phases" in answer.stdout
    assert "12 images, 12 of them for the model" in answer.stdout
    whole = document(written)
    (assessment,) = whole["assessments"]
    assert assessment["scope"] == "joint"
    assert whole["draft"] is False
    assert whole["questions"] == []
    assert whole["valid_for_patients"] is False
    assert whole["study"]["made_by_phantom"] is True
    assert all(0 <= assessment["predictions"][task]["probability"] <= 1 for task in assessment["predictions"])
    assert assessment["provenance"]["device"] == "cpu"
    assert assessment["inputs"]["missing"] == []
    assert assessment["in_distribution"]["inside"] is True, "of the kind that the bundled model has learnt from"
    assert assessment["numbers_hidden"] is False
    files = [path for path in demo_folder.rglob("*") if path.is_file()]
    assert len(whole["files"]) == len(files)
    assert sum(assessment["energy_share"].values()) == pytest.approx(1.0, abs=1e-3)
    pages = pdf_text(report)
    assert "RESEARCH USE ONLY" in pages[0].upper()
    assert not any("DRAFT" in page for page in pages), "exit code, JSON and PDF agree"
    assert "Task maps, MRI shared" in " ".join(pages)
    unknown = breastai("assess", demo_folder, "--lesion", "Z9")
    assert unknown.returncode == 1
    assert "names no lesion Z9" in unknown.stderr


def test_the_same_input_gives_the_same_answer(
    assessed: tuple[subprocess.CompletedProcess[str], Path, Path], demo_folder: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again.json"
    assert breastai("assess", demo_folder, "--json", again, "--device", "cpu").returncode == 0
    answers = []
    for written in (assessed[2], again):
        (assessment,) = document(written)["assessments"]
        answers.append((assessment["predictions"], assessment["provenance"]["input_key"], assessment["energy_share"]))
    assert answers[0] == answers[1]


def test_check_runs_every_step() -> None:
    answer = breastai("check")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    for step in (
        "Demo patient written",
        "Read: 5 phases, 12 ultrasound angles",
        "Assessed on",
        "Report written",
        "JSON written",
        "All is well",
    ):
        assert step in answer.stdout


@pytest.fixture(scope="module")
def shuffled(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real MRI and the real ultrasound sweep, of different patients, renamed and shuffled into one flat folder."""
    folder = tmp_path_factory.mktemp("real") / "mixed"
    folder.mkdir()
    sources = [path for name in ("mri-dce-exam/dicom", "us-sweep") for path in sorted((real_data / name).rglob("*")) if path.is_file()]
    random.Random(7).shuffle(sources)
    for number, source in enumerate(sources):
        shutil.copyfile(source, folder / f"{number:05d}")
    return folder


def test_i1_two_patients_are_assessed_apart_and_the_report_is_a_draft(shuffled: Path, tmp_path: Path) -> None:
    report, written = tmp_path / "draft.pdf", tmp_path / "draft.json"
    answer = breastai("assess", shuffled, "--report", report, "--json", written, "--device", "cpu")
    assert answer.returncode == 3, answer.stdout + answer.stderr
    assert "draft" in answer.stdout
    whole = document(written)
    assert whole["draft"] is True
    assert [assessment["scope"] for assessment in whole["assessments"]] == ["mri", "ultrasound"]
    assert [question["kind"] for question in whole["questions"] if question["blocks"] == "joint"] == ["same_patient"]
    mri = whole["study"]["mri"]
    assert [phase["series_number"] for phase in mri["phases"]] == [8, 9, 13, 15, 17, 19]
    assert mri["pre_contrast"]["phase"] == 0
    assert mri["shape"] == [32, 192, 320]
    assert [view["in_use"] for view in whole["study"]["ultrasound"]].count(True) == 12
    assert len(whole["study"]["ultrasound"]) == 25
    assert len(whole["files"]) == len(list(shuffled.iterdir()))
    assert all(bool(use["used_as"]) != bool(use["why_not"]) for use in whole["files"])
    for assessment in whole["assessments"]:
        verdict = assessment["in_distribution"]
        assert verdict["inside"] is False, "learnt from made-up patients, it has seen nothing like real ones"
        assert verdict["distance"] > verdict["threshold"]
        assert verdict["reasons"]
        assert assessment["notice"] == DEMONSTRATION_SENTENCE
        assert assessment["predictions"]["high_grade"]["probability"] is None
    first_page = pdf_text(report)[0]
    assert "DRAFT" in first_page
    assert "same patient" in first_page
    assert "say nothing about this patient" in " ".join(pdf_text(report))


def test_i1_the_override_makes_a_joint_one_and_is_printed(shuffled: Path, tmp_path: Path) -> None:
    report, written = tmp_path / "joint.pdf", tmp_path / "joint.json"
    answer = breastai(
        "assess",
        shuffled,
        "--report",
        report,
        "--json",
        written,
        "--device",
        "cpu",
        "--confirm-same-patient",
        "--side",
        "left",
        "--show-numbers",
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    whole = document(written)
    (assessment,) = whole["assessments"]
    assert assessment["scope"] == "joint"
    assert assessment["subject"].startswith("Left breast (chosen)")
    assert whole["choices"]["same_patient_confirmed"] is True
    assert 0 <= assessment["predictions"]["high_grade"]["probability"] <= 1
    assert assessment["valid_for_patients"] is False
    assert assessment["inputs"]["phases"] == [0, 1, 2, 3, 4]
    assert assessment["inputs"]["phases_not_used"] == [5]
    assert "5 of 6 MRI phases" in assessment["subject"]
    assert "5 of 6 MRI phases" in answer.stdout
    assert whole["draft"] is False
    pages = " ".join(pdf_text(report))
    assert "DRAFT" not in pages, "the exit code says done, and so do JSON and PDF"
    assert whole["questions"], "what is only told is there"
    assert "Still open" in pages
    assert "12 with an angle (assumed)" in pages
    assert "5 of 6 MRI phases" in pages
    assert "confirm" in pages.lower(), "that a person overrode the identity check must be printed"


def test_ultrasound_of_one_woman_alone(real_data: Path, tmp_path: Path) -> None:
    written = tmp_path / "us.json"
    answer = breastai("assess", real_data / "us-sweep", "--json", written, "--device", "cpu")
    assert answer.returncode in (0, 3), answer.stdout + answer.stderr
    (assessment,) = document(written)["assessments"]
    assert assessment["scope"] == "ultrasound"
    assert assessment["in_distribution"]["inside"] is False
    assert "MRI" in assessment["inputs"]["missing"]


def test_several_patients_in_one_folder_are_chosen_between(real_data: Path, tmp_path: Path) -> None:
    answer = breastai("assess", real_data / "us-dicom", "--json", tmp_path / "out.json")
    assert answer.returncode == 1
    assert "--patient" in answer.stderr
    assert not (tmp_path / "out.json").exists()
    chosen = breastai("assess", real_data / "us-dicom", "--json", tmp_path / "out.json", "--patient", 2, "--device", "cpu")
    assert chosen.returncode in (0, 3), chosen.stdout + chosen.stderr
    whole = document(tmp_path / "out.json")
    assert whole["study"]["mri"] is None
    assert [each["in_distribution"]["inside"] for each in whole["assessments"]] == [False], "real images, learnt from made-up ones"
    wrong = breastai("assess", real_data / "us-dicom", "--patient", 99)
    assert wrong.returncode == 1
    assert "from 1 to" in wrong.stderr

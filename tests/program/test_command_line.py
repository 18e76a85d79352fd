"""The commands as a person types them, each in a process of its own: one sentence on failure, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def breastai(*arguments: object, timeout_s: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program; it must not print a traceback, whatever it is asked."""
    answer = subprocess.run(
        [sys.executable, "-m", "breastai_gui", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=timeout_s,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
    )
    assert "Traceback" not in answer.stdout + answer.stderr, answer.stderr
    return answer


def complaint(answer: subprocess.CompletedProcess[str]) -> str:
    """Return the one sentence of a command that failed."""
    assert answer.returncode == 1, (answer.stdout, answer.stderr)
    lines = answer.stderr.strip().splitlines()
    assert len(lines) == 1, answer.stderr
    assert lines[0].startswith("breastai: ")
    return lines[0]


def test_version_and_help() -> None:
    assert breastai("--version").stdout == "breastai 0.1.0\n"
    overview = breastai("--help")
    assert overview.returncode == 0
    for command in ("demo", "assess", "check", "train", "phantom"):
        assert command in overview.stdout
    assert "RESEARCH USE ONLY" in overview.stdout


def test_the_entry_point_is_installed() -> None:
    script = Path(sys.executable).with_name("breastai" + (".exe" if os.name == "nt" else ""))
    if not script.exists():
        pytest.skip("the program is not installed beside this Python")
    assert subprocess.run([script, "--version"], capture_output=True, text=True, check=True).stdout == "breastai 0.1.0\n"


@pytest.mark.parametrize("wrong", [["assess"], ["assess", ".", "--side", "up"], ["--unheard-of"], ["assess", ".", "--series", "one"]])
def test_wrong_options_end_with_2(wrong: list[str]) -> None:
    answer = breastai(*wrong)
    assert answer.returncode == 2
    assert "usage" in answer.stderr


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    assert "no file or folder" in complaint(breastai("assess", tmp_path / "nowhere"))
    assert "no file or folder" in complaint(breastai(tmp_path / "nowhere"))


def test_a_folder_without_images_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "empty.dcm").write_bytes(b"")
    said = complaint(breastai("assess", tmp_path, "--report", tmp_path / "out.pdf"))
    assert "no image that can be read" in said
    assert "empty.dcm" in said
    assert not (tmp_path / "out.pdf").exists()


def test_an_empty_folder_with_a_name_in_chinese_and_blanks(tmp_path: Path) -> None:
    folder = tmp_path / "病人 one two"
    folder.mkdir()
    assert complaint(breastai("assess", folder))


def test_a_report_that_cannot_be_written_is_said_before_anything_is_computed(tmp_path: Path) -> None:
    (tmp_path / "in the way").write_text("")
    said = complaint(breastai("assess", tmp_path, "--report", tmp_path / "in the way" / "out.pdf"))
    assert "cannot be written" in said
    assert "cannot be written" in complaint(breastai("assess", tmp_path, "--report", tmp_path))


def test_a_home_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = breastai("check", BREASTAI_HOME=str(tmp_path / "file"))
    assert answer.returncode == 1
    assert "BREASTAI_HOME" in answer.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can be without a display")
def test_the_window_without_a_display_is_one_sentence() -> None:
    environment = dict.fromkeys(("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"), "")
    assert "no display" in complaint(breastai(**environment))


def test_a_training_run_that_is_not_one_is_said(tmp_path: Path) -> None:
    answer = breastai("train", tmp_path / "no run")
    assert answer.returncode not in (0, 2)
    assert "no training run" in answer.stdout + answer.stderr


def test_the_log_names_no_patient_and_no_path(tmp_path: Path) -> None:
    folder = tmp_path / "ZZCANARY^PAT"
    folder.mkdir()
    (folder / "CANARY-7731.dcm").write_bytes(b"DICM" * 100)
    home = tmp_path / "home"
    breastai("assess", folder, "--report", folder / "CANARY.pdf", BREASTAI_HOME=str(home))
    logs = list((home / "logs").iterdir())
    assert logs
    assert all("CANARY" not in log.read_text(encoding="utf-8") for log in logs)


def test_g9_the_services_and_the_door_import_nothing_slow() -> None:
    code = (
        "import sys, breastai_gui.__main__, breastai_gui.services.application, breastai_gui.services.command_line\n"
        "slow = {'torch', 'vtk', 'vtkmodules', 'SimpleITK', 'monai', 'scipy', 'pydicom', 'reportlab', 'PySide6'} & set(sys.modules)\n"
        "print(sorted(slow))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can be without a display")
@pytest.mark.parametrize("display", [":9871", "nonsense", "127.0.0.1:59871", ":9871.0"])
def test_a_display_that_does_not_answer_is_none(display: str) -> None:
    assert "no display" in complaint(breastai(DISPLAY=display, WAYLAND_DISPLAY="", QT_QPA_PLATFORM=""))


def test_made_up_patients_are_written_with_their_answers(tmp_path: Path) -> None:
    answer = breastai("phantom", tmp_path / "cohort", "--patients", 1, "--seed", 4, "--dicom")
    assert answer.returncode == 0, answer.stderr
    table = (tmp_path / "cohort" / "labels.csv").read_text(encoding="utf-8").splitlines()
    assert table[0] == "patient,lymph_node_metastasis,grade,ki67_percent"
    assert len(table) == 2
    name, node, grade, ki67 = table[1].split(",")
    assert node in ("yes", "no")
    assert grade in ("1", "2", "3")
    assert 0 <= int(ki67) <= 100
    assert (tmp_path / "cohort" / name / "mri").is_dir()
    assert "training wizard" in " ".join(breastai("phantom", "--help").stdout.split())
    assert breastai("phantom", tmp_path, "--patients", 0).returncode == 2


def test_a_report_into_a_folder_that_is_not_there_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    answer = breastai("assess", str(tmp_path), "--report", str(tmp_path / "missing" / "out.pdf"))
    assert answer.returncode == 1
    assert "there is no folder" in answer.stderr
    assert not (tmp_path / "missing").exists()

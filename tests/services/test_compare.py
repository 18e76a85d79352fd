"""`breastai compare`, typed as a person does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from breastai_gui.services.command_line import parse
from breastai_gui.services.commands import compare
from breastai_gui.services.places import Places
from breastai_model.baselines.comparison_plan import ComparisonError
from breastai_model.phantom.cohort import PhantomCohort

if TYPE_CHECKING:
    from pathlib import Path

SMALL = (*("--mri-shape", "4,16,16"), *("--us-shape", "16,16"), *("--patients", "7"), *("--held-out", "3"), *("--processes", "1"))


def run(out: Path, *words: str) -> tuple[int, list[str]]:
    said: list[str] = []
    code = compare.run(
        parse(["compare", "--out", str(out), *SMALL, "--systems", "prevalence,hand-features", *words]), Places(out / "home"), said.append
    )
    return code, said


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("comparison")
    code, said = run(out, "--seeds", "1,2", "--cost")
    assert code == 0
    assert any(line.startswith("Expected: ") and "hours in all for systems: 2, seeds: 2, on" in line for line in said)
    assert not (out / "table.md").exists()
    return out


def test_it_stops_after_its_minutes_and_goes_on(folder: Path) -> None:
    code, said = run(folder, "--seeds", "1,2", "--minutes", "0")
    assert code == compare.NOT_YET
    assert said[-1].startswith("4 of 4 are open: start the same command again")
    code, said = run(folder, "--seeds", "1,2")
    assert code == 0
    text = (folder / "table.md").read_text("utf-8")
    assert text.startswith("*our re-implementations from published descriptions, not the published systems.*")
    assert "phantoms, clinic" in text
    assert "Nothing here is about real patients." in text
    assert "What could be reached" in text
    result = json.loads((folder / "result.json").read_text("utf-8"))
    assert list(result["systems"]) == ["prevalence", "hand-features"]
    assert len(result["test_patients"][0]) == 3


def test_the_cost_may_take_pieces_too(folder: Path, tmp_path: Path) -> None:
    words = ("--cohort", str(folder / "cohort"), "--seeds", "1")
    code, said = run(tmp_path, *words, "--minutes", "0")
    assert code == compare.NOT_YET
    assert said[-1] == "The time is up before the cost is known: start the same command again to go on."
    assert not (tmp_path / "results" / "prevalence-1-0.json").exists()
    assert run(tmp_path, *words)[0] == 0


def test_other_options_in_the_same_folder_are_refused(folder: Path) -> None:
    with pytest.raises(ComparisonError, match="another --out folder"):
        run(folder, "--seeds", "1,2", "--epochs", "3")
    with pytest.raises(ComparisonError, match="another --out folder"):
        run(folder, "--seeds", "1,2", "--us-shape", "32,32")


def test_the_same_patients_can_be_taken_from_elsewhere(folder: Path, tmp_path: Path) -> None:
    code, _ = run(tmp_path, "--cohort", str(folder / "cohort"), "--seeds", "1")
    assert code == 0
    first, second = (json.loads((place / "result.json").read_text("utf-8")) for place in (folder, tmp_path))
    assert first["test_patients"] == second["test_patients"]
    assert not (tmp_path / "cohort").exists()


def test_folds_hold_everybody_out_once_for_networks_too(folder: Path, tmp_path: Path) -> None:
    words = ("--systems", "ours,us-only,hand-features", "--folds", "2", "--epochs", "1", "--mri-shape", "4,16,16", "--us-shape", "16,16")
    code, _ = run(tmp_path, "--cohort", str(folder / "cohort"), "--seeds", "1", *words)
    assert code == 0
    result = json.loads((tmp_path / "result.json").read_text("utf-8"))
    assert result["complete"]
    everybody = [patient for fold in result["test_patients"] for patient in fold]
    assert len(result["test_patients"]) == 2
    assert sorted(everybody) == list(range(len(PhantomCohort(folder / "cohort"))))
    assert list(result["systems"]) == ["hand-features", "us-only", "ours"]
    for system in result["systems"].values():
        assert 0 <= system["figures"]["both"]["high_grade"]["auc"]["value"] <= 1
    assert "2-fold, answers pooled over the folds" in (tmp_path / "table.md").read_text("utf-8")


def test_a_wrong_name_lists_the_systems(tmp_path: Path) -> None:
    code, said = run(tmp_path, "--systems", "ours,mumnet")
    assert code == 2
    assert said[0].startswith("There is no system 'mumnet'; there are mum-net, mpifr-svm")
    assert list(tmp_path.iterdir()) == []


def test_numbers_are_asked_for_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(tmp_path, "--seeds", "one")
    assert "whole numbers separated by commas" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(tmp_path, "--mri-shape", "4,16")
    assert "3 whole numbers" in capsys.readouterr().err

"""A fast preview goes into no document, and is asked for with numbers alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from breastai_gui.services import assessment_json
from breastai_gui.services.application import write_report
from breastai_gui.services.command_line import parse, run
from breastai_gui.services.preview import PreviewError
from breastai_gui.services.session import Session
from phantoms import simple_assessment, simple_study

if TYPE_CHECKING:
    from pathlib import Path


def test_no_report_and_no_document_holds_numbers_in_bfloat16(tmp_path: Path) -> None:
    study = simple_study(phases=2, views=2)
    session = Session(study)
    exact = simple_assessment(study)
    session.set_assessments((replace(exact, prediction=replace(exact.prediction, precision="bfloat16")),))
    with pytest.raises(PreviewError, match="go into no report"):
        write_report(session, tmp_path / "report.pdf")
    with pytest.raises(PreviewError, match="go into no report"):
        assessment_json.write(session, "1", tmp_path / "answer.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [["--report", "answer.pdf", "--no-heatmaps"], ["--json", "answer.json", "--no-heatmaps"], []])
def test_the_command_refuses_a_preview_with_anything_to_keep(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(parse(["assess", str(tmp_path), "--preview", *options])) == 1
    assert "The fast preview is for a quick look at the numbers" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

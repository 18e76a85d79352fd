"""`breastai evaluate`: a run's predictions become a page that needs nothing else and a result that says the same."""

from __future__ import annotations

import json
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from breastai_gui.services.command_line import parse, run
from breastai_gui.services.evaluation_plots import Axes, decision_plot, roc_plot
from breastai_gui.services.evaluation_report import CANNOT, MADE_UP, EvaluationError, evaluate_run
from breastai_gui.services.evaluation_report_tables import PAPER_COLUMNS, PROBABILITY_COLUMNS, READING_COLUMNS, decimal, percent
from breastai_model.calibration import probabilities
from breastai_model.case import TASKS
from breastai_model.plan import Plan, plan_with
from breastai_model.recipe import preset
from breastai_model.run_folder import RunFolder
from breastai_model.training.calibrate import calibrated
from breastai_model.training.evaluate import evaluated
from breastai_model.training.predictions import Predictions, PredictionsError

RECIPE = preset("tiny", mri_shape=(4, 16, 16), us_shape=(16, 16))


def drawn(patients: int, folds: int, seed: int = 0) -> Predictions:
    chance = np.random.default_rng(seed)
    right = chance.normal(-0.3, 1.6, (patients, 3))
    labels = (chance.random((patients, 3)) < probabilities(right, 1.0)).astype(np.int64)
    labels[::7, 1] = -1
    scores = {"both": 2.0 * right, "mri": right + chance.normal(0, 2, right.shape), "us": chance.normal(0, 1, right.shape)}
    words = tuple(chance.choice(["vendor A", "vendor B"], patients))
    return Predictions(labels, np.arange(patients), np.arange(patients) % folds, scores, {"MRI vendor": words})


def finished(path, predictions: Predictions | None, plan: Plan | None = None) -> RunFolder:
    folder = RunFolder(path)
    folder.create(plan or plan_with("Test model", RECIPE, "stable"), {})
    if predictions is not None:
        predictions.write(path / "predictions.json")
    return folder


class Page(HTMLParser):
    """The page as a reader gets it: its text, its tags, and whether each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data.strip())


@pytest.fixture(scope="module")
def five_folds(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "one"
    finished(path, drawn(260, 5), plan_with("Test model", RECIPE, "stable", folds=5))
    written = evaluate_run(path)
    return written, Page(written.page.read_text("utf-8")), json.loads((path / "evaluation" / "result.json").read_text("utf-8"))


def test_every_figure_of_the_result_stands_on_the_page_with_its_interval(five_folds):
    _, page, result = five_folds
    columns = {**dict.fromkeys((name for name, _ in (*PAPER_COLUMNS, *READING_COLUMNS)), percent)}
    columns |= dict.fromkeys((name for name, _ in PROBABILITY_COLUMNS), decimal)
    words = set(page.words)
    for scope in ("both", "mri", "us"):
        for task in TASKS:
            found = result["tasks"][scope][task]
            assert set(found["figures"]) == set(columns)
            for name, figure in found["figures"].items():
                write = columns[name]
                assert write(figure["value"]) in words
                assert f"{write(figure['low'])} to {write(figure['high'])}" in words
            assert ", ".join(map(str, found["confusion"])) in words
            for share in ("coverage", "coverage_negative", "coverage_positive", "one_answer", "both_answers", "right_if_one"):
                assert percent(found["sets"][share]["value"]) in words
            mean = found["fold_means"]["auc"]
            assert f"{percent(mean['mean'])} ± {percent(mean['deviation'])}" in words
    for each in result["comparisons"]:
        assert f"{percent(each['auc']['first'])} and {percent(each['auc']['second'])}" in words
        assert str(each["only_first_right"]) in words
    for each in result["subgroups"]:
        assert {each["word"], str(each["cases"])} <= words
    for note in result["notes"]:
        assert note in words


def test_the_table_has_the_papers_columns_for_each_task_and_modality(five_folds):
    written, page, _ = five_folds
    start = page.words.index("As in the paper's Tables 2 and 3")
    head = [word for word in page.words[start + 1 : start + 40] if word][:8]
    assert head == ["Task", "Modalities", "Cases (positive)", "Accuracy %", "Precision %", "Sensitivity %", "Specificity %", "AUC %"]
    known = written.evaluation.tasks["us"]["high_grade"]
    assert f"{known.cases} ({known.positives})" in page.words
    assert known.cases == 260 - 38


def test_the_page_needs_nothing_else_and_is_whole(five_folds):
    _, page, _ = five_folds
    assert page.open == []
    assert not [tag for tag, attributes in page.tags if tag in ("script", "link", "img", "iframe") or {"src", "href"} & set(attributes)]
    plots = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"]
    assert len(plots) == 3 * 5
    assert plots[:2] == ["ROC", "Decision curve, 95 % band of both"]


def test_made_up_patients_are_said_to_be_made_up_and_what_they_cannot_tell(five_folds):
    _, page, result = five_folds
    assert page.words.count(MADE_UP) == 2
    assert set(CANNOT) <= set(page.words)
    assert result["made_up_patients"] is True
    assert result["statement"] == MADE_UP


def test_the_plan_decides_what_is_noted(tmp_path, five_folds):
    assert not [note for note in five_folds[2]["notes"] if "chose the best epoch" in note]
    finished(tmp_path / "one", drawn(60, 1))
    assert "held-out patients also chose the best epoch" in evaluate_run(tmp_path / "one").page.read_text("utf-8")
    plan = plan_with("Watched", RECIPE, "stable", watch="training")
    finished(tmp_path / "run", drawn(60, 1), plan)
    written = evaluate_run(tmp_path / "run")
    text = written.page.read_text("utf-8")
    assert "chose the best epoch" not in text
    assert "too few to say: sets need at least 100 patients" in text
    assert "<h2>Folds</h2>" not in text


def test_other_patients_are_read_with_the_calibration_of_the_run(tmp_path):
    own, other = drawn(260, 1), drawn(200, 1, seed=5)
    finished(tmp_path / "run", own)
    other.write(tmp_path / "other.json")
    written = evaluate_run(tmp_path / "run", tmp_path / "report", tmp_path / "other.json")
    assert written.evaluation.calibration == "given"
    assert written.evaluation.tasks["both"]["high_grade"].thresholds == (calibrated(own).threshold("both", "high_grade"),) * 2
    assert "fitted on other patients, before these were read" in written.page.read_text("utf-8")
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["evaluation.html", "result.json"]
    # The run's own file named by hand is not read with a calibration that was fitted on it.
    assert evaluate_run(tmp_path / "run", None, tmp_path / "run" / "predictions.json").evaluation.calibration == "cross-fitted"


def test_the_coverage_of_the_sets_can_be_chosen(tmp_path):
    finished(tmp_path / "run", drawn(400, 1))
    sizes = {}
    for coverage in (0.6, 0.95):
        assert run(parse(["evaluate", str(tmp_path / "run"), "--coverage", str(coverage)])) == 0
        result = json.loads((tmp_path / "run" / "evaluation" / "result.json").read_text("utf-8"))
        assert result["coverage"] == coverage
        sizes[coverage] = (tmp_path / "run" / "evaluation" / "evaluation.html").read_text("utf-8")
    assert "Sets at 60 % coverage" in sizes[0.6]
    assert "Sets at 95 % coverage" in sizes[0.95]
    with pytest.raises(EvaluationError, match=r"not in 1\.5"):
        evaluate_run(tmp_path / "run", coverage=1.5)


def test_a_cohort_without_ultrasound_has_empty_rows_and_says_so(tmp_path):
    whole = drawn(150, 1)
    nothing = np.full((150, 3), np.nan)
    finished(tmp_path / "run", Predictions(whole.labels, whole.groups, whole.folds, {**whole.log_odds, "both": nothing, "us": nothing}))
    written = evaluate_run(tmp_path / "run")
    page = Page(written.page.read_text("utf-8"))
    assert written.evaluation.tasks["mri"]["high_ki67"].cases == 150
    assert written.evaluation.comparisons == ()
    (note,) = [word for word in page.words if word.startswith("There is no case with a known answer and these images")]
    assert "ultrasound alone, high ki67" in note
    assert "MRI alone" not in note
    assert page.words.count("0 (0)") == 6 * 3


def test_names_cannot_become_tags(tmp_path):
    path = tmp_path / "<b>x&"
    finished(path, drawn(60, 1))
    text = evaluate_run(path).page.read_text("utf-8")
    assert "Run &lt;b&gt;x&amp;:" in text
    assert "<b>x" not in text
    assert "<b>" not in Axes("<b>", "<b>", "<b>").drawn([])


def test_the_plots_draw_what_was_measured():
    found = evaluated(drawn(260, 1), resamples=50)
    by_scope = {scope: of_scope["high_ki67"] for scope, of_scope in found.tasks.items()}
    roc = roc_plot(by_scope, "ROC")
    assert roc.count("<polyline") == 4
    assert f"MRI + ultrasound {by_scope['both'].figures['auc'].value:.3f}" in roc
    curve = decision_plot(by_scope, "Decision curve")
    assert curve.count("<polygon") == 1
    assert "treat all" in curve
    axes = Axes("", "", "")
    assert axes.at(0, 0) == axes.at(-5, -5)  # outside the frame moves to its edge
    for corner in by_scope["both"].roc[[0, -1]]:
        x, y = axes.at(*corner)
        assert f"{x:.1f},{y:.1f}" in roc


def test_a_run_without_predictions_is_told_in_a_sentence(tmp_path):
    finished(tmp_path / "old", None)
    with pytest.raises(EvaluationError, match=r"The run old has no predictions\.json: .*older version"):
        evaluate_run(tmp_path / "old")
    with pytest.raises(EvaluationError, match=r"is not the folder of a training run"):
        evaluate_run(tmp_path)
    (tmp_path / "old" / "predictions.json").write_text("{}")
    with pytest.raises(PredictionsError, match=r"no list of predictions"):
        evaluate_run(tmp_path / "old")
    assert not (tmp_path / "old" / "evaluation").exists()


def test_the_command_prints_the_table_and_where_the_report_is(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("BREASTAI_HOME", str(tmp_path / "home"))
    finished(tmp_path / "run", drawn(60, 1))
    assert run(parse(["evaluate", str(tmp_path / "run"), "--out", str(tmp_path / "out")])) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 9 + 2
    assert lines[1].startswith("Lymph node metastasis")
    assert lines[-2:] == [MADE_UP, f"The report: {tmp_path / 'out' / 'evaluation.html'}"]
    assert run(parse(["evaluate", str(tmp_path / "out")])) == 1
    assert "is not the folder of a training run" in capsys.readouterr().err


def test_it_runs_without_torch(tmp_path):
    finished(tmp_path / "run", drawn(60, 1))
    code = (
        "import sys; from pathlib import Path; from breastai_gui.services.evaluation_report import evaluate_run; "
        f"evaluate_run(Path({str(tmp_path / 'run')!r})); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"

"""The training wizard from a folder to a model in use, with real files, a real process and the real trainer."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt

from breastai_gui.services.application import Application
from breastai_gui.services.phantom_cohort import write_phantom_cohort
from breastai_gui.services.places import Places
from breastai_gui.views.gui_thread import GuiThread
from breastai_gui.views.training.wizard import TrainingWizard

PATIENTS = 20


@pytest.fixture(scope="module")
def cohort_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    write_phantom_cohort(folder, PATIENTS, seed=1)
    return folder


@pytest.fixture
def application(qtbot):
    gui = GuiThread()
    application = Application(Places(), gui.post)
    yield application
    application.close()


@pytest.fixture
def wizard(qtbot, application):
    wizard = TrainingWizard(application)
    qtbot.addWidget(wizard)
    wizard.show()
    return wizard


def click(qtbot, button):
    assert button.isEnabled(), button.text()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def check(qtbot, wizard, folder):
    wizard.data_page.folder_edit.setText(str(folder))
    wizard.data_page.table_edit.setText(str(folder / "labels.csv"))
    click(qtbot, wizard.next_button)
    qtbot.waitUntil(lambda: wizard.check_page.cohort is not None, timeout=60_000)


def test_twenty_phantoms_become_a_model_in_use_and_the_run_outlives_the_window(qtbot, application, wizard, cohort_folder):
    assert not wizard.next_button.isEnabled()
    check(qtbot, wizard, cohort_folder)
    assert wizard.check_page.model.rowCount() == PATIENTS
    assert f"{PATIENTS} of {PATIENTS} patients are ready" in wizard.check_page.summary_label.text()

    click(qtbot, wizard.next_button)
    wizard.run_page.name_edit.setText("from the test")
    wizard.run_page.epochs_box.setValue(40)
    click(qtbot, wizard.next_button)
    qtbot.waitUntil(lambda: wizard.run_page.plot.shown_epochs() >= 1, timeout=90_000)  # the curve is live
    assert wizard.run_page.status.state == "running"
    assert "the training goes on" in wizard.run_page.state_label.text()
    assert not wizard.next_button.isEnabled()
    wizard.close()

    again = TrainingWizard(application)
    qtbot.addWidget(again)
    again.show()
    assert again.data_page.run_list.count() == 1
    assert "from the test" in again.data_page.run_list.item(0).text()
    again.data_page.run_list.setCurrentRow(0)
    click(qtbot, again.data_page.watch_button)
    assert again.page == 2
    seen = again.run_page.plot.shown_epochs()
    qtbot.waitUntil(lambda: again.run_page.plot.shown_epochs() > seen, timeout=60_000)  # it went on

    click(qtbot, again.run_page.finish_button)
    qtbot.waitUntil(again.next_button.isEnabled, timeout=60_000)
    assert again.run_page.status.state == "finished"
    click(qtbot, again.next_button)
    assert "made up" in again.use_page.honest_label.text()
    figures = [again.use_page.metrics_table.item(row, 1).text() for row in range(3)]
    assert all(figure == "not measurable" or 0 <= float(figure) <= 1 for figure in figures)
    assert application.models.active().bundled
    click(qtbot, again.use_page.install_button)
    qtbot.waitUntil(lambda: again.use_page.install_button.text() == "Installed", timeout=60_000)
    model = application.models.active()
    assert (model.name, model.trained_on) == ("from the test", "synthetic")
    assert "Now in use: from the test 1.0, learnt from made-up patients" in again.use_page.active_label.text()


def test_a_patient_with_a_problem_holds_the_wizard_up_until_left_out_with_a_reason(qtbot, wizard, cohort_folder, tmp_path):
    for number in range(1, 9):
        (tmp_path / f"phantom-{number:03d}").symlink_to(cohort_folder / f"phantom-{number:03d}")
    rows = (cohort_folder / "labels.csv").read_text("utf-8").splitlines()[:9]
    (tmp_path / "labels.csv").write_text("\n".join([*rows, "nobody,yes,3,50"]) + "\n", "utf-8")
    check(qtbot, wizard, tmp_path)
    page = wizard.check_page
    assert not wizard.next_button.isEnabled()
    page.table.selectRow(8)
    assert "No folder has this name" in page.detail_label.text()
    assert not page.accept_button.isEnabled()  # what cannot be read cannot be accepted
    page.leave_out("Images are incomplete")
    assert wizard.next_button.isEnabled()
    click(qtbot, page.take_back_button)
    assert not wizard.next_button.isEnabled()
    page.leave_out("Images are incomplete")
    assert page.cohort.to_json()["left_out"] == [{"patient": "nobody", "reason": "Images are incomplete"}]


def test_cancelled_and_discarded_nothing_stays(qtbot, wizard, cohort_folder):
    check(qtbot, wizard, cohort_folder)
    click(qtbot, wizard.next_button)
    wizard.run_page.epochs_box.setValue(100)
    click(qtbot, wizard.next_button)
    folder = wizard.run_page.folder
    qtbot.waitUntil(lambda: wizard.run_page.status.progress.stage != "", timeout=60_000)
    wizard.run_page.discard()
    qtbot.waitUntil(lambda: not folder.exists(), timeout=60_000)
    assert wizard.runs.list() == ()
    assert wizard.next_button.text() == "Start training"


def test_the_data_page_says_what_is_missing_and_lets_columns_be_chosen(qtbot, wizard, tmp_path):
    page = wizard.data_page
    assert page.why_not_yet() == "Choose the folder of the patients."
    page.folder_edit.setText(str(tmp_path))
    page.table_edit.setText(str(tmp_path / "t.csv"))
    assert "cannot be read" in page.why_not_yet()
    (tmp_path / "t.csv").write_text("Nummer;Befund A;<b>Ki-67</b>\n1;ja;5\n", "utf-8")
    page.table_edit.setText("")
    page.table_edit.setText(str(tmp_path / "t.csv"))
    assert page.why_not_yet() == "Choose the column that names the patients."
    page.patient_box.setCurrentIndex(1)
    assert page.request().columns.patient == 0
    page.ki67_box.setCurrentIndex(1)
    assert page.why_not_yet() == "Each column can be chosen once."
    page.ki67_box.setCurrentIndex(3)
    assert wizard.next_button.isEnabled()
    assert page.cutoff_box.isEnabled()

"""The whole spine without a window: open, choose, assess, export, reopen; no answer ever reaches another study."""

from __future__ import annotations

import dataclasses
import queue
import time
from typing import TYPE_CHECKING, Any

import pytest

from breastai_gui.services.annotations import DCE, Annotation
from breastai_gui.services.application import Application, fitting, follow_identity
from breastai_gui.services.demo_patient import demo_patient
from breastai_gui.services.places import Places
from breastai_gui.services.session import Choices, Session, SessionState
from phantoms import simple_study

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from breastai_gui.data.study import Catalogue, ReadProgress, Selection

MARK = Annotation("m1", "ruler", DCE, ((0.0, 0.0, 0.0), (3.0, 4.0, 0.0)), (0.0, 0.0, 1.0), "note")


class Window:
    """A stand-in for the window: it has an event loop and remembers what it was told."""

    def __init__(self) -> None:
        self.calls: queue.Queue[Callable[[], None]] = queue.Queue()
        self.told: list[Any] = []
        self.progress: list[ReadProgress] = []
        self.catalogues: list[Catalogue] = []
        self.answer: Callable[[Catalogue], Selection | None] = lambda catalogue: catalogue.proposed

    def choose(self, catalogue: Catalogue, answer: Callable[[Selection | None], None]) -> None:
        self.catalogues.append(catalogue)
        answer(self.answer(catalogue))

    def tell(self, *values: Any) -> None:
        self.told.append(values[0] if values else None)

    def run_until(self, holds: Callable[[], bool], timeout_s: float = 120.0) -> None:
        until = time.monotonic() + timeout_s
        while not holds():
            self.calls.get(timeout=max(0.01, until - time.monotonic()))()

    def run_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                self.calls.get(timeout=left)()
            except queue.Empty:
                return


@pytest.fixture
def window() -> Window:
    return Window()


@pytest.fixture
def application(window: Window) -> Iterator[Application]:
    application = Application(Places(), window.calls.put)
    yield application
    application.close()


@pytest.fixture(scope="module")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the demo patient was already made."""
    home = tmp_path_factory.mktemp("demo")
    demo_patient(Places(home))
    return home


@pytest.fixture(scope="module")
def demo_folder(demo_home: Path) -> Path:
    return demo_patient(Places(demo_home))


def opened(application: Application, window: Window, path: Path) -> Session:
    window.told.clear()
    application.open(path, window.choose, window.tell, window.tell, window.progress.append)
    window.run_until(lambda: bool(window.told))
    assert isinstance(window.told[0], Session), window.told
    session = window.told[0]
    window.told.clear()
    return session


def test_a_folder_becomes_a_session_with_its_work_of_last_time(window: Window, demo_folder: Path) -> None:
    application = Application(Places(), window.calls.put)
    session = opened(application, window, demo_folder)
    assert session.study.dce is not None
    assert (session.study.dce.phase_count, len(session.study.ultrasound)) == (5, 12)
    assert {progress.stage for progress in window.progress} == {"headers", "pixels"}
    session.add_annotation(MARK)
    session.choose(midline_mm=2.5)
    application.close()
    again = Application(Places(), window.calls.put)
    reopened = opened(again, window, demo_folder)
    assert reopened.annotations == (MARK,)
    assert reopened.choices.midline_mm == 2.5
    again.close()


def test_failures_are_one_sentence(application: Application, window: Window, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    for path in (tmp_path, tmp_path / "nowhere"):
        window.told.clear()
        application.open(path, window.choose, window.tell, window.tell, window.progress.append)
        window.run_until(lambda: bool(window.told))
        (said,) = window.told
        assert isinstance(said, str)
        assert said.endswith(".")
        assert "Traceback" not in said
    assert application.session is None


def test_g6_cancelling_while_files_are_read_calls_nothing_and_the_next_open_works(
    application: Application, window: Window, demo_folder: Path
) -> None:
    task = application.open(demo_folder, window.choose, window.tell, window.tell, window.progress.append)
    window.run_until(lambda: bool(window.progress))
    begun = time.monotonic()
    task.cancel()
    assert time.monotonic() - begun < 2
    window.run_for(1.0)
    assert window.told == []
    assert opened(application, window, demo_folder).study.phantom


def test_assessing_and_exporting(application: Application, window: Window, demo_folder: Path, tmp_path: Path) -> None:
    session = opened(application, window, demo_folder)
    application.settings["device"] = "cpu"
    steps: list[float] = []
    application.assess(session, window.tell, window.tell, lambda fraction, _: steps.append(fraction))
    window.run_until(lambda: bool(window.told))
    assert window.told == [None]
    (assessment,) = session.assessments
    assert assessment.scope == "joint"
    assert assessment.study_key == session.study.key
    assert not assessment.says_nothing
    assert steps == sorted(steps)
    assert assessment.prediction.contributions is None, "the answer does not wait for them"
    window.told.clear()
    application.weigh(session, window.tell)
    application.map_phases(session, window.tell)
    window.run_until(lambda: len(window.told) == 2)
    assert window.told == ["", ""], "asked for together, and neither is lost"
    (weighed,) = session.assessments
    assert weighed.prediction.phase_heatmaps is not None
    assert weighed.prediction.phase_heatmaps.phases == weighed.prediction.inputs.phases
    assert weighed.prediction.contributions is not None
    assert weighed.prediction.high_grade == assessment.prediction.high_grade
    window.told.clear()
    target = tmp_path / "report of 王.pdf"
    application.export_report(session, target, window.tell, window.tell)
    window.run_until(lambda: bool(window.told))
    assert window.told == [target]
    assert target.read_bytes().startswith(b"%PDF-")
    window.told.clear()
    (tmp_path / "folder.pdf").mkdir()
    application.export_report(session, tmp_path / "folder.pdf", window.tell, window.tell)
    window.run_until(lambda: bool(window.told))
    assert isinstance(window.told[0], str)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.pdf", "report of 王.pdf"]


def test_i2_an_answer_never_reaches_another_study(application: Application, window: Window, demo_folder: Path, tmp_path: Path) -> None:
    import shutil

    only_ultrasound = tmp_path / "second"
    shutil.copytree(demo_folder / "ultrasound", only_ultrasound)
    for number in range(3):
        session = opened(application, window, demo_folder)
        begun: list[float] = []
        application.assess(session, window.tell, window.tell, lambda fraction, _, begun=begun: begun.append(fraction))
        if number:
            window.run_until(lambda begun=begun: bool(begun))
        other = opened(application, window, only_ultrasound)  # gives the first study up while its answer is under way
        window.run_for(0.5)
        assert window.told == []
        assert session.assessments == ()
        assert other.assessments == ()
        assert other.study.dce is None
        assert application.session is other


def test_i2_an_answer_under_old_choices_is_refused_with_a_sentence(application: Application, window: Window, demo_folder: Path) -> None:
    session = opened(application, window, demo_folder)
    application.assess(session, window.tell, window.tell, lambda *_: None)
    session.choose(midline_mm=9.0)
    window.run_until(lambda: bool(window.told))
    assert "were changed" in window.told[0]
    assert session.assessments == ()


def test_a_cancelled_assessment_leaves_the_next_one_working(application: Application, window: Window, demo_folder: Path) -> None:
    session = opened(application, window, demo_folder)
    begun: list[float] = []
    task = application.assess(session, window.tell, window.tell, lambda fraction, _: begun.append(fraction))
    window.run_until(lambda: bool(begun))
    task.cancel()
    window.run_for(0.5)
    assert window.told == []
    application.assess(session, window.tell, window.tell, lambda *_: None)
    window.run_until(lambda: bool(window.told))
    assert window.told == [None]
    assert len(session.assessments) == 1


def test_a_step_that_cannot_be_saved_is_said(application: Application, window: Window, demo_folder: Path) -> None:
    session = opened(application, window, demo_folder)
    said: list[str] = []
    application.trouble.connect(said.append)
    application.journal.close()
    session.choose(midline_mm=1.0)
    assert said
    assert session.choices.midline_mm == 1.0


def test_the_demo_patient_is_made_once_and_opens(window: Window, demo_home: Path) -> None:
    application = Application(Places(demo_home), window.calls.put)
    made = {path: path.stat().st_mtime_ns for path in application.places.cache.rglob("*")}
    application.open_demo(window.tell, window.tell, window.progress.append)
    window.run_until(lambda: bool(window.told))
    assert isinstance(window.told[0], Session), window.told
    assert window.told[0].study.phantom
    assert {path: path.stat().st_mtime_ns for path in application.places.cache.rglob("*")} == made
    application.close()


def test_making_the_demo_patient_can_be_given_up_and_leaves_nothing(application: Application, window: Window) -> None:
    task = application.open_demo(window.tell, window.tell, window.progress.append)
    window.run_until(lambda: bool(window.progress))
    window.run_for(0.3)
    begun = time.monotonic()
    task.cancel()
    application.close()
    assert time.monotonic() - begun < 5
    assert window.told == []
    assert list(application.places.cache.iterdir()) == []


def test_earlier_work_never_lands_on_a_phase_or_view_that_is_not_there() -> None:
    study = simple_study(phases=5, views=2)
    state = SessionState(
        Choices(
            phases=(0, 7), pre=6, phases_confirmed=True, views=("view-01", "gone"), angles=(("gone", 3.0), ("view-01", 4.0)), side="left"
        ),
        (MARK, Annotation("m2", "point", "gone", ((1.0, 2.0),), None), Annotation("m3", "point", "view-01", ((1.0, 2.0),), None)),
    )
    fitted = fitting(state, study)
    assert fitted.choices == Choices(angles=(("view-01", 4.0),), side="left")
    assert [mark.id for mark in fitted.annotations] == ["m1", "m3"]
    without_mri = fitting(state, dataclasses.replace(study, dce=None))
    assert [mark.id for mark in without_mri.annotations] == ["m3"]
    whole = SessionState(Choices(phases=(0, 2), pre=0, phases_confirmed=True))
    assert fitting(whole, study) == whole


def test_the_log_says_which_study_was_overridden_in_the_window_and_never_whose(caplog: pytest.LogCaptureFixture) -> None:
    session = Session(simple_study(name="ZZCANARY^PAT", ultrasound_name="Other^CANARY"))
    follow_identity(session)
    with caplog.at_level("INFO", logger="breastai_gui"):
        session.choose(side="left")
        assert caplog.messages == []
        session.choose(same_patient=True)
        session.undo()
    assert [message.split(" was ")[1].split(",")[0] for message in caplog.messages] == [
        "confirmed in the window",
        "left open in the window",
    ]
    assert all(session.study.key[:16] in message and "CANARY" not in message for message in caplog.messages)


def test_a_damaged_or_missing_model_is_told_when_the_window_opens(window: Window) -> None:
    places = Places()
    for content, told in (('{"active": "x"', "was damaged and was made anew"), ('{"active": "ab", "models": []}', "no longer installed")):
        (places.models / "models.json").write_text(content, "utf-8")
        application = Application(places, window.calls.put)
        assert [told in notice for notice in application.notices] == [True], application.notices
        application.close()

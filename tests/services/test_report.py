"""What the report says, before any layout: a session's study, choices, marks, words and answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from breastai_gui.data.study import FileUse, OtherSeries, Problem
from breastai_gui.services.annotations import DCE, Annotation
from breastai_gui.services.assessment import DEMONSTRATION_SENTENCE
from breastai_gui.services.planes import PLANES
from breastai_gui.services.report import compose
from breastai_gui.services.report_contents import CurvePlot, KeyImage, Legend, Pictures, Report, Section, Table, Words
from breastai_gui.services.session import Reading, Session, SessionState
from breastai_model.case import MAP_KINDS
from phantoms import LESION_MM, simple_assessment, simple_study

AXIAL = (0.0, 0.0, 1.0)


def section(report: Report, title: str) -> Section:
    """The section of that title."""
    found = [section for section in report.sections if section.title == title]
    assert found, f"no section {title!r} in {[section.title for section in report.sections]}"
    return found[0]


def texts(part: Section | Report) -> str:
    """All words and cells of a section or a report."""
    if isinstance(part, Report):
        return "\n".join([*part.draft_questions, *part.still_open, *(texts(section) for section in part.sections)])
    said = []
    for block in part.parts:
        if isinstance(block, Words):
            said.append(block.text)
        elif isinstance(block, Table):
            said.extend(" | ".join(row) for row in (block.header, *block.rows))
        elif isinstance(block, Legend):
            said += [block.title, block.warning]
        elif isinstance(block, Pictures):
            said.extend(image.caption for image in block.images)
    return "\n".join(said)


def images(part: Section) -> list[KeyImage]:
    """All pictures of a section."""
    return [image for block in part.parts if isinstance(block, Pictures) for image in block.images]


def assessed(**study: object) -> Session:
    """A session with a joint answer."""
    session = Session(simple_study(**study))  # type: ignore[arg-type]
    session.set_assessments((simple_assessment(session.study, probability=0.6789),))
    return session


def test_the_parts_stand_in_the_order_of_reading():
    titles = [section.title for section in compose(assessed(), "1").sections]
    expected = ["Patient and exam", "Inputs", "Dynamic phases", "The radiologist's reading", "Marks", "MRI key images", "MRI heatmaps"]
    expected += ["Enhancement curve", "Ultrasound", "Ultrasound heatmaps", "The model's answer", "Problems found while reading"]
    assert titles == [*expected, "Files", "Provenance"]


def test_patient_and_phases_are_named():
    report = compose(assessed(name="Muster^Anna"), "1")
    said = texts(section(report, "Patient and exam"))
    assert "Name | Muster, Anna" in said
    assert "Patient ID | ID-1" in said
    assert "Birth date | 1970-01-01" in said
    assert "Breast of this reading | left" in said
    phases = texts(section(report, "Dynamic phases"))
    assert "1 | series 8 | -60 s | pre-contrast | AcquisitionNumber 1 | 24" in phases
    assert "3 | series 10 | 150 s | early | AcquisitionNumber 3 | 24" in phases
    assert "5 | series 12 | 450 s | late | AcquisitionNumber 5 | 24" in phases
    assert "Order certain: AcquisitionNumber rises with the series number." in phases


def test_a_phase_that_was_left_out_is_named_as_such():
    session = assessed(phases=6)
    session.choose(phases=(0, 1, 2, 3, 4), phases_confirmed=True)
    report = compose(session, "1")
    assert "6 | series 13 | 540 s | left out by the reader" in texts(section(report, "Dynamic phases"))
    assert "Confirmed by the reader." in texts(section(report, "Dynamic phases"))
    assert "6 phases, 5 kept by the reader" in texts(section(report, "Inputs"))


def test_inputs_say_what_was_used_and_what_was_missing():
    said = texts(section(compose(assessed(phases=6, views=9), "1"), "Inputs"))
    assert "5 of 5: phases 1, 2, 3, 4, 5; not used: 6" in said
    assert "9 of 12" in said
    said = texts(section(compose(assessed(views=0), "1"), "Inputs"))
    assert "Ultrasound, angles | none | absent" in said
    said = texts(section(compose(assessed(phases=0), "1"), "Inputs"))
    assert "MRI, dynamic phases | none | absent" in said


def test_a_mismatch_makes_a_draft_and_shows_both_identities():
    session = Session(simple_study(name="One^Anna", ultrasound_name="Two^Berta"))
    session.set_assessments((simple_assessment(session.study, scope="mri"), simple_assessment(session.study, scope="ultrasound")))
    report = compose(session, "1")
    assert report.draft
    assert any("do they show the same patient" in question for question in report.draft_questions)
    said = texts(section(report, "Patient and exam"))
    assert "Name | One, Anna | Two, Berta" in said
    assert "Patient ID | ID-1 | ID-2" in said
    assert "Nobody has confirmed" in said
    assert "From MRI alone" in texts(report)
    assert "From ultrasound alone" in texts(report)


def test_the_override_of_a_mismatch_is_printed():
    session = Session(simple_study(ultrasound_name="Two^Berta"))
    session.choose(same_patient=True)
    report = compose(session, "1")
    assert not report.draft
    assert "disagree: patient ID, name. The reader confirmed that they show the same patient." in texts(report)


def test_numbers_that_say_nothing_are_hidden_until_asked_for():
    session = assessed()
    hidden = texts(section(compose(session, "1"), "The model's answer"))
    assert DEMONSTRATION_SENTENCE in hidden
    assert "Lymph node metastasis | hidden" in hidden
    for number in ("0.68", "68 %", "positive", "negative", "40 %"):
        assert number not in hidden
    session.choose(show_numbers=True)
    shown = texts(section(compose(session, "1"), "The model's answer"))
    assert DEMONSTRATION_SENTENCE in shown
    assert "Lymph node metastasis | 0.68 | one model | positive (threshold 0.50) | not calibrated" in shown
    assert "MRI shared 40 %" in shown


def test_heatmap_legends_carry_the_sentence():
    report = compose(assessed(), "1")
    for title in ("MRI heatmaps", "Ultrasound heatmaps"):
        assert DEMONSTRATION_SENTENCE in texts(section(report, title))
    phantom = compose(assessed(phantom=True), "1")
    assert DEMONSTRATION_SENTENCE not in texts(phantom)
    assert "0.68" in texts(section(phantom, "The model's answer"))


def test_key_images_with_and_without_heatmap():
    report = compose(assessed(), "1")
    plain, heated = images(section(report, "MRI key images")), images(section(report, "MRI heatmaps"))
    assert len(plain) == len(heated) == 6
    assert all(image.overlay is None for image in plain)
    assert all(image.overlay is not None and image.overlay[..., 3].max() > 100 for image in heated)
    for plane in PLANES:
        assert sum(image.caption.lower().startswith(plane) for image in plain) == 2
    axial = plain[0]
    assert axial.caption == "Axial 15/24, phase 3 (+150 s, early)"
    assert (axial.letters.left, axial.letters.right, axial.letters.top, axial.letters.bottom) == ("R", "L", "A", "P")
    assert axial.spacing_mm == (2.0, 2.0)
    sheet, warm = images(section(report, "Ultrasound")), images(section(report, "Ultrasound heatmaps"))
    assert [image.corner for image in sheet] == [f"{15 * n}°" for n in range(12)]
    assert len(warm) == 24
    assert all(image.overlay is not None for image in warm)


def test_task_maps_are_shown_for_the_phantom_and_where_the_reader_asked_for_numbers():
    session = assessed()
    for shown in (False, True):
        session.choose(show_numbers=shown)
        report = compose(session, "1")
        for title, stream in (("MRI heatmaps", "MRI shared"), ("Ultrasound heatmaps", "US shared")):
            part = section(report, title)
            assert (f"Task maps, {stream}: where each answer came from" in texts(part)) is shown
            maps = [image for image in images(part) if "High Ki-67" in image.caption]
            assert len(maps) == shown
            assert all(image.overlay is not None and image.overlay[..., 3].max() > 100 for image in maps)
    by_task = [image.caption for image in images(section(report, "MRI heatmaps"))][-3:]
    assert by_task == ["Axial 15/24, Lymph node metastasis", "Axial 15/24, High grade (3)", "Axial 15/24, High Ki-67"]
    assert "Task maps, MRI shared" in texts(compose(assessed(phantom=True), "1"))


def test_each_task_map_is_that_of_its_question():
    session = assessed(phantom=True)
    (answer,) = session.assessments
    maps = answer.prediction.heatmaps
    only_grade = np.zeros_like(maps.mri_agnostic)
    only_grade[MAP_KINDS.index("high_grade")] = maps.mri_agnostic[MAP_KINDS.index("high_grade")]
    prediction = replace(answer.prediction, heatmaps=replace(maps, mri_agnostic=only_grade))
    session.set_assessments((replace(answer, prediction=prediction),))
    lymph, grade, ki67 = images(section(compose(session, "1"), "MRI heatmaps"))[-3:]
    assert grade.overlay[..., 3].max() > 100
    assert lymph.overlay[..., 3].max() == ki67.overlay[..., 3].max() == 0


def test_an_angle_that_no_file_gave_is_printed_as_assumed():
    session = assessed(views=25)
    views = tuple(replace(view, angle_source="position in the order (assumed)") for view in session.study.ultrasound[:12])
    views += tuple(replace(view, angle_deg=None, angle_source="") for view in session.study.ultrasound[12:])
    session = Session(replace(session.study, ultrasound=views))
    session.choose(angles=(("view-01", 17.5),))
    report = compose(session, "1")
    assert "25 images, 12 with an angle (11 of them assumed), 25 with millimetres" in texts(section(report, "Inputs"))
    corners = [image.corner for image in images(section(report, "Ultrasound"))]
    assert corners[:3] == ["0° (assumed)", "17.5° (reader)", "30° (assumed)"]


def test_what_is_only_told_makes_no_draft():
    session = assessed()
    unnamed = tuple(replace(view, side=None) for view in session.study.ultrasound)
    report = compose(Session(replace(session.study, ultrasound=unnamed)), "1")
    assert not report.draft
    assert report.draft_questions == ()
    assert report.still_open == ("In which breast is the tumour? No file says so.",)


def test_pictures_go_through_the_lesion_and_show_it_bright():
    report = compose(assessed(), "1")
    assert "Through the suggested lesion at L 59.0, A 40.0, H 10.0 mm." in texts(report)
    for image in images(section(report, "MRI key images")):
        assert image.target is not None
        row, column = (round(value) for value in image.target)
        assert image.grey[row, column] == 255
        assert np.median(image.grey) < 200
    session = assessed()
    session.choose(lesion_mm=LESION_MM)
    assert "Through the lesion marked by the reader at L 60.0, A 40.0, H 10.0 mm." in texts(compose(session, "1"))


def test_the_heat_lies_over_the_lesion():
    for image in images(section(compose(assessed(), "1"), "MRI heatmaps")):
        assert image.overlay is not None
        row, column = np.unravel_index(int(image.overlay[..., 0].astype(int).argmax()), image.overlay.shape[:2])
        assert image.target is not None
        assert abs(row - image.target[0]) * image.spacing_mm[0] < 10
        assert abs(column - image.target[1]) * image.spacing_mm[1] < 10


def test_the_curve_is_that_of_the_lesion():
    part = section(compose(assessed(), "1"), "Enhancement curve")
    plot = next(block for block in part.parts if isinstance(block, CurvePlot))
    assert plot.x_label == "seconds from injection"
    assert plot.curve.percent[2] == pytest.approx(100 * 340 / 220)
    assert "Initial rise fast, delayed part wash-out." in texts(part)


def test_without_times_the_axis_is_the_phase_number_and_no_type_is_named():
    part = section(compose(assessed(times=False), "1"), "Enhancement curve")
    plot = next(block for block in part.parts if isinstance(block, CurvePlot))
    assert plot.x_label == "phase number"
    assert "no curve type is named" in texts(part)


def test_marks_are_listed_with_place_size_and_note_and_drawn():
    session = assessed(spacing=False)
    session.add_annotation(Annotation("a", "ruler", DCE, ((50.0, -40.0, 10.0), (70.0, -40.0, 10.0)), AXIAL, "margin"))
    session.add_annotation(Annotation("b", "ellipse", "view-03", ((35.0, 50.0), (85.0, 110.0)), None, "n" * 200))
    session.add_annotation(Annotation("c", "polygon", DCE, ((0.0, 0.0, 34.0), (9.0, 0.0, 34.0), (0.0, 8.0, 34.0)), AXIAL))
    report = compose(session, "1")
    said = texts(section(report, "Marks"))
    assert "1 | ruler | MRI, axial | L 60.0, A 40.0, H 10.0 mm | 20.0 mm | margin" in said
    assert "2 | ellipse | Ultrasound, us_045 | row 60, column 80 px | 60.0 × 50.0 px, 2356.2 px²" in said
    assert "Note to mark 2: " + "n" * 200 in said
    axial = images(section(report, "MRI key images"))[0]
    assert [outline.label for outline in axial.outlines] == ["1"]
    marked = images(section(report, "Ultrasound"))[3]
    assert [outline.label for outline in marked.outlines] == ["2"]
    rows = [row for row, _ in marked.outlines[0].points]
    assert (min(rows), max(rows)) == pytest.approx((35, 85), abs=0.2)
    other = images(section(report, "MRI, further pictures with marks"))
    assert [[outline.label for outline in image.outlines] for image in other] == [["3"]]
    assert other[0].caption.startswith("Axial 21/24")


def test_the_radiologists_words_stand_apart_from_the_models():
    session = assessed()
    session.set_reading(Reading("Irregular mass.\nSpiculated.", "BI-RADS 5"))
    report = compose(session, "1")
    assert "Irregular mass.\nSpiculated." in texts(section(report, "The radiologist's reading"))
    assert "Irregular mass" not in texts(section(report, "The model's answer"))


def test_every_file_and_problem_is_accounted_for():
    files = [FileUse(f"IM{n}", f"phase {1 + n % 2}, slice {n}") for n in range(10)]
    files += [FileUse(f"U{n}", f"ultrasound view {n + 1}") for n in range(3)] + [FileUse("t", "", "not an image")] * 4
    study = replace(
        simple_study(),
        files=tuple(files),
        problems=(Problem("A slice is missing.", "IM7"),),
        others=(OtherSeries("ax T2", "T2", 30),),
    )
    report = compose(Session(study), "1")
    said = texts(section(report, "Files"))
    assert "17 files read: 13 used, 4 not used." in said
    assert "used as phase 1 | 5" in said
    assert "used as ultrasound view | 3" in said
    assert "not used: not an image | 4" in said
    assert "ax T2 | T2 | 30" in said
    assert "A slice is missing. (IM7)" in texts(section(report, "Problems found while reading"))


def test_many_reasons_for_files_are_cut_but_still_counted():
    files = tuple(FileUse(f"{n}", "", f"reason {n}") for n in range(500))
    part = section(compose(Session(replace(simple_study(), files=files)), "1"), "Files")
    rows = next(block for block in part.parts if isinstance(block, Table)).rows
    assert len(rows) == 30
    assert sum(int(row[1]) for row in rows) == 500


def test_provenance_names_model_hash_device_version_and_input():
    session = assessed()
    said = texts(section(compose(session, "9.8.7"), "Provenance"))
    for fact in (
        "BreastAI 9.8.7",
        "breastai-demonstration 0.1",
        "ab" * 32,
        "made-up patients",
        "cpu, torch 2.13.0, float32",
        session.study.key,
    ):
        assert fact in said
    assert "Valid for patients | no" in said
    assert "Research use only - not for clinical use." in said


@pytest.mark.parametrize(
    "study",
    [
        {"phases": 0},
        {"views": 0},
        {"phases": 0, "views": 0},
        {"phases": 1},
        {"phases": 2, "views": 1, "times": False},
        {"views": 12, "spacing": False},
        {"views": 25},
        {"order": "question"},
    ],
)
def test_a_report_of_anything_can_be_composed(study):
    for session in (Session(simple_study(**study)), assessed(**study) if study != {"phases": 0, "views": 0} else None):
        if session is not None:
            assert "Provenance" in [part.title for part in compose(session, "1").sections]


def test_an_unknown_pre_contrast_phase_is_said_and_nothing_is_subtracted():
    made = simple_study()
    assert made.dce is not None
    study = replace(made, dce=replace(made.dce, pre=None, pre_confidence="question", pre_evidence="Two phases are equally dark."))
    report = compose(Session(study), "1")
    assert report.draft
    assert "the pre-contrast phase is not known" in texts(section(report, "MRI"))
    state = SessionState()
    session = Session(study, replace(state, choices=replace(state.choices, pre=0)))
    assert "MRI key images" in [part.title for part in compose(session, "1").sections]


def test_a_lesion_marked_outside_the_volume_breaks_nothing():
    session = assessed()
    session.choose(lesion_mm=(900.0, 0.0, 0.0))
    report = compose(session, "1")
    assert all(image.target is None for image in images(section(report, "MRI key images")))
    assert "No curve" in texts(section(report, "Enhancement curve"))


def test_i1_two_patients_are_both_named_at_the_head_until_they_are_known_to_be_one() -> None:
    session = Session(simple_study(ultrasound_name="Other^Person"))
    head = compose(session, "0.1.0")
    assert head.patient_name == "MRI: Test, Patient, ID-1"
    assert head.patient_id == "Ultrasound: Other, Person, ID-2"
    session.choose(same_patient=True)
    assert (compose(session, "0.1.0").patient_name, compose(session, "0.1.0").patient_id) == ("Test, Patient", "ID-1")

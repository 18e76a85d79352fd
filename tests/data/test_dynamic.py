"""Which images are the dynamic phases, in which order, told from everything else in the folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from breastai_gui.data.study import DEMO_UID_ROOT, ReadError
from dicom_files import OTHER_PATIENT, enhancing, uid, write_dce, write_enhanced, write_ultrasound

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from breastai_gui.data.study import Catalogue, Study

    Read = Callable[[Path], Study]


def test_series_of_their_own_in_any_file_order(read: Read, tmp_path: Path) -> None:
    values = write_dce(tmp_path, name=lambda phase, place: f"{(phase * 37 + place * 11) % 101:05d}")
    study = read(tmp_path)
    assert np.array_equal(study.dce.values, values)
    assert not study.dce.values.flags.writeable
    assert study.dce.times_s == (-80.0, 0.0, 80.0, 160.0, 240.0)
    assert (study.dce.pre, study.dce.pre_confidence, study.dce.order_confidence) == (0, "certain", "certain")
    assert study.problems == ()
    assert sorted(use.used_as for use in study.files)[:2] == ["phase 1, slice 1", "phase 1, slice 2"]


@pytest.mark.parametrize("tag", ["TemporalPositionIdentifier", "TriggerTime", "AcquisitionNumber", "AcquisitionTimeOnly", "ContentTime"])
def test_one_series_that_holds_all_phases(read: Read, tmp_path: Path, tag: str) -> None:
    values = write_dce(tmp_path, one_series=True, evidence=(tag,), name=lambda phase, place: f"{(phase * 37 + place * 11) % 101:05d}")
    study = read(tmp_path)
    assert np.array_equal(study.dce.values, values)
    assert study.dce.order_confidence == ("likely" if tag in ("AcquisitionNumber", "ContentTime") else "certain")


def test_one_series_without_any_time_is_read_and_asked(read: Read, tmp_path: Path) -> None:
    values = write_dce(tmp_path, one_series=True, evidence=())
    study = read(tmp_path)
    assert study.dce.order_confidence == "question"
    assert np.array_equal(study.dce.values, values)
    assert study.dce.times_s == (None,) * 5


def test_an_order_against_the_enhancement_becomes_a_question(read: Read, tmp_path: Path) -> None:
    write_dce(tmp_path, values=enhancing(4, 8, 16, 24)[::-1].copy())
    study = read(tmp_path)
    assert (study.dce.pre, study.dce.pre_confidence, study.dce.order_confidence) == (None, "question", "question")


def test_pre_contrast_in_a_series_of_its_own_and_the_others_in_one(read: Read, tmp_path: Path) -> None:
    """As Philips and GE often send it: numbers restart in the second series."""

    def change(image: object, phase: int, _place: int) -> None:
        image.SeriesInstanceUID = uid("pre" if phase == 0 else "post")
        image.SeriesNumber = 4 if phase == 0 else 9
        image.TemporalPositionIdentifier = max(1, phase)

    values = write_dce(tmp_path, evidence=("TemporalPositionIdentifier",), change=change)
    study = read(tmp_path)
    assert np.array_equal(study.dce.values, values)
    assert study.dce.order_confidence == "certain"


def test_enhanced_multiframe(read: Read, tmp_path: Path) -> None:
    values = write_enhanced(tmp_path)
    study = read(tmp_path)
    assert np.array_equal(study.dce.values, values)
    assert np.array_equal(study.dce.scale, [[2.0, -3.0]] * 3)
    assert study.dce.times_s == (-3570.0, 30.0, 3630.0)
    assert study.files[0].used_as == "phases 1 to 3, 18 frames"


@pytest.mark.parametrize("phases", [2, 3, 4, 5, 6, 9])
def test_d3_any_count_of_phases(read: Read, tmp_path: Path, phases: int) -> None:
    values = write_dce(tmp_path, phases=phases)
    assert np.array_equal(read(tmp_path).dce.values, values)


def test_d3_a_phase_with_a_slice_less_is_named_and_stops(read: Read, tmp_path: Path) -> None:
    write_dce(tmp_path, change=lambda _image, phase, place: not (phase == 2 and place == 7))
    study = read(tmp_path)
    assert study.dce.values.shape == (5, 8, 16, 24)
    (problem,) = [problem for problem in study.problems if problem.stops]
    assert problem.text.startswith("Phase 3 (series 7 t1 fl3d dyn): slice 8 of 8 is missing")
    assert not study.dce.values[2, 7].any()


def test_d14_mixed_number_formats_and_slopes_keep_each_phase_right(read: Read, tmp_path: Path) -> None:
    def change(image: object, phase: int, _place: int) -> None:
        image.RescaleSlope = 1 + phase
        image.RescaleIntercept = -phase

    values = write_dce(tmp_path, change=change)
    study = read(tmp_path)
    assert np.allclose(study.dce.real(3), values[3] * 4.0 - 3.0)


OTHER_SERIES = [
    ("subtraction", {"SeriesDescription": "t1 fl3d dyn SUB"}),
    ("subtraction", {"ImageType": ["DERIVED", "PRIMARY", "M", "SUBTRACTION"]}),
    ("projection (MIP)", {"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE", "MIP"]}),
    ("T2", {"SeriesDescription": "t2 tirm tra", "EchoTime": 70, "ScanningSequence": "SE"}),
    ("T2", {"SeriesDescription": "axial", "EchoTime": 90}),
    ("diffusion (DWI/ADC)", {"SeriesDescription": "ep2d_diff_b800", "ScanningSequence": "EP"}),
    ("diffusion (DWI/ADC)", {"ImageType": ["DERIVED", "PRIMARY", "ADC", "ND"]}),
    ("localizer", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER", "M"]}),
    ("derived map", {"SeriesDescription": "dyn wash-in"}),
    ("fat image of a Dixon series", {"ImageType": ["DERIVED", "PRIMARY", "DIXON", "F"]}),
]


@pytest.mark.parametrize(("role", "tags"), OTHER_SERIES)
def test_what_is_not_dynamic_is_listed_and_never_a_phase(read: Read, tmp_path: Path, role: str, tags: dict[str, object]) -> None:
    """On the same grid as the dynamic series, as scanners write them."""
    values = write_dce(tmp_path / "dynamic", phases=3)

    def change(image: object, _phase: int, _place: int) -> None:
        image.SeriesInstanceUID, image.SeriesNumber, image.StudyInstanceUID = uid("other"), 99, uid("mri")
        for keyword, value in tags.items():
            setattr(image, keyword, value)

    write_dce(tmp_path / "other", phases=1, change=change)
    study = read(tmp_path)
    assert np.array_equal(study.dce.values, values)
    assert [(other.role, other.file_count) for other in study.others] == [(role, 8)]
    assert all(use.why_not.startswith(role) for use in study.files if use.file.startswith("other"))


def test_a_second_dynamic_series_with_another_echo_is_a_choice(scan: Callable[[Path], Catalogue], tmp_path: Path) -> None:
    write_dce(tmp_path / "a", phases=4)
    write_dce(tmp_path / "b", phases=4, study="mri", spacing=(0.8, 0.8), change=_renumbered)
    catalogue = scan(tmp_path)
    assert catalogue.proposed is None
    assert catalogue.choice_reason.startswith("The files hold 2 dynamic series of one patient")


def _renumbered(image: object, phase: int, _place: int) -> None:
    image.SeriesInstanceUID = uid("second", phase)
    image.SeriesNumber += 20


def test_only_a_t2_series_is_said_plainly(scan: Callable[[Path], Catalogue], tmp_path: Path) -> None:
    write_dce(tmp_path / "exam", phases=1, change=lambda image, _phase, _place: setattr(image, "SeriesDescription", "t2 tse"))
    with pytest.raises(ReadError, match="«exam» holds no dynamic MRI and no ultrasound, only: T2"):
        scan(tmp_path / "exam")


def test_d4_half_the_slices_of_another_patient_are_another_series(read: Read, scan: Callable[[Path], Catalogue], tmp_path: Path) -> None:
    def change(image: object, _phase: int, place: int) -> None:
        if place >= 4:
            for keyword, value in OTHER_PATIENT.items():
                setattr(image, keyword, value)

    write_dce(tmp_path, change=change)
    catalogue = scan(tmp_path)
    assert catalogue.proposed is None
    assert "several patients" in catalogue.choice_reason
    assert [candidate.counts for candidate in catalogue.candidates] == [(5, 4, 16, 24)] * 2
    assert any("have another patient" in problem.text for problem in catalogue.problems)


@pytest.mark.parametrize(
    ("word", "tag", "value"),
    [
        ("orientation", "ImageOrientationPatient", [1, 0, 0, 0, 0.9995, 0.0316]),
        ("frame of reference", "FrameOfReferenceUID", "1.2.3"),
        ("rescale slope or intercept", "RescaleSlope", 2),
        ("study", "StudyInstanceUID", "1.2.3.4"),
        ("size", "Rows", 12),
    ],
)
def test_d4_half_the_slices_that_differ_are_split_with_the_reason(
    scan: Callable[[Path], Catalogue], tmp_path: Path, word: str, tag: str, value: object
) -> None:
    def change(image: object, phase: int, place: int) -> None:
        if phase == 1 and place >= 4:
            setattr(image, tag, value)
            if tag == "Rows":
                image.PixelData = image.PixelData[: 12 * 24 * 2]

    write_dce(tmp_path, change=change)
    catalogue = scan(tmp_path)
    (split,) = [problem for problem in catalogue.problems if "put into a series of their own" in problem.text]
    assert f"4 of 8 images have another {word}" in split.text
    assert split.file in split.text
    assert all(candidate.counts[1] == 8 for candidate in catalogue.candidates if candidate.counts[0] >= 4)


def test_several_dates_and_patients_of_mri_and_ultrasound(scan: Callable[[Path], Catalogue], read: Read, tmp_path: Path) -> None:
    write_dce(tmp_path / "mri")
    write_ultrasound(tmp_path / "us", patient=OTHER_PATIENT)
    study = read(tmp_path)
    assert study.patient_mismatch == ("patient ID", "name", "birth date")
    write_ultrasound(tmp_path / "us2", study="second")
    catalogue = scan(tmp_path)
    assert catalogue.proposed is None
    assert "ultrasound of several patients" in catalogue.choice_reason


def test_phantom_only_when_every_image_is_the_demo_s(read: Read, tmp_path: Path) -> None:
    def change(image: object, phase: int, place: int) -> None:
        image.SOPInstanceUID = f"{DEMO_UID_ROOT}.1.{phase}.{place}"
        image.SeriesInstanceUID, image.StudyInstanceUID = f"{DEMO_UID_ROOT}.2.{phase}", f"{DEMO_UID_ROOT}.3"

    write_dce(tmp_path / "demo", change=change)
    assert read(tmp_path).phantom
    write_ultrasound(tmp_path / "us", views=1)
    assert not read(tmp_path).phantom


def test_the_key_is_the_same_wherever_the_files_lie(read: Read, tmp_path: Path) -> None:
    write_dce(tmp_path / "a" / "exam")
    write_dce(tmp_path / "b" / "exam", name=lambda phase, place: f"x{phase}{place:02d}.dcm")
    assert read(tmp_path / "a").key == read(tmp_path / "b").key


def test_i9_phases_with_different_frames_of_reference_are_said(read: Read, tmp_path: Path) -> None:
    write_dce(tmp_path, change=lambda image, phase, _place: setattr(image, "FrameOfReferenceUID", uid("frame", phase)))
    study = read(tmp_path)
    assert study.dce.frame_of_reference == ""
    assert any("FrameOfReferenceUID" in problem.text for problem in study.problems)


def test_d14_philips_says_its_times_in_a_private_tag(read: Read, tmp_path: Path) -> None:
    """One series, AcquisitionTime the same in all phases, "dynamic scan begin time" in seconds."""

    def change(image: object, phase: int, _place: int) -> None:
        image.AcquisitionTime = "090000"
        block = image.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
        block.add_new(0xA0, "FL", 61.5 * phase)

    values = write_dce(tmp_path, one_series=True, evidence=("TemporalPositionIdentifier",), change=change)
    study = read(tmp_path)
    assert np.array_equal(study.dce.values, values)
    assert study.dce.times_s == (-61.5, 0.0, 61.5, 123.0, 184.5)
    assert "AcquisitionTime is the same in all phases" in study.dce.order_evidence

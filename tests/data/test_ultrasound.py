"""Ultrasound: which files, angles, sides, millimetres; wrong or missing Modality is asked, not dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from pydicom.sequence import Sequence

from breastai_gui.data.ultrasound import angle_in, angles_in_names, evenly, lesion_in, natural, side_in
from dicom_files import OTHER_PATIENT, SECONDARY_CAPTURE, ULTRASOUND_CINE, region, write_dce, write_ultrasound

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from breastai_gui.data.study import Catalogue, Study

    Read = Callable[[Path], Study]


def write_pictures(folder: Path, names: list[str], mode: str = "L") -> list[np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 50)).astype(np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / name, quality=100) if name.endswith("jpg") else Image.fromarray(pixels).convert(
            mode
        ).save(folder / name)
        pictures.append(pixels)
    return pictures


def test_twelve_single_frames_with_angles_in_their_names(read: Read, tmp_path: Path) -> None:
    """Written in an order that is not that of the angles."""
    pictures = write_ultrasound(tmp_path, name=lambda number: f"us_{(number * 75) % 180:03d}.dcm")
    study = read(tmp_path)
    assert [view.angle_deg for view in study.ultrasound] == [15.0 * number for number in range(12)]
    assert {view.angle_source for view in study.ultrasound} == {"file name"}
    assert np.array_equal(study.ultrasound[5].pixels, pictures[1][8:])
    assert study.problems == ()


def test_angles_from_tags_come_before_names(read: Read, tmp_path: Path) -> None:
    def change(image: object, number: int) -> None:
        image.ImageComments = f"Angle {30 * number}deg clockwise"

    write_ultrasound(tmp_path, views=3, name=lambda number: f"us_{100 - 10 * number:03d}.dcm", change=change)
    study = read(tmp_path)
    assert [(view.angle_deg, view.angle_source) for view in study.ultrasound] == [(0.0, "tag"), (30.0, "tag"), (60.0, "tag")]


def test_unknown_angles_are_assumed_by_position_and_said(read: Read, tmp_path: Path) -> None:
    write_ultrasound(tmp_path)
    study = read(tmp_path)
    assert [view.angle_deg for view in study.ultrasound] == [15.0 * number for number in range(12)]
    assert {view.angle_source for view in study.ultrasound} == {"position in the order (assumed)"}
    assert any("15° apart is assumed" in problem.text for problem in study.problems)


def test_d17_a_cine_of_25_frames_proposes_twelve(read: Read, tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (25, 30, 40)).astype(np.uint8)
    write_ultrasound(tmp_path, views=1, pixels=lambda _number: frames, sop_class=ULTRASOUND_CINE, regions=False)
    study = read(tmp_path)
    assert len(study.ultrasound) == 25
    proposed = [number for number, view in enumerate(study.ultrasound) if view.proposed]
    assert (len(proposed), proposed[0], proposed[-1]) == (12, 0, 24)
    assert [study.ultrasound[number].angle_deg for number in proposed] == [15.0 * number for number in range(12)]
    assert np.array_equal(study.ultrasound[13].pixels, frames[13])
    assert study.ultrasound[13].label == "US000, frame 14"
    assert study.files[0].used_as == "ultrasound views 1 to 25"
    assert any(problem.text.startswith("25 ultrasound images were found; twelve") for problem in study.problems)


@pytest.mark.parametrize("views", [1, 4, 11, 13])
def test_d17_other_counts_are_read_as_they_are(read: Read, tmp_path: Path, views: int) -> None:
    write_ultrasound(tmp_path, views=views)
    study = read(tmp_path)
    assert len(study.ultrasound) == views
    assert sum(view.proposed for view in study.ultrasound) == min(views, 12)


@pytest.mark.parametrize("modality", ["", "UNKNOWN", "OT", "XC"])
def test_a_wrong_modality_is_asked_not_dropped(scan: Callable[[Path], Catalogue], read: Read, tmp_path: Path, modality: str) -> None:
    write_dce(tmp_path / "mri", phases=2)
    write_ultrasound(tmp_path / "us", modality=modality, sop_class=SECONDARY_CAPTURE, regions=False)
    catalogue = scan(tmp_path)
    (candidate,) = [candidate for candidate in catalogue.candidates if candidate.kind == "ultrasound"]
    assert candidate.confidence == "question"
    assert catalogue.proposed is not None
    study = read(tmp_path)
    assert len(study.ultrasound) == 12
    assert any("12 of 12 images do not say what they are" in problem.text for problem in study.problems)


def test_a_screen_capture_in_the_mri_study_is_not_ultrasound(read: Read, tmp_path: Path) -> None:
    write_dce(tmp_path / "mri", phases=2)
    write_ultrasound(tmp_path / "dose", views=1, modality="OT", sop_class=SECONDARY_CAPTURE, regions=False, study="mri")
    study = read(tmp_path)
    assert study.ultrasound == ()
    assert [other.role for other in study.others] == ["screen capture in the MRI study"]


def test_ultrasound_of_two_patients_is_a_choice(scan: Callable[[Path], Catalogue], reader: object, tmp_path: Path) -> None:
    write_ultrasound(tmp_path / "a", views=2)
    write_ultrasound(tmp_path / "b", views=3, patient=OTHER_PATIENT, study="other")
    catalogue = scan(tmp_path)
    assert catalogue.proposed is None
    assert catalogue.choice_reason == "The files hold ultrasound of several patients: choose what is to be read together."
    from breastai_gui.data.study import Selection

    key = next(candidate.key for candidate in catalogue.candidates if candidate.counts == (3,))
    study = reader.load(catalogue, Selection(None, key), lambda _progress: None)
    assert study.patient.id == "T-2"
    assert {use.why_not for use in study.files if use.file.startswith("a/")} == {"not chosen"}
    with pytest.raises(KeyError):
        reader.load(catalogue, Selection(None, "no such key"), lambda _progress: None)


@pytest.mark.parametrize(
    ("tags", "side"),
    [
        ({"ImageLaterality": "L"}, "left"),
        ({"Laterality": "R"}, "right"),
        ({"Laterality": "B"}, None),
        ({"BodyPartExamined": "LT BREAST"}, "left"),
        ({"SeriesDescription": "Mama derecha"}, "right"),
        ({"StudyDescription": "left and right breast"}, None),
        ({}, None),
    ],
)
def test_the_side_comes_from_tags_and_is_never_guessed(read: Read, tmp_path: Path, tags: dict[str, str], side: str | None) -> None:
    def change(image: object, _number: int) -> None:
        for keyword, value in tags.items():
            setattr(image, keyword, value)

    write_ultrasound(tmp_path, views=1, change=change)
    assert read(tmp_path).ultrasound[0].side == side


def test_millimetres_from_region_then_pixel_spacing_then_none(read: Read, tmp_path: Path) -> None:
    def change(image: object, number: int) -> None:
        if number == 0:
            image.PixelSpacing = [9.0, 9.0]
            return
        if number == 1:
            image.PixelSpacing = [0.11, 0.12]
        image.SequenceOfUltrasoundRegions = Sequence([region(8, 0, 59, 79, units=0)])

    write_ultrasound(tmp_path, views=3, change=change)
    views = read(tmp_path).ultrasound
    assert [view.spacing_source for view in views] == ["SequenceOfUltrasoundRegions", "PixelSpacing", ""]
    assert [view.spacing_mm for view in views] == [pytest.approx((0.2, 0.2)), (0.11, 0.12), None]


@pytest.mark.parametrize("damage", ["no numbers", "value missing", "not a sequence"])
def test_a_region_that_cannot_be_read_is_said_for_text_may_be_burned_in(read: Read, tmp_path: Path, damage: str) -> None:
    """The image is then shown whole, with whatever stands above the tissue: nobody must take it for cut."""

    def change(image: object, number: int) -> None:
        if number == 1 and damage == "value missing":
            del image.SequenceOfUltrasoundRegions[0].RegionLocationMaxY1

    write_ultrasound(tmp_path, views=3, change=change)
    path = tmp_path / "US001"
    data = path.read_bytes()
    if damage == "no numbers":  # the last row of the region, as text of a value representation that holds numbers
        at = data.index(b"\x18\x00\x1e\x60UL")
        data = data[: at + 4] + b"DS\x04\0abcd" + data[at + 12 :]
    elif damage == "not a sequence":
        at = data.index(b"\x18\x00\x11\x60SQ")
        data = data[: at + 4] + b"UT" + data[at + 6 :]
    path.write_bytes(data)
    study = read(tmp_path)
    assert [view.pixels.shape for view in study.ultrasound] == [(52, 80), (60, 80), (52, 80)]
    text = "The region of 1 of 3 ultrasound images is damaged and cannot be read; they are shown whole, and text may be burned into them."
    assert text in [problem.text for problem in study.problems]


def test_a_region_that_lies_outside_a_cropped_image_is_not_used_for_cutting(read: Read, tmp_path: Path) -> None:
    """As in the real images: cropped after the region was written. The millimetres hold, the box does not."""

    def change(image: object, _number: int) -> None:
        image.SequenceOfUltrasoundRegions = Sequence([region(20, 30, 90, 200)])

    pictures = write_ultrasound(tmp_path, views=1, change=change)
    study = read(tmp_path)
    assert np.array_equal(study.ultrasound[0].pixels, pictures[0])
    assert study.ultrasound[0].spacing_mm == pytest.approx((0.2, 0.2))
    assert any("cropped after their region" in problem.text for problem in study.problems)


@pytest.mark.parametrize(("mode", "ending"), [("L", "png"), ("RGB", "png"), ("RGB", "jpg"), ("L", "jpg")])
def test_pictures_without_a_header(read: Read, tmp_path: Path, mode: str, ending: str) -> None:
    pictures = write_pictures(tmp_path, [f"us_{15 * number:03d}.{ending}" for number in range(12)], mode)
    study = read(tmp_path)
    assert [view.angle_deg for view in study.ultrasound] == [15.0 * number for number in range(12)]
    assert study.ultrasound[0].spacing_mm is None
    assert np.abs(study.ultrasound[3].pixels.astype(int) - pictures[3]).max() <= (0 if ending == "png" else 12)
    assert study.patient.id == ""
    assert any("carry no patient" in problem.text for problem in study.problems)


def test_pictures_beside_an_mri_are_asked_and_their_identity_is_unknown(read: Read, tmp_path: Path) -> None:
    write_dce(tmp_path / "mri", phases=2)
    write_pictures(tmp_path / "us", [f"{number}.png" for number in range(3)])
    study = read(tmp_path)
    assert study.patient_mismatch == ("nothing in common to compare",)


def test_thumbnails_beside_real_ultrasound_are_set_aside_and_said(read: Read, tmp_path: Path) -> None:
    write_ultrasound(tmp_path / "dicom", views=2)
    write_pictures(tmp_path / "web", ["a.png"])
    study = read(tmp_path)
    assert len(study.ultrasound) == 2
    assert any(problem.text.startswith("Not taken for this patient's ultrasound: 1 ultrasound image") for problem in study.problems)


def test_masks_are_no_images(read: Read, tmp_path: Path) -> None:
    write_pictures(tmp_path / "images", ["1.png", "2.png"])
    write_pictures(tmp_path / "masks", ["1.png"])
    drawn = np.zeros((40, 50), dtype=np.uint8)
    drawn[5:20, 5:20] = 255
    Image.fromarray(drawn).save(tmp_path / "images" / "3.png")
    study = read(tmp_path)
    assert [view.label for view in study.ultrasound] == ["1.png", "2.png"]


def test_d7_a_picture_that_expands_beyond_the_limit(read: Read, tmp_path: Path) -> None:
    write_pictures(tmp_path, ["good.png"])
    Image.new("1", (9000, 9000)).save(tmp_path / "huge.png")
    study = read(tmp_path)
    assert [view.label for view in study.ultrasound] == ["good.png"]
    assert any(problem.file == "huge.png" and "expands beyond the limit" in problem.text for problem in study.problems)


@pytest.mark.parametrize(
    ("text", "angle"),
    [
        ("angle=30", 30.0),
        ("Angle 45deg", 45.0),
        ("30deg.png", 30.0),
        ("30°", 30.0),
        ("rot_195", 15.0),
        ("12:30 o'clock", None),
        ("degas 3", None),
    ],
)
def test_angles_that_a_text_names(text: str, angle: float | None) -> None:
    assert angle_in(text) == angle


def test_bare_numbers_are_angles_only_when_all_of_them_look_like_it() -> None:
    assert angles_in_names(["us_000.png", "us_015.png", "us_165.png"]) == [0.0, 15.0, 165.0]
    assert angles_in_names([f"us_{number}.png" for number in range(1, 13)]) == [None] * 12
    assert angles_in_names(["us_000.png", "other.png", "us_030.png"]) == [None] * 3
    assert angles_in_names(["a_30deg.png", "b.png"]) == [30.0, None]


def test_words() -> None:
    assert lesion_in("Lesion A, 3 o'clock") == "A"
    assert lesion_in("mass 2") == "2"
    assert lesion_in("massive") == ""
    assert side_in("bright") is None
    assert side_in("LEFT_BREAST") == "left"
    assert sorted(["us_10", "us_9"], key=natural) == ["us_9", "us_10"]
    assert evenly(25, 12)[0] == 0
    assert evenly(25, 12)[-1] == 24
    assert len(set(evenly(13, 12))) == 12


def test_ultrasound_of_another_organ_is_asked_about(read: Read, tmp_path: Path) -> None:
    write_ultrasound(tmp_path, 2, change=lambda image, _: setattr(image, "StudyDescription", "US KIDNEY"))
    study = read(tmp_path)
    assert all(view.doubtful for view in study.ultrasound)
    assert any("names another organ than the breast (kidney)" in problem.text for problem in study.problems)

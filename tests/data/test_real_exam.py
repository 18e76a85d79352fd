"""The real six-phase exam: renamed, shuffled and mixed with another patient's ultrasound; voxels equal to dcm2niix's."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from breastai_gui.data.reader_process import Reader
    from breastai_gui.data.study import Study

    Read = Callable[[Path], Study]

SERIES = [8, 9, 13, 15, 17, 19]


def test_shuffled_and_mixed_with_the_ultrasound_of_another_patient(read: Read, real_data: Path, tmp_path: Path) -> None:
    files = sorted((real_data / "mri-dce-exam" / "dicom").rglob("*.dcm")) + sorted((real_data / "us-sweep" / "dicom").glob("*.dcm"))
    random.Random(5).shuffle(files)
    for number, file in enumerate(files):
        shutil.copy(file, tmp_path / f"{number:08x}")
    study = read(tmp_path)
    assert study.dce.values.shape == (6, 32, 192, 320)
    assert [phase.series_number for phase in study.dce.phases] == SERIES
    assert [phase.evidence["AcquisitionNumber"] for phase in study.dce.phases] == ["1", "2", "3", "4", "5", "6"]
    assert (study.dce.order_confidence, study.dce.pre, study.dce.pre_confidence) == ("certain", 0, "certain")
    assert study.dce.times_s == (None,) * 6
    assert study.dce.time_origin == "unknown"
    assert len(study.ultrasound) == 25
    assert sum(view.proposed for view in study.ultrasound) == 12
    assert study.patient_mismatch == ("patient ID", "name")
    assert len(study.files) == len(files) == 217
    assert all(use.used_as for use in study.files)
    assert any("25 of 25 images do not say what they are" in problem.text for problem in study.problems)
    assert not any(problem.stops for problem in study.problems)
    assert not study.phantom


def test_voxels_and_affine_are_those_of_dcm2niix(read: Read, real_data: Path, tmp_path: Path) -> None:
    import SimpleITK

    tool = shutil.which("dcm2niix")
    if tool is None:
        pytest.skip("dcm2niix is not installed")
    exam = real_data / "mri-dce-exam" / "dicom"
    subprocess.run([tool, "-f", "s%s", "-z", "n", "-o", str(tmp_path), str(exam)], capture_output=True, timeout=120, check=True)
    study = read(exam)
    grid = study.dce.grid
    for phase, number in enumerate(SERIES):
        image = SimpleITK.ReadImage(str(tmp_path / f"s{number}.nii"))
        theirs = SimpleITK.GetArrayFromImage(image)
        affine = np.eye(4)
        for column, axis in enumerate((2, 1, 0)):
            affine[:3, column] = np.array(image.GetDirection()).reshape(3, 3)[:, axis] * image.GetSpacing()[axis]
        affine[:3, 3] = image.GetOrigin()
        # Both say where each voxel lies; theirs may run the other way along an axis, so indices are translated by place.
        change = np.linalg.inv(affine) @ grid.affine
        assert np.allclose(change, np.round(change), atol=2e-4)
        steps = np.round(change).astype(int)
        assert sorted(np.abs(steps[:3, :3]).sum(axis=0)) == [1, 1, 1]
        flips = tuple(slice(None, None, int(steps[axis, axis])) for axis in range(3))
        assert np.array_equal(theirs[flips], study.dce.values[phase])


def test_the_same_voxels_as_the_nifti_beside_it(read: Read, real_data: Path) -> None:
    dicom = read(real_data / "mri-dce-exam" / "dicom").dce
    nifti = read(real_data / "mri-dce-exam" / "nifti").dce
    assert np.array_equal(dicom.values, nifti.values)
    assert np.allclose(dicom.grid.affine, nifti.grid.affine, atol=1e-4)
    assert nifti.order_confidence == "likely"


def test_real_ultrasound_of_ten_patients_is_a_choice(reader: Reader, real_data: Path) -> None:
    from breastai_gui.data.study import Selection

    catalogue = reader.scan(real_data / "us-dicom", lambda _progress: None)
    assert catalogue.proposed is None
    assert len(catalogue.candidates) == 10
    for candidate in catalogue.candidates:
        study = reader.load(catalogue, Selection(None, candidate.key), lambda _progress: None)
        assert len(study.ultrasound) == candidate.counts[0]
        for view in study.ultrasound:
            assert view.side is None
            assert (view.spacing_mm is None) == (not view.spacing_source)
            assert re.fullmatch(r"patient\d+_IM\d+\.dcm", view.label)
        assert sum(bool(use.used_as) for use in study.files) == candidate.counts[0]


def test_burned_in_header_is_cut_off_and_the_photo_is_asked(reader: Reader, real_data: Path) -> None:
    from breastai_gui.data.study import Selection

    catalogue = reader.scan(real_data / "us-burned-in", lambda _progress: None)
    assert catalogue.proposed is None
    # Two of a kidney, by their own words, and a photo that says nothing: each is asked about.
    assert {candidate.confidence for candidate in catalogue.candidates} == {"question"}
    by_count = {(candidate.counts[0], "KIDNEY" in candidate.label): candidate.key for candidate in catalogue.candidates}
    assert set(by_count) == {(27, True), (1, True), (1, False)}
    single = reader.load(catalogue, Selection(None, by_count[1, True]), lambda _progress: None)
    assert any("another organ than the breast (kidney)" in problem.text for problem in single.problems)
    view = single.ultrasound[0]
    assert view.pixels.shape == (721, 997)
    assert view.spacing_mm == pytest.approx((0.0649, 0.0649), abs=1e-4)
    # The line with the name was rows 0 to 20 of 768, bright; the first rows of what is left are dark there.
    cine = reader.load(catalogue, Selection(None, by_count[27, True]), lambda _progress: None)
    assert len(cine.ultrasound) == 27
    assert any(use.file == "GREYSCALE_CINE.zip/GREYSCALE_CINE.dcm" and use.used_as == "ultrasound views 1 to 27" for use in cine.files)

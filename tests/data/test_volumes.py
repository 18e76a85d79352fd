"""NIfTI, NRRD and MetaImage: order by name, affine in LPS, masks left out."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK

from breastai_gui.data.study import ReadError, Selection
from dicom_files import enhancing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from breastai_gui.data.reader_process import Reader
    from breastai_gui.data.study import Catalogue, Study

    Read = Callable[[Path], Study]


def write(path: Path, values: np.ndarray, spacing: tuple[float, ...] = (1.25, 1.5, 2.0)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if values.ndim == 4:
        image = SimpleITK.JoinSeries([SimpleITK.GetImageFromArray(phase) for phase in values])
        image.SetSpacing((*spacing, 70.0))
        image.SetOrigin((-60.0, -40.0, -20.0, 0.0))
    else:
        image = SimpleITK.GetImageFromArray(values)
        image.SetSpacing(spacing)
        image.SetOrigin((-60.0, -40.0, -20.0))
    SimpleITK.WriteImage(image, str(path))


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nrrd", "mha"])
def test_one_file_a_phase_named_pre_and_post(read: Read, tmp_path: Path, ending: str) -> None:
    values = enhancing(4, 5, 16, 24).astype(np.int16)
    for name, phase in zip(("case_post2", "case_post10", "case_pre", "case_post1"), (2, 3, 0, 1), strict=True):
        write(tmp_path / f"{name}.{ending}", values[phase])
    study = read(tmp_path)
    assert np.array_equal(study.dce.values, values)
    assert (study.dce.order_confidence, study.dce.pre, study.dce.pre_confidence) == ("likely", 0, "certain")
    assert np.allclose(study.dce.grid.to_patient(np.zeros(3)), (-60.0, -40.0, -20.0), atol=1e-4)
    assert np.allclose(study.dce.grid.spacing_mm, (2.0, 1.5, 1.25), atol=1e-5)
    assert study.patient.id == ""


def test_a_mirrored_nifti_keeps_its_places(read: Read, tmp_path: Path) -> None:
    """NIfTI is written in RAS: x and y change sign on the way to LPS."""
    values = enhancing(2, 3, 16, 24).astype(np.int16)
    values[:, 2, 1, 5] = 9000
    for phase in range(2):
        image = SimpleITK.GetImageFromArray(values[phase])
        image.SetSpacing((1.25, 1.5, 2.0))
        image.SetOrigin((30.0, 20.0, 10.0))
        image.SetDirection((-1, 0, 0, 0, 0, 1, 0, 1, 0))
        SimpleITK.WriteImage(image, str(tmp_path / f"phase{phase}.nii.gz"))
        expected = image.TransformIndexToPhysicalPoint((5, 1, 2))
    grid = read(tmp_path).dce.grid
    assert np.allclose(grid.to_patient(np.array([2.0, 1.0, 5.0])), expected, atol=1e-4)


def test_one_file_with_all_phases_and_their_times(read: Read, tmp_path: Path) -> None:
    values = enhancing(5, 3, 16, 24).astype(np.float32)
    write(tmp_path / "dce.nii.gz", values)
    study = read(tmp_path)
    assert np.array_equal(study.dce.values, values)
    assert study.dce.times_s == (-70.0, 0.0, 70.0, 140.0, 210.0)
    assert study.dce.time_origin == "assumed"
    assert study.files[0].used_as == "phases 1 to 5"


def test_names_that_say_nothing_are_only_a_proposal(read: Read, tmp_path: Path) -> None:
    values = enhancing(3, 3, 16, 24)
    for name, phase in zip(("anna", "berta", "clara"), range(3), strict=True):
        write(tmp_path / f"{name}.nrrd", values[phase])
    assert read(tmp_path).dce.order_confidence == "question"


def test_a_mask_is_no_phase_and_a_lone_volume_is_asked(read: Read, tmp_path: Path) -> None:
    values = enhancing(1, 5, 16, 24)[0]
    write(tmp_path / "breast1_image.nrrd", values)
    write(tmp_path / "breast1_label.nrrd", (values > 100).astype(np.uint8))
    study = read(tmp_path)
    assert study.dce.values.shape == (1, 5, 16, 24)
    assert (study.dce.pre, study.dce.pre_confidence) == (None, "question")
    assert next(use for use in study.files if "label" in use.file).why_not == "a mask by its name, not an image"


def test_a_damaged_volume_is_named_and_the_rest_is_read(read: Read, tmp_path: Path) -> None:
    values = enhancing(3, 5, 16, 24).astype(np.int16)
    for phase in range(3):
        write(tmp_path / f"phase{phase}.nii.gz", values[phase])
    data = (tmp_path / "phase2.nii.gz").read_bytes()
    (tmp_path / "phase2.nii.gz").write_bytes(data[: len(data) // 2])
    (tmp_path / "phase3.nii").write_bytes(b"\x5c\x01\0\0" + b"\xff" * 400)
    study = read(tmp_path)
    assert np.array_equal(study.dce.values[:2], values[:2])
    texts = {problem.file: problem for problem in study.problems}
    assert texts["phase2.nii.gz"].text == "Phase 3 is damaged: «phase2.nii.gz»: it is damaged: its values cannot be read."
    assert texts["phase2.nii.gz"].stops
    assert "phase3.nii" in texts


def test_d6_a_volume_that_declares_gigabytes(read: Read, tmp_path: Path) -> None:
    values = enhancing(2, 5, 16, 24).astype(np.int16)
    for phase in range(2):
        write(tmp_path / f"phase{phase}.nii.gz", values[phase])
    write(tmp_path / "huge.nii", values[0])
    data = bytearray((tmp_path / "huge.nii").read_bytes())
    data[42:48] = (30000).to_bytes(2, "little") * 3
    (tmp_path / "huge2.nii.gz").write_bytes(gzip.compress(bytes(data)))
    (tmp_path / "huge.nii").write_bytes(bytes(data))
    texts = {problem.file: problem.text for problem in read(tmp_path).problems}
    assert "GiB of image" in texts["huge.nii"]
    assert "GiB of image" in texts["huge2.nii.gz"]


def test_a_header_must_not_lead_to_another_file(read: Read, tmp_path: Path) -> None:
    values = enhancing(2, 5, 16, 24)
    for phase in range(2):
        write(tmp_path / "in" / f"phase{phase}.mha", values[phase])
    (tmp_path / "secret.raw").write_bytes(b"\0" * 100000)
    write(tmp_path / "phase2.mhd", values[0])
    header = (tmp_path / "phase2.mhd").read_text()
    for number, target in enumerate(("../secret.raw", str(tmp_path / "secret.raw"), "LIST", "%d.raw 1 5 1")):
        (tmp_path / "in" / f"bad{number}.mhd").write_text(header.replace("phase2.raw", target))
    study = read(tmp_path / "in")
    assert study.dce.phase_count == 2
    bad = [problem for problem in study.problems if problem.file.startswith("bad")]
    assert len(bad) == 4
    assert all("the file with its values is not beside it" in problem.text for problem in bad)


def test_a_header_with_its_values_beside_it(read: Read, tmp_path: Path) -> None:
    values = enhancing(2, 5, 16, 24)
    for phase in range(2):
        write(tmp_path / f"phase{phase}.mhd", values[phase])
    study = read(tmp_path)
    assert np.array_equal(study.dce.values, values)
    assert next(use for use in study.files if use.file == "phase1.raw").used_as == "values of «phase1.mhd»"


def test_volumes_in_a_zip_are_said_to_be_unsupported(scan: Callable[[Path], Catalogue], tmp_path: Path) -> None:
    import zipfile

    write(tmp_path / "phase0.nii.gz", enhancing(1, 5, 16, 24)[0].astype(np.int16))
    with zipfile.ZipFile(tmp_path / "exam.zip", "w") as archive:
        archive.write(tmp_path / "phase0.nii.gz", "phase0.nii.gz")
    with pytest.raises(ReadError, match="volumes inside a zip are not read: unpack it first"):
        scan(tmp_path / "exam.zip")


def test_a_real_slice_with_25_time_points(reader: Reader, real_data: Path) -> None:
    catalogue = reader.scan(real_data / "mri-dce-slice", lambda _progress: None)
    assert catalogue.proposed is None
    key = next(candidate.key for candidate in catalogue.candidates if candidate.counts[0] == 25)
    study = reader.load(catalogue, Selection(key, None), lambda _progress: None)
    assert study.dce.values.shape == (25, 1, 192, 192)
    steps = np.diff(np.array(study.dce.times_s, dtype=float))
    assert np.allclose(steps, 16.43, atol=1e-3)
    assert study.dce.pre is not None


def test_a_real_volume_and_its_mask(read: Read, real_data: Path) -> None:
    study = read(real_data / "mri-lesion-mask")
    assert study.dce.values.shape == (1, 21, 120, 45)
    assert np.allclose(study.dce.grid.spacing_mm, (2.1, 0.664062, 0.664062))

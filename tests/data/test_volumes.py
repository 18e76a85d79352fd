"""NIfTI, NRRD and MetaImage: order by name, affine in LPS, masks left out."""

from __future__ import annotations

import gzip
import tempfile
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK

from breastai_gui.data.reader_process import Reader
from breastai_gui.data.study import Selection
from dicom_files import enhancing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from breastai_gui.data.study import Study

    Read = Callable[[Path], Study]


def nothing(_progress: object) -> None:
    """No progress is shown here."""


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


def zipped(folder: Path, *, folder_in_zip: str = "Müller Anna/") -> Path:
    """Pack a folder's files and return the zip."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, folder_in_zip + file.name)
    return path


@pytest.fixture
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this program's temporary files go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nrrd", "mha", "mhd", "nhdr"])
def test_volumes_in_a_zip(tmp_path: Path, temporary_folder: Path, ending: str) -> None:
    """Unpacked into a folder of its own for as long as it is read; nothing of it is left."""
    values = enhancing(3, 40, 80, 96).astype(np.int16)
    values += np.random.default_rng(1).integers(0, 50, values.shape).astype(np.int16)  # so that a packed header has more than 1 MiB to it
    for phase in range(3):
        write(tmp_path / "exam" / f"phase{phase}.{ending}", values[phase])
    path = zipped(tmp_path / "exam")
    with Reader() as reader:
        catalogue = reader.scan(path, nothing)
        study = reader.load(catalogue, catalogue.proposed, nothing)
        (private,) = temporary_folder.iterdir()
        assert private.stat().st_mode & 0o777 == 0o700
        assert list(private.iterdir()) == []
    assert list(temporary_folder.iterdir()) == []
    assert study.dce.values.dtype == np.int16
    assert np.array_equal(study.dce.values, values)
    assert np.allclose(study.dce.grid.to_patient(np.zeros(3)), (-60.0, -40.0, -20.0), atol=1e-4)
    uses = {use.file: use for use in study.files}
    assert uses[f"exam.zip/Müller Anna/phase1.{ending}"].used_as == "phase 2"
    assert all(use.used_as for use in study.files)


def test_a_zipped_file_with_all_phases_and_a_mask_beside_it(read: Read, tmp_path: Path) -> None:
    values = enhancing(4, 5, 16, 24).astype(np.float32)
    write(tmp_path / "exam" / "lesion mask" / "dce.nii.gz", values)
    write(tmp_path / "exam" / "lesion mask" / "label.nii.gz", values[0])
    zipped(tmp_path / "exam" / "lesion mask", folder_in_zip="")  # the zip's own name says nothing of what is in it
    for file in (tmp_path / "exam" / "lesion mask").iterdir():
        file.unlink()
    study = read(tmp_path / "exam")
    assert np.array_equal(study.dce.values, values)
    assert study.dce.times_s == (-70.0, 0.0, 70.0, 140.0)


def test_d7_damaged_volumes_and_bombs_in_a_zip(tmp_path: Path, temporary_folder: Path) -> None:
    values = enhancing(2, 5, 64, 64).astype(np.int16)
    for phase in range(2):
        write(tmp_path / "exam" / f"phase{phase}.nii", values[phase])
    write(tmp_path / "exam" / "phase2.nii.gz", values[0])
    write(tmp_path / "exam" / "lonely.mhd", values[0])
    (tmp_path / "exam" / "lonely.raw").unlink()
    (tmp_path / "exam" / "bomb.nii").write_bytes((tmp_path / "exam" / "phase0.nii").read_bytes()[:352] + b"\0" * (100 << 20))
    packed = bytearray((tmp_path / "exam" / "phase2.nii.gz").read_bytes())
    (tmp_path / "exam" / "phase2.nii.gz").write_bytes(packed[: len(packed) // 2])
    path = zipped(tmp_path / "exam", folder_in_zip="")
    with Reader() as reader:
        catalogue = reader.scan(path, nothing)
        study = reader.load(catalogue, catalogue.proposed, nothing)
    assert np.array_equal(study.dce.values[:2], values)
    texts = {problem.file: problem.text for problem in study.problems}
    assert texts["exam.zip/phase2.nii.gz"] == ("Phase 3 is damaged: «exam.zip/phase2.nii.gz»: it is damaged: its values cannot be read.")
    assert "and was not read" in texts["exam.zip/bomb.nii"]
    assert texts["exam.zip/lonely.mhd"] == "«exam.zip/lonely.mhd» was not read: the file with its values is not beside it."
    assert list(temporary_folder.iterdir()) == []


def test_a_zipped_volume_whose_bytes_are_wrong_is_named(tmp_path: Path) -> None:
    """The zip's checksum tells it; without it the wrong values would be shown as an image."""
    values = enhancing(2, 5, 64, 64).astype(np.int16)
    for phase in range(2):
        write(tmp_path / "exam" / f"phase{phase}.nii", values[phase])
    with zipfile.ZipFile(tmp_path / "exam.zip", "w") as archive:
        for file in sorted((tmp_path / "exam").iterdir()):
            archive.write(file, file.name)
    packed = bytearray((tmp_path / "exam.zip").read_bytes())
    packed[packed.index(b"phase1.nii") + 20_000] ^= 0xFF
    (tmp_path / "exam.zip").write_bytes(packed)
    with Reader() as reader:
        catalogue = reader.scan(tmp_path / "exam.zip", nothing)
        study = reader.load(catalogue, catalogue.proposed, nothing)
    texts = {problem.file: problem.text for problem in study.problems}
    assert texts["exam.zip/phase1.nii"] == "«exam.zip/phase1.nii» was not read: it is damaged: it cannot be unpacked."
    assert np.array_equal(study.dce.values, values[:1])


def test_unpacked_volumes_go_with_a_child_that_is_killed(tmp_path: Path, temporary_folder: Path) -> None:
    values = enhancing(2, 5, 16, 24).astype(np.int16)
    for phase in range(2):
        write(tmp_path / "exam" / f"phase{phase}.nii", values[phase])
    path = zipped(tmp_path / "exam")
    reader = Reader()
    reader.scan(path, nothing)
    (private,) = temporary_folder.iterdir()
    (private / "volume.nii").write_bytes(b"as if it were killed while it reads this")
    reader.stop()
    assert list(temporary_folder.iterdir()) == []


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

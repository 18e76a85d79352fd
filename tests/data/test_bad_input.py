"""Damaged, hostile and odd files: one plain sentence naming the file, the rest is read, nothing hangs."""

from __future__ import annotations

import gzip
import logging
import os
import time
import zipfile
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from breastai_gui.data.study import ReadError
from dicom_files import nested_sequences, uid, write_dce, write_ultrasound

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from breastai_gui.data.study import Catalogue, Problem, Study

    Read = Callable[[Path], Study]
    Scan = Callable[[Path], Catalogue]


def stopping(study: Study) -> list[Problem]:
    return [problem for problem in study.problems if problem.stops]


def test_d1_a_truncated_slice_is_named_with_its_phase_and_bytes(read: Read, tmp_path: Path) -> None:
    values = write_dce(tmp_path)
    file = tmp_path / "IM02005"
    file.write_bytes(file.read_bytes()[:-400])
    study = read(tmp_path)
    (problem,) = stopping(study)
    assert problem.text == (
        "Phase 3: slice 6 of 8 is damaged: «IM02005»: it is cut short or damaged (368 of 768 bytes of its image are there)."
    )
    assert problem.file == "IM02005"
    assert not study.dce.values[2, 5].any()
    assert np.array_equal(np.delete(study.dce.values[2], 5, 0), np.delete(values[2], 5, 0))
    assert next(use for use in study.files if use.file == "IM02005").used_as == ""


def test_d1_a_slice_cut_in_its_header(read: Read, tmp_path: Path) -> None:
    write_dce(tmp_path)
    file = tmp_path / "IM02005"
    file.write_bytes(file.read_bytes()[:500])
    study = read(tmp_path)
    assert any(problem.file == "IM02005" for problem in study.problems)
    assert any("Phase 3" in problem.text and "slice 6 of 8 is missing" in problem.text for problem in stopping(study))


def test_d2_a_missing_slice_in_all_phases_is_a_gap_in_millimetres(read: Read, tmp_path: Path) -> None:
    write_dce(tmp_path, change=lambda _image, _phase, place: place != 3)
    study = read(tmp_path)
    (problem,) = stopping(study)
    assert problem.text == "All phases: slice 4 of 8 is missing (a gap of 4.0 mm at -14.0 mm); shown black, and not assessed."
    assert np.allclose(study.dce.grid.spacing_mm, (2.0, 1.5, 1.25))


def test_d2_a_slice_twice_with_the_same_uid_and_bytes_is_a_copy(read: Read, tmp_path: Path) -> None:
    values = write_dce(tmp_path)
    (tmp_path / "copy of IM01003").write_bytes((tmp_path / "IM01003").read_bytes())
    study = read(tmp_path)
    assert np.array_equal(study.dce.values, values)
    assert stopping(study) == []
    assert {use.why_not for use in study.files if not use.used_as} == {"a copy of «IM01003»"}


def test_d2_the_same_uid_with_other_bytes_stops(read: Read, tmp_path: Path) -> None:
    write_dce(tmp_path)
    (tmp_path / "other").write_bytes((tmp_path / "IM01003").read_bytes()[:-2] + b"\1\1")
    (problem,) = stopping(read(tmp_path))
    assert problem.text == "«other» and «IM01003» carry the same SOPInstanceUID but differ; only the second is used."


@pytest.mark.parametrize("name", ["AAA cut", "zzz cut"])
def test_d2_a_cut_off_copy_costs_nothing_whichever_comes_first(read: Read, tmp_path: Path, name: str) -> None:
    values = write_dce(tmp_path)
    whole = (tmp_path / "IM01003").read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) - 200])
    study = read(tmp_path)
    assert np.array_equal(study.dce.values, values)
    assert stopping(study) == []
    assert [problem.text for problem in study.problems if problem.file] == [f"«{name}» is a cut-off copy of «IM01003» and is not used."]


def test_d2_two_slices_at_one_place_stop(read: Read, tmp_path: Path) -> None:
    def change(image: object, phase: int, place: int) -> None:
        if (phase, place) == (1, 4):
            image.ImagePositionPatient = [-60, -40, -14]  # where slice 4 lies already

    write_dce(tmp_path, change=change)
    texts = [problem.text for problem in stopping(read(tmp_path))]
    assert any("two images lie at slice 4 of 8 (-14.0 mm), «IM01003» and «IM01004»" in text for text in texts)
    assert any("Phase 2" in text and "slice 5 of 8 is missing" in text for text in texts)


def test_uneven_slices_are_no_volume(scan: Scan, tmp_path: Path) -> None:
    def change(image: object, _phase: int, place: int) -> None:
        image.ImagePositionPatient = [-60, -40, -20 + 2.0 * place + (0.7 if place == 5 else 0)]

    write_dce(tmp_path / "exam", change=change)
    with pytest.raises(ReadError, match="only: its slices are not evenly spaced"):
        scan(tmp_path / "exam")


HUGE = [
    {"Rows": 65535, "Columns": 65535},
    {"Rows": 8192, "Columns": 8192},
    {"Rows": 0},
    {"BitsAllocated": 12},
]


@pytest.mark.parametrize("tags", HUGE)
def test_d6_more_declared_than_there_is(read: Read, tmp_path: Path, tags: dict[str, int]) -> None:
    def change(image: object, phase: int, place: int) -> None:
        if (phase, place) == (1, 3):
            for keyword, value in tags.items():
                setattr(image, keyword, value)

    write_dce(tmp_path, change=change)
    begin = time.perf_counter()
    study = read(tmp_path)
    assert time.perf_counter() - begin < 5.0
    assert any(problem.file == "IM01003" for problem in study.problems)
    assert any("slice 4 of 8 is missing" in problem.text for problem in stopping(study))


def test_d6_a_compressed_image_that_declares_gigabytes(scan: Scan, tmp_path: Path) -> None:
    def change(image: object, _number: int) -> None:
        image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
        from pydicom.encaps import encapsulate

        image.PixelData = encapsulate([b"\0" * 100] * 1)
        image["PixelData"].is_undefined_length = True
        image.Rows = image.Columns = 60000
        image.NumberOfFrames = 100

    write_ultrasound(tmp_path / "us", views=1, change=change)
    with pytest.raises(ReadError, match=r"it declares 335\.3 GiB of image"):
        scan(tmp_path / "us")


def test_d7_a_deflated_bomb(scan: Scan, tmp_path: Path) -> None:
    """A few kilobytes that would unpack to 150 MB."""
    write_ultrasound(tmp_path, views=1)
    plain = (tmp_path / "US000").read_bytes()
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    meta = plain[: plain.index(b"\x08\x00\x16\x00UI")].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    # The transfer syntax has grown by two bytes: its own length and the group's must say so.
    where = meta.index(b"\x02\x00\x10\x00UI") + 6
    meta = meta[:where] + (22).to_bytes(2, "little") + meta[where + 2 :]
    packed = engine.compress(b"\x08\x00\x05\x00UT\0\0" + (150 << 20).to_bytes(4, "little") + b"\0" * (150 << 20)) + engine.flush()
    (tmp_path / "US000").write_bytes(meta + packed)
    with pytest.raises(ReadError, match="expands beyond the limit"):
        scan(tmp_path)


def test_d7_zip_bombs_and_paths_that_lead_out(read: Read, tmp_path: Path) -> None:
    write_dce(tmp_path / "exam", phases=2)
    with zipfile.ZipFile(tmp_path / "exam.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((tmp_path / "exam").iterdir()):
            archive.write(path, f"folder/{path.name}")
        archive.writestr("../../escaped", (tmp_path / "exam" / "IM00000").read_bytes())
        archive.writestr("bomb", b"\0" * (100 << 20))
        archive.writestr("empty", b"")
    study = read(tmp_path / "exam.zip")
    assert study.dce.phase_count == 2
    why = {use.file: use.why_not for use in study.files if not use.used_as}
    assert why["exam.zip/bomb"] == "expands beyond the limit"
    assert why["exam.zip/empty"] == "empty (0 bytes)"
    assert sum(reason.startswith("a copy of") for reason in why.values()) == 1
    assert not list(tmp_path.parent.glob("escaped"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exam", "exam.zip"]


def test_a_damaged_zip_and_an_encrypted_member(read: Read, tmp_path: Path) -> None:
    write_dce(tmp_path, phases=2)
    (tmp_path / "broken.zip").write_bytes(b"PK\3\4 not really")
    study = read(tmp_path)
    assert [problem.text for problem in study.problems] == ["The zip «broken.zip» cannot be opened: it is damaged or no zip."]


@pytest.mark.parametrize("depth", [200, 3000])
def test_d8_deeply_nested_sequences(read: Read, tmp_path: Path, depth: int) -> None:
    write_dce(tmp_path, phases=2)
    (tmp_path / "nested.dcm").write_bytes(nested_sequences(depth))
    study = read(tmp_path)
    use = next(use for use in study.files if use.file == "nested.dcm")
    assert use.used_as == ""
    assert study.dce.phase_count == 2
    assert any(problem.file == "nested.dcm" for problem in study.problems)


def test_d11_an_executable_in_the_preamble_changes_nothing(read: Read, tmp_path: Path) -> None:
    def after(path: Path, _phase: int, _place: int) -> None:
        path.write_bytes(b"MZ\x90\0" + path.read_bytes()[4:])

    values = write_dce(tmp_path, phases=2, after=after)
    assert np.array_equal(read(tmp_path).dce.values, values)


def test_d12_what_else_lies_in_folders(read: Read, tmp_path: Path) -> None:
    """Loops, links that lead out, a pipe, an unreadable file, thousands of dots, and nothing waits."""
    exam = tmp_path / "mit Leerzeichen und 中文"
    values = write_dce(exam / "deep" / "er", phases=2)
    (tmp_path / "secret.txt").write_text("outside")
    (exam / "loop").symlink_to(exam)
    (exam / "out").symlink_to(tmp_path / "secret.txt")
    (exam / "gone").symlink_to(exam / "nowhere")
    (exam / "inside").symlink_to(exam / "deep" / "er" / "IM00000")
    os.mkfifo(exam / "pipe")
    (exam / "a\nb").write_bytes(b"text")
    (exam / ("x" * 250)).write_bytes(b"text")
    (exam / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    study = read(exam)
    assert np.array_equal(study.dce.values, values)
    why = {use.file: use.why_not for use in study.files if not use.used_as}
    assert why["loop"] == "a link to a folder; links are not followed"
    assert why["out"] == "a link that leads out of the opened folder"
    assert why["pipe"] == "not a plain file"
    assert why["inside"].startswith("a copy of") or why["deep/er/IM00000"].startswith("a copy of")
    assert "a\ufffdb" in why
    assert "gone" in why


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns the test that writes it
def test_d12_a_dicomdir_is_only_a_hint(read: Read, tmp_path: Path) -> None:
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.sequence import Sequence

    values = write_dce(tmp_path, phases=2)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = "1.2.840.10008.1.2.1", "1.2.840.10008.1.3.10"
    meta.MediaStorageSOPInstanceUID = uid("dicomdir")
    directory = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    records = []
    for name in (["IM00000"], ["GONE", "IM1"], ["..", "..", "ETC"]):
        record = Dataset()
        record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", name
        records.append(record)
    directory.DirectoryRecordSequence = Sequence(records)
    directory.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    for path in (tmp_path, tmp_path / "DICOMDIR"):
        study = read(path)
        assert np.array_equal(study.dce.values, values)
        text = "The DICOMDIR names 3 files, 2 of which are not there; what was found is what counts."
        assert text in [problem.text for problem in study.problems]


NAMES = [
    "A" * 60_000,
    "a^b^c^d^e=f=g",
    "<b>bold</b>&amp;<img src=x>",
    "\u202eevil",
    "\U0001f600",
    "李^小明=リ^シャオ",
]


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns the test that writes them
@pytest.mark.parametrize("name", NAMES)
def test_d13_strange_names_are_literal_text(read: Read, tmp_path: Path, name: str) -> None:
    def change(image: object, _phase: int, _place: int) -> None:
        image.SpecificCharacterSet = "ISO_IR 192"
        image.PatientName = name

    write_dce(tmp_path, phases=2, slices=3, change=change, after=None)
    study = read(tmp_path)
    assert study.patient.name == name[:1024]
    assert name[:20] not in repr(study.patient)


@pytest.mark.parametrize("charset", [b"ISO_IR 100", b"ISO_IR 999", b"nonsense", b"ISO 2022 IR 87", b"\\ISO 2022 IR 58"])
def test_d13_a_wrong_character_set_costs_nothing(read: Read, tmp_path: Path, charset: bytes) -> None:
    def after(path: Path, _phase: int, _place: int) -> None:
        data = path.read_bytes()
        padded = charset + b" " * (len(charset) % 2)
        begin = data.index(b"\x08\x00\x08\x00CS")
        data = data[:begin] + b"\x08\x00\x05\x00CS" + len(padded).to_bytes(2, "little") + padded + data[begin:]
        path.write_bytes(data.replace(b"Test^Patient", b"T\xe9st^\x1b$B\xff\xfe  "))

    values = write_dce(tmp_path, phases=2, slices=3, after=after)
    study = read(tmp_path)
    assert np.array_equal(study.dce.values, values)
    assert study.patient.name


def test_wrong_bytes_zeros_and_nothing(read: Read, tmp_path: Path) -> None:
    values = write_dce(tmp_path, phases=2)
    (tmp_path / "zeros.dcm").write_bytes(b"\0" * 5000)
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "noise.dcm").write_bytes(np.random.default_rng(1).bytes(5000))
    (tmp_path / "noise with magic").write_bytes(b"\0" * 128 + b"DICM" + np.random.default_rng(2).bytes(5000))
    (tmp_path / "letter.pdf").write_bytes(b"%PDF-1.4 ...")
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (tmp_path / "damaged.nii.gz").write_bytes(gzip.compress(b"no volume"))
    study = read(tmp_path)
    assert np.array_equal(study.dce.values, values)
    texts = {problem.file: problem.text for problem in study.problems if problem.file}
    assert texts["zeros.dcm"] == "«zeros.dcm» was not read: it holds nothing but zeros."
    assert texts["empty.dcm"] == "«empty.dcm» is empty (0 bytes)."
    assert texts["noise.dcm"] == "«noise.dcm» was not read: it is damaged or no image (its first bytes are wrong)."
    assert set(texts) == {"zeros.dcm", "empty.dcm", "noise.dcm", "noise with magic", "damaged.png", "damaged.nii.gz"}


def test_a_folder_without_images(scan: Scan, tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    with pytest.raises(ReadError, match=r"«notes» is empty \(DICOM, NIfTI"):
        scan(folder)
    (folder / "a.txt").write_text("hello")
    with pytest.raises(ReadError, match="«notes» holds 1 file, none of them an image"):
        scan(folder)
    with pytest.raises(ReadError, match="«nowhere» cannot be opened: it is not there"):
        scan(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ReadError, match="neither a file nor a folder"):
        scan(tmp_path / "pipe")


def test_d15_a_file_deleted_between_headers_and_pixels(reader: object, tmp_path: Path) -> None:
    write_dce(tmp_path)
    catalogue = reader.scan(tmp_path, lambda _progress: None)
    (tmp_path / "IM01003").unlink()
    (tmp_path / "IM01004").write_bytes((tmp_path / "IM01004").read_bytes()[:-100])
    study = reader.load(catalogue, catalogue.proposed, lambda _progress: None)
    texts = {problem.file: problem.text for problem in study.problems if problem.stops}
    assert set(texts) == {"IM01003", "IM01004"}
    assert "changed or cut short while it was being read" in texts["IM01004"]


def test_f1_nothing_about_the_patient_is_logged(read: Read, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: object) -> None:
    """pydicom would write the birth date into its log and into a warning."""
    patient = {"PatientID": "CANARY-7731", "PatientName": "ZZCANARY^PAT", "PatientBirthDate": "19010203", "PatientSex": "F"}

    def after(path: Path, _phase: int, _place: int) -> None:
        path.write_bytes(path.read_bytes().replace(b"19010203", b"1901-2-3"))

    with caplog.at_level(logging.DEBUG):
        write_dce(tmp_path, phases=2, slices=3, patient=patient, after=after)
        study = read(tmp_path)
    assert study.patient.birth_date == "1901-2-3"
    told = caplog.text + "".join(capfd.readouterr())
    for word in ("CANARY", "1901-2-3", "19010203"):
        assert word not in told

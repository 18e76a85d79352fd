"""Every encoding gives the same numbers; colours, palettes, windows and signs come out right."""

from __future__ import annotations

import base64
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.sequence import Sequence

from breastai_gui.data.dicom import decoded, read_slice
from breastai_gui.data.headers import PREFIX_BYTES, read_header
from breastai_gui.data.picture import is_mask, luminance, windowed
from breastai_gui.data.slices import Slice
from breastai_gui.data.walk import Files
from dicom_files import enhancing, region, write_dce, write_ultrasound

if TYPE_CHECKING:
    from collections.abc import Callable

    from breastai_gui.data.study import Study

    Read = Callable[[Path], Study]

SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "big endian": "1.2.840.10008.1.2.2",
    "deflated": "1.2.840.10008.1.2.1.99",
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
}


def encoded(path: Path, syntax: str) -> None:
    """Write a file again in another transfer syntax."""
    image = pydicom.dcmread(path)
    if syntax in ("1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"):
        image.compress(syntax, generate_instance_uid=False)
        image.save_as(path, enforce_file_format=True)
        return
    if syntax == "1.2.840.10008.1.2.2":
        image.PixelData = image.pixel_array.astype(image.pixel_array.dtype.newbyteorder(">")).tobytes()
    image.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    pydicom.dcmwrite(
        buffer, image, implicit_vr=syntax == "1.2.840.10008.1.2", little_endian=syntax != "1.2.840.10008.1.2.2", force_encoding=True
    )
    data = buffer.getvalue()
    if data[128:132] != b"DICM":
        raise AssertionError
    path.write_bytes(data)


@pytest.mark.parametrize("name", SYNTAXES)
@pytest.mark.parametrize("signed", [False, True])
def test_d10_the_same_volume_in_every_encoding(read: Read, tmp_path: Path, name: str, signed: bool) -> None:
    values = enhancing(2, 3, 48, 40)
    if signed:
        values = values.astype(np.int16) - 300
    write_dce(tmp_path, values=values, after=lambda path, _phase, _place: encoded(path, SYNTAXES[name]))
    study = read(tmp_path)
    assert np.array_equal(study.dce.values, values)
    assert study.dce.values.dtype == values.dtype


# A picture of 16 x 24 with row * 97 + column * 31, encoded by OpenJPH and libjpeg-turbo: nothing that is installed writes these.
HTJ2K = base64.b64decode(
    "/0//UQApQAAAAAAYAAAAEAAAAAAAAAAAAAAAGAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQkJCQiIiI/2QA"
    "FwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAJgAAf+TwAAmhfoFB3QAwAATACb8Aod0AMAAEsAAE4DjAAd0AOxm9wCiNADAABPAABVAGjX+gYt0AHTTpfsA"
    "EIB3VgDAABUwAAVwCoVC8dpxAnUAsmVlZWVl4Bj2MYHsuADAACtgABbQnHPOOefz+np6cAJ4AMBAIBAIBAKBQCDw/xACEB79iEB79iEB7L8A/9k="
)
JPEG_12_BITS = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggLDAsKDAkKCgr/wQAL"
    "DAAQABgBAREA/8QAFgABAQEAAAAAAAAAAAAAAAAACgsN/8QAHBAAAAYDAAAAAAAAAAAAAAAAAAoLKDVFU2Jx/9oACAEBAAA/AMb/AC5SIvAtGx0fNQ+AuUiLwLRs"
    "dHzUPgLlIi8C0bHR81FGAuUiLwLRsdHzUPgLlIi8C0bHR81D4C5SIvAtGx0fNR//2Q=="
)


@pytest.mark.parametrize(
    ("syntax", "codestream", "off_by"),
    [("1.2.840.10008.1.2.4.201", HTJ2K, 0), ("1.2.840.10008.1.2.4.203", HTJ2K, 0), ("1.2.840.10008.1.2.4.51", JPEG_12_BITS, 1)],
)
@pytest.mark.parametrize("packed", [False, True])
def test_d10_htj2k_and_jpeg_of_twelve_bits(read: Read, tmp_path: Path, syntax: str, codestream: bytes, off_by: int, packed: bool) -> None:
    from pydicom.encaps import encapsulate

    def change(image: object, _phase: int, _place: int) -> None:
        image.file_meta.TransferSyntaxUID = syntax
        image.BitsStored, image.HighBit = 12, 11
        image.PixelData = encapsulate([codestream])
        image["PixelData"].is_undefined_length = True
        image.RescaleSlope, image.RescaleIntercept = 2, -5  # stays with the series; the values are the stored ones

    row, column = np.mgrid[0:16, 0:24]
    expected = row * 97 + column * 31
    write_dce(tmp_path / "exam", phases=2, slices=3, change=change)
    path = tmp_path / "exam"
    if packed:
        with zipfile.ZipFile(tmp_path / "exam.zip", "w") as archive:
            for file in (tmp_path / "exam").iterdir():
                archive.write(file, file.name)
        path = tmp_path / "exam.zip"
    study = read(path)
    assert study.dce.values.shape == (2, 3, 16, 24)
    assert np.abs(study.dce.values.astype(int) - expected).max() <= off_by
    assert study.dce.scale.tolist() == [[2.0, -5.0]] * 2
    assert [problem for problem in study.problems if problem.file] == []


@pytest.mark.parametrize("name", ["JPEGLosslessProcess14", "JPEGLosslessProcess14_1"])
@pytest.mark.parametrize("signed", [False, True])
def test_d10_jpeg_lossless(read: Read, tmp_path: Path, name: str, signed: bool) -> None:
    import gdcm

    def after(path: Path, _phase: int, _place: int) -> None:
        source = gdcm.ImageReader()
        source.SetFileName(str(path))
        assert source.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, name)))
        change.SetInput(source.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFile(source.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(path))
        assert writer.Write()

    values = enhancing(2, 3, 48, 40)
    if signed:
        values = values.astype(np.int16) - 300
    write_dce(tmp_path, values=values, after=after)
    syntaxes = {str(pydicom.dcmread(path).file_meta.TransferSyntaxUID) for path in tmp_path.iterdir()}
    assert syntaxes <= {"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"}
    assert np.array_equal(read(tmp_path).dce.values, values)


@pytest.mark.parametrize(("photometric", "subsampling"), [("YBR_FULL", 0), ("YBR_FULL_422", 1)])
def test_d9_jpeg_baseline_ultrasound_in_ybr(read: Read, tmp_path: Path, photometric: str, subsampling: int) -> None:
    """A smooth picture in three unequal colours, so that a mixed-up colour would be seen in its luminance."""
    from PIL import Image
    from pydicom.encaps import encapsulate

    row, column = np.mgrid[0:64, 0:80]
    colours = np.stack([40 + 2 * row, 200 - 2 * column, np.full(row.shape, 90)], axis=-1).astype(np.uint8)

    def change(image: object, _number: int) -> None:
        packed = io.BytesIO()
        Image.fromarray(colours).save(packed, "JPEG", quality=95, subsampling=subsampling)
        image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"
        image.PhotometricInterpretation = photometric
        image.PixelData = encapsulate([packed.getvalue()])
        image["PixelData"].is_undefined_length = True

    write_ultrasound(tmp_path, views=2, pixels=lambda _number: colours, regions=False, change=change)
    for view in read(tmp_path).ultrasound:
        assert np.abs(view.pixels.astype(int) - luminance(colours)).max() <= 3


def test_d10_nine_encodings_of_a_real_image(real_data: Path) -> None:
    """JPEG lossless and others that this computer cannot write."""
    pictures = []
    for path in sorted((real_data / "mri-transfer-syntaxes" / "In").iterdir()):
        files = Files(path)
        header = read_header(files, files.found[0], files.head(files.found[0], PREFIX_BYTES))
        target = np.zeros((header.count("Rows"), header.count("Columns")), dtype=np.uint16)
        assert read_slice(files, Slice(header, 0, (), (), (), (1.0, 0.0)), target) == ""
        pictures.append(target)
    assert len(pictures) == 9
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)
    assert pictures[0].max() == 2362


PYDICOM_MR = [
    "MR_small_RLE",
    "MR_small_bigendian",
    "MR_small_implicit",
    "MR_small_jp2klossless",
    "MR_small_jpeg_ls_lossless",
    "MR_small_padded",
]


@pytest.mark.parametrize("name", PYDICOM_MR)
def test_d10_pydicom_s_own_files(name: str) -> None:
    expected = pydicom.dcmread(str(get_testdata_file("MR_small.dcm"))).pixel_array
    files = Files(Path(str(get_testdata_file(f"{name}.dcm"))))
    header = read_header(files, files.found[0], files.head(files.found[0], PREFIX_BYTES))
    target = np.zeros(expected.shape, dtype=np.int16)
    assert read_slice(files, Slice(header, 0, (), (), (), (1.0, 0.0)), target) == ""
    assert np.array_equal(target, expected)


@pytest.mark.parametrize("bits", [12, 10])
def test_d9_old_overlays_above_the_stored_bits_are_cleared(read: Read, tmp_path: Path, bits: int) -> None:
    values = enhancing(2, 3, 16, 24)

    def change(image: object, _phase: int, _place: int) -> None:
        image.BitsStored, image.HighBit = bits, bits - 1
        pixels = np.frombuffer(image.PixelData, dtype=np.uint16).copy()
        pixels[::7] |= 0x8000
        image.PixelData = pixels.tobytes()

    write_dce(tmp_path, values=values, change=change)
    assert np.array_equal(read(tmp_path).dce.values, values)


def test_d9_eight_bit_mri(read: Read, tmp_path: Path) -> None:
    values = (enhancing(2, 3, 16, 24) // 4).astype(np.uint8)
    write_dce(tmp_path, values=values)
    study = read(tmp_path)
    assert study.dce.values.dtype == np.uint8
    assert np.array_equal(study.dce.values, values)


def test_d9_monochrome1_ultrasound_is_turned_over(read: Read, tmp_path: Path) -> None:
    pictures = write_ultrasound(tmp_path, views=1, change=lambda image, _number: setattr(image, "PhotometricInterpretation", "MONOCHROME1"))
    assert np.array_equal(read(tmp_path).ultrasound[0].pixels, 255 - pictures[0][8:])


def test_d9_sixteen_bit_ultrasound_goes_through_its_window(read: Read, tmp_path: Path) -> None:
    def change(image: object, _number: int) -> None:
        image.WindowCenter, image.WindowWidth = 2048, 4096

    ramp = np.tile(np.arange(0, 4096, 64, dtype=np.uint16), (20, 1))
    write_ultrasound(tmp_path, views=1, pixels=lambda _number: ramp, change=change)
    pixels = read(tmp_path).ultrasound[0].pixels
    assert (pixels[0, 0], pixels[0, -1]) == (0, 251)
    assert (np.diff(pixels[0].astype(int)) >= 3).all()


def test_d9_colours_become_luminance(read: Read, tmp_path: Path) -> None:
    red = np.zeros((20, 30, 3), dtype=np.uint8)
    red[..., 0] = 200
    write_ultrasound(tmp_path, views=1, pixels=lambda _number: red)
    assert (read(tmp_path).ultrasound[0].pixels == 60).all()


def test_d9_palette_and_ybr_of_pydicom_s_own_files(read: Read) -> None:
    """Against pydicom's own conversion to RGB."""
    path = Path(str(get_testdata_file("examples_palette.dcm")))
    image = pydicom.dcmread(path)
    colours = pydicom.pixels.apply_color_lut(image.pixel_array, image)
    # Its region ends below the image, so the image is shown whole.
    assert np.array_equal(read(path).ultrasound[0].pixels, luminance((colours >> 8).astype(np.uint8)))
    study = read(Path(str(get_testdata_file("examples_ybr_color.dcm"))))
    assert len(study.ultrasound) == 30
    assert sum(view.proposed for view in study.ultrasound) == 12
    frame = pydicom.pixels.pixel_array(get_testdata_file("examples_ybr_color.dcm"), index=7)
    assert np.array_equal(study.ultrasound[7].pixels, luminance(frame)[: study.ultrasound[7].pixels.shape[0]])


def test_d9_one_bit_images_are_unsupported_and_said(scan: Callable[[Path], object], tmp_path: Path) -> None:
    def change(image: object, _number: int) -> None:
        image.BitsAllocated = image.BitsStored = 1
        image.HighBit = 0
        image.PixelData = image.PixelData[: 60 * 80 // 8]

    write_ultrasound(tmp_path / "us", views=1, change=change)
    from breastai_gui.data.study import ReadError

    with pytest.raises(ReadError, match="unsupported: 1 bits a pixel"):
        scan(tmp_path / "us")


def test_an_unknown_compression_costs_one_file(read: Read, tmp_path: Path) -> None:
    def change(image: object, number: int) -> None:
        if number == 1:
            from pydicom.encaps import encapsulate

            image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
            image.PixelData = encapsulate([b"\xff\x4f\xff\x51 no JPEG 2000 at all"])
            image["PixelData"].is_undefined_length = True

    write_ultrasound(tmp_path, views=3, change=change)
    study = read(tmp_path)
    assert [view.label for view in study.ultrasound] == ["US000", "US002"]
    assert any(problem.file == "US001" and "cannot be decoded" in problem.text for problem in study.problems)
    assert next(use for use in study.files if use.file == "US001").used_as == ""


def test_frames_of_a_compressed_file_are_decoded_one_by_one(tmp_path: Path) -> None:
    frames = np.random.default_rng(5).integers(0, 255, (4, 20, 30)).astype(np.uint8)
    write_ultrasound(tmp_path, views=1, pixels=lambda _number: frames, regions=False)
    encoded(tmp_path / "US000", SYNTAXES["RLE"])
    files = Files(tmp_path)
    header = read_header(files, files.found[0], files.head(files.found[0], PREFIX_BYTES))
    assert np.array_equal(decoded(files, header, 2, raw=False), frames[2])


def test_windows_and_masks() -> None:
    assert windowed(np.array([0.0, 50.0, 100.0]), (50.5, 101.0)).tolist() == [0, 128, 255]
    mask = np.zeros((50, 50), dtype=np.uint8)
    mask[10:20, 10:20] = 255
    assert is_mask(mask)
    assert not is_mask(np.random.default_rng(1).integers(0, 255, (50, 50)).astype(np.uint8))


def test_the_region_is_cut_out_and_nothing_else_is_left(read: Read, tmp_path: Path) -> None:
    """F4: what stands outside the region is gone; of several regions the tissue is taken, not the spectrum beside it."""

    def change(image: object, _number: int) -> None:
        image.SequenceOfUltrasoundRegions = Sequence(
            [region(0, 0, 59, 79, data_type=3), region(10, 5, 49, 69, mm=0.1), region(12, 8, 20, 20, data_type=2)]
        )

    pictures = write_ultrasound(tmp_path, views=1, change=change)
    view = read(tmp_path).ultrasound[0]
    assert np.array_equal(view.pixels, pictures[0][10:50, 5:70])
    assert view.spacing_mm == pytest.approx((0.1, 0.1))

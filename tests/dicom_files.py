"""Writes small DICOM exams for tests: plain, with knobs for what scanners do differently and for what goes wrong."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

MR = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"
ULTRASOUND_CINE = "1.2.840.10008.5.1.4.1.1.3.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

PATIENT = {"PatientID": "T-1", "PatientName": "Test^Patient", "PatientBirthDate": "19700101", "PatientSex": "F"}
OTHER_PATIENT = {"PatientID": "T-2", "PatientName": "Other^Person", "PatientBirthDate": "19610203", "PatientSex": "F"}
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

Change = "Callable[[Dataset, int, int], object]"


def uid(*parts: object) -> str:
    """Return a UID that depends on nothing but its parts."""
    return generate_uid(entropy_srcs=["breastai-tests", *(str(part) for part in parts)])


def dataset(sop_class: str, values: dict[str, Any], pixels: NDArray[Any]) -> FileDataset:
    """Return an image with the pixel tags that follow from its array (row, column[, RGB]) or (frame, row, column)."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = sop_class
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID = sop_class
    for keyword, value in values.items():
        setattr(image, keyword, value)
    meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    colour = pixels.ndim >= 3 and pixels.shape[-1] == 3
    image.SamplesPerPixel = 3 if colour else 1
    image.PhotometricInterpretation = values.get("PhotometricInterpretation", "RGB" if colour else "MONOCHROME2")
    if colour:
        image.PlanarConfiguration = 0
        pixels = pixels[None] if pixels.ndim == 3 else pixels
    elif pixels.ndim == 2:
        pixels = pixels[None]
    if len(pixels) > 1:
        image.NumberOfFrames = len(pixels)
    image.Rows, image.Columns = pixels.shape[1:3]
    bits = pixels.dtype.itemsize * 8
    image.BitsAllocated = bits
    image.BitsStored = values.get("BitsStored", bits)
    image.HighBit = image.BitsStored - 1
    image.PixelRepresentation = int(pixels.dtype.kind == "i")
    data = np.ascontiguousarray(pixels).tobytes()
    image.PixelData = data + b"\0" * (len(data) % 2)
    image["PixelData"].VR = "OB" if bits == 8 else "OW"
    return image


def save(image: FileDataset, path: Path) -> Path:
    """Write an image as a DICOM file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save_as(path, enforce_file_format=True)
    return path


def enhancing(phases: int, slices: int, rows: int, columns: int) -> NDArray[np.uint16]:
    """Return (phase, slice, row, column): tissue that enhances after the first phase, every slice different."""
    place, row, column = np.mgrid[0:slices, 0:rows, 0:columns]
    tissue = (np.abs(row - rows / 2) < rows / 3) & (np.abs(column - columns / 2) < columns / 3)
    base = np.where(tissue, 200, 10) + place + (row * 3 + column) % 7
    gain = [1.0, 1.6, 1.9, 1.85, 1.8, 1.75, 1.7, 1.68, 1.66, 1.64, 1.62, 1.6]
    return np.stack([np.where(tissue, base * gain[min(p, 11)], base) for p in range(phases)]).astype(np.uint16)


def write_dce(
    folder: Path,
    phases: int = 5,
    slices: int = 8,
    rows: int = 16,
    columns: int = 24,
    *,
    values: NDArray[Any] | None = None,
    orientation: tuple[float, ...] = AXIAL,
    origin: tuple[float, float, float] = (-60.0, -40.0, -20.0),
    spacing: tuple[float, float] = (1.5, 1.25),
    gap: float = 2.0,
    evidence: tuple[str, ...] = ("AcquisitionTime", "AcquisitionNumber"),
    start: int = 9 * 3600,
    step_s: int = 80,
    one_series: bool = False,
    patient: dict[str, str] | None = None,
    study: str = "mri",
    change: Callable[[FileDataset, int, int], object] | None = None,
    name: Callable[[int, int], str] | None = None,
    after: Callable[[Path, int, int], object] | None = None,
) -> NDArray[Any]:
    """Write a dynamic series and return its values, (phase, slice, row, column), slices in the order of their normal.

    Parameters
    ----------
    evidence
        Which tags tell the order: "AcquisitionTime" (with its date), "AcquisitionTimeOnly", "ContentTime",
        "TriggerTime", "TemporalPositionIdentifier", "AcquisitionNumber". SeriesNumber rises unless `one_series`.
    start, step_s
        Seconds of the day of the first phase, and between phases; the second phase begins at the injection.
    change
        Called with each image, its phase and slice before it is written; returns False to leave it out.
    name
        The file's name below `folder`.
    after
        Called with each written file.
    """
    array = enhancing(phases, slices, rows, columns) if values is None else values
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column)
    for phase in range(len(array)):
        seconds = start + phase * step_s
        for place in range(array.shape[1]):
            tags: dict[str, Any] = {
                **(PATIENT if patient is None else patient),
                "SOPInstanceUID": uid(study, phase, place, folder.name),
                "StudyInstanceUID": uid(study),
                "SeriesInstanceUID": uid(study, "series", 0 if one_series else phase),
                "FrameOfReferenceUID": uid(study, "frame"),
                "Modality": "MR",
                "Manufacturer": "Test",
                "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
                "StudyDate": "20260314",
                "StudyDescription": "Breast MRI",
                "SeriesDescription": "t1 fl3d dyn",
                "SeriesNumber": 5 if one_series else 5 + phase,
                "InstanceNumber": phase * array.shape[1] + place + 1 if one_series else place + 1,
                "ScanningSequence": "GR",
                "RepetitionTime": 4.3,
                "EchoTime": 1.7,
                "FlipAngle": 10,
                "SliceThickness": gap,
                "ImagePositionPatient": [round(float(v), 6) for v in np.array(origin) + normal * gap * place],
                "ImageOrientationPatient": [round(float(v), 9) for v in orientation],
                "PixelSpacing": list(spacing),
                "RescaleSlope": 1,
                "RescaleIntercept": 0,
            }
            clock = f"{seconds // 3600 % 24:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}.000000"
            if "AcquisitionTime" in evidence:
                tags["AcquisitionDate"] = "20260314" if seconds < 86400 else "20260315"
            if "AcquisitionTime" in evidence or "AcquisitionTimeOnly" in evidence:
                tags["AcquisitionTime"] = clock
            if "ContentTime" in evidence:
                tags["ContentTime"] = clock
            if "TriggerTime" in evidence:
                tags["TriggerTime"] = phase * step_s * 1000
            if "TemporalPositionIdentifier" in evidence:
                tags["TemporalPositionIdentifier"] = phase + 1
            if "AcquisitionNumber" in evidence:
                tags["AcquisitionNumber"] = phase + 1
            image = dataset(MR, tags, array[phase, place])
            if change is not None and change(image, phase, place) is False:
                continue
            image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
            path = save(image, folder / (f"IM{phase:02d}{place:03d}" if name is None else name(phase, place)))
            if after is not None:
                after(path, phase, place)
    return array


def write_enhanced(folder: Path, phases: int = 3, slices: int = 6, rows: int = 16, columns: int = 24, *, gap: float = 2.0) -> NDArray[Any]:
    """Write one Enhanced MR file that holds all phases, frames in a mixed order; return its values."""
    array = enhancing(phases, slices, rows, columns)
    order = [(phase, place) for place in range(slices) for phase in reversed(range(phases))]
    tags: dict[str, Any] = {
        **PATIENT,
        "SOPInstanceUID": uid("enhanced"),
        "StudyInstanceUID": uid("mri"),
        "SeriesInstanceUID": uid("enhanced", "series"),
        "FrameOfReferenceUID": uid("mri", "frame"),
        "Modality": "MR",
        "ImageType": ["ORIGINAL", "PRIMARY", "DYNAMIC", "NONE"],
        "StudyDate": "20260314",
        "SeriesDescription": "THRIVE dyn",
        "SeriesNumber": 7,
    }
    image = dataset(ENHANCED_MR, tags, np.stack([array[phase, place] for phase, place in order]))
    shared = Dataset()
    shared.PixelMeasuresSequence = _item(PixelSpacing=[1.5, 1.25], SliceThickness=gap)
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=list(AXIAL))
    shared.PixelValueTransformationSequence = _item(RescaleSlope=2.0, RescaleIntercept=-3.0, RescaleType="US")
    image.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for phase, place in order:
        frame = Dataset()
        frame.PlanePositionSequence = _item(ImagePositionPatient=[-60.0, -40.0, -20.0 + gap * place])
        frame.FrameContentSequence = _item(
            TemporalPositionIndex=phase + 1, FrameAcquisitionDateTime=f"20260314{9 + phase:02d}0000", FrameAcquisitionDuration=60000.0
        )
        frames.append(frame)
    image.PerFrameFunctionalGroupsSequence = Sequence(frames)
    save(image, folder / "enhanced")
    return array


def _item(**values: Any) -> Sequence:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return Sequence([item])


def region(top: int, left: int, bottom: int, right: int, mm: float = 0.2, *, data_type: int = 1, units: int = 3) -> Dataset:
    """Return one item of SequenceOfUltrasoundRegions; bottom and right are the last row and column."""
    item = Dataset()
    item.RegionSpatialFormat = 1
    item.RegionDataType = data_type
    item.RegionFlags = 2
    item.RegionLocationMinX0, item.RegionLocationMinY0 = left, top
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = right, bottom
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = units
    item.PhysicalDeltaX = item.PhysicalDeltaY = mm / 10
    return item


def ultrasound_pixels(number: int, rows: int = 60, columns: int = 80) -> NDArray[np.uint8]:
    """Return (row, column): a dark burned-in header of eight rows, speckle below."""
    random = np.random.default_rng(number)
    pixels = random.integers(40, 200, (rows, columns)).astype(np.uint8)
    pixels[:8] = 255
    return pixels


def write_ultrasound(
    folder: Path,
    views: int = 12,
    *,
    pixels: Callable[[int], NDArray[Any]] = ultrasound_pixels,
    regions: bool = True,
    patient: dict[str, str] | None = None,
    study: str = "ultrasound",
    sop_class: str = ULTRASOUND,
    modality: str = "US",
    name: Callable[[int], str] = lambda number: f"US{number:03d}",
    change: Callable[[FileDataset, int], object] | None = None,
) -> list[NDArray[Any]]:
    """Write ultrasound images and return their pixels, whole, before the region is cut out."""
    pictures = []
    for number in range(views):
        tags: dict[str, Any] = {
            **(PATIENT if patient is None else patient),
            "SOPInstanceUID": uid(study, number, folder.name),
            "StudyInstanceUID": uid(study),
            "SeriesInstanceUID": uid(study, "series"),
            "Modality": modality,
            "StudyDate": "20260315",
            "SeriesNumber": 1,
            "InstanceNumber": number + 1,
        }
        picture = pixels(number)
        image = dataset(sop_class, tags, picture)
        if regions:
            last_row, last_column = image.Rows - 1, image.Columns - 1
            image.SequenceOfUltrasoundRegions = Sequence([region(8, 0, last_row, last_column)])
        if change is not None:
            change(image, number)
        save(image, folder / name(number))
        pictures.append(picture)
    return pictures


def nested_sequences(depth: int, *, pixel: bytes = b"\0\0") -> bytes:
    """Return a DICOM file with sequences of undefined length nested `depth` deep before a 1 x 1 image."""
    out = io.BytesIO()
    out.write(b"\0" * 128 + b"DICM")
    syntax = b"1.2.840.10008.1.2.1\0"
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(syntax)) + syntax
    out.write(struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta)) + meta)
    for group, element, value in ((8, 0x16, b"1.2.840.10008.5.1.4.1.1.4\0"), (8, 0x60, b"MR")):
        out.write(struct.pack("<HH2sH", group, element, b"UI" if element == 0x16 else b"CS", len(value)) + value)
    for _ in range(depth):
        out.write(struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF))
    for _ in range(depth):
        out.write(struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))
    for group, element, number in ((0x28, 0x10, 1), (0x28, 0x11, 1), (0x28, 0x100, 16)):
        out.write(struct.pack("<HH2sHH", group, element, b"US", 2, number))
    out.write(struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, len(pixel)) + pixel)
    return out.getvalue()

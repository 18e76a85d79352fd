"""A made-up exam as DICOM files: MR phases and ultrasound images, as real scanners write them, from plain arrays.

Only the phantom's images are written here; every UID begins with `DEMO_UID_ROOT` and follows from the seed alone, so that
the same seed gives the same files.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from breastai_gui.data.study import DEMO_UID_ROOT, Grid, Side

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

SEED_LIMIT = 10**8
"""Seeds stay below this: a UID has at most 64 characters (DICOM PS3.5 9.1)."""
MANUFACTURER = "BreastAI phantom"
PHASE_DURATION_S = 60.0
INJECTION = dt.datetime(2026, 1, 15, 10, 5, 0)
"""When the contrast agent was given, in every made-up exam."""
MR_STUDY, ULTRASOUND_STUDY, FRAME_OF_REFERENCE = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Scan:
    """How the MR images were taken: spoiled gradient echo."""

    repetition_ms: float
    echo_ms: float
    flip_deg: float


@dataclass(frozen=True, eq=False, slots=True)
class UltrasoundScreen:
    """One ultrasound image as it stands on the scanner's screen.

    Attributes
    ----------
    pixels
        (row, column) uint8: the whole screen.
    region
        (top, left, height, width) of the ultrasound on it.
    """

    pixels: NDArray[np.uint8]
    region: tuple[int, int, int, int]


def demo_uid(seed: int, *numbers: int) -> str:
    """Return a UID under `DEMO_UID_ROOT` that follows from the seed and the numbers."""
    if not 0 <= seed < SEED_LIMIT:
        raise ValueError(f"The seed of a made-up patient must lie from 0 to {SEED_LIMIT - 1}, not at {seed}.")
    return ".".join([DEMO_UID_ROOT, *(str(number) for number in (seed, *numbers))])


def write_phases(
    folder: Path, seed: int, values: NDArray[np.generic], affine: NDArray[np.float64], times_s: Sequence[float], pre: int, scan: Scan
) -> int:
    """Write each phase as a series of its own, one classic MR Image a slice; return how many files were written.

    Parameters
    ----------
    folder
        Gets one folder a phase.
    seed
        Names the patient and the UIDs.
    values
        (phase, slice, row, column), 0 to 4095.
    affine
        (4, 4): (slice, row, column, 1) to LPS mm.
    times_s
        Middle of each phase, seconds from injection.
    pre
        The phase before contrast.
    scan
        The sequence.
    """
    window = _window(values[-1])
    grid = Grid((values.shape[1], values.shape[2], values.shape[3]), np.array(affine, dtype=np.float64))
    for phase, (volume, time_s) in enumerate(zip(values, times_s, strict=True)):
        target = folder / f"phase_{phase + 1}"
        target.mkdir(parents=True, exist_ok=True)
        base = _mr_base(seed, grid, phase, len(values), time_s, scan)
        base.WindowCenter, base.WindowWidth = window
        if phase != pre:
            _add_contrast(base)
        for index, picture in enumerate(volume):
            place = grid.to_patient(np.array([float(index), 0.0, 0.0]))
            base.SOPInstanceUID = demo_uid(seed, MR_STUDY, phase + 1, index + 1)
            base.InstanceNumber = index + 1
            base.ImagePositionPatient = [_decimal(number) for number in place]
            base.SliceLocation = _decimal(float(place @ _normal(grid)))
            _set_pixels(base, np.asarray(picture, dtype="<u2"))
            _save(base, target / f"IM{index + 1:03d}.dcm")
    return int(values.shape[0] * values.shape[1])


def write_ultrasound(
    folder: Path, seed: int, views: Sequence[UltrasoundScreen], angles_deg: Sequence[float], spacing_mm: tuple[float, float], side: Side
) -> int:
    """Write one US Image a view, named by its angle (`us_030.dcm`); return how many files were written.

    `spacing_mm` is (row, column) mm of the pixels inside the region; it is stored there, in cm, and nowhere else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, (view, angle) in enumerate(zip(views, angles_deg, strict=True), start=1):
        data = _patient_base(seed, ULTRASOUND_STUDY, "US", INJECTION + dt.timedelta(hours=3, seconds=20 * number))
        data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.6.1"
        data.SOPInstanceUID = demo_uid(seed, ULTRASOUND_STUDY, 1, number)
        data.SeriesInstanceUID = demo_uid(seed, ULTRASOUND_STUDY, 1)
        data.SeriesNumber, data.InstanceNumber = 1, number
        data.StudyDescription, data.SeriesDescription = "US breast", "Radial views about the lesion"
        data.ImageType = ["ORIGINAL", "PRIMARY", "", "0001"]
        data.Laterality = "R" if side == "right" else "L"
        data.BodyPartExamined = "BREAST"
        data.TransducerData = ["L12-5", "", ""]
        data.TransducerType = "LINEAR"
        data.ImageComments = f"Angle {angle:.0f}deg clockwise from the largest cross-section"
        data.PatientOrientation = ""
        data.SequenceOfUltrasoundRegions = [_region(view.region, spacing_mm)]
        data.WindowCenter, data.WindowWidth = 127.5, 255.0
        data.LossyImageCompression = "00"
        _set_pixels(data, view.pixels)
        _save(data, folder / f"us_{angle:03.0f}.dcm")
    return len(views)


def _patient_base(seed: int, study: int, modality: str, moment: dt.datetime) -> Dataset:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1")
    data.file_meta.ImplementationClassUID = UID(DEMO_UID_ROOT)
    data.file_meta.ImplementationVersionName = "BREASTAI"
    data.SpecificCharacterSet = "ISO_IR 192"
    data.PatientName, data.PatientID = "Demo^Patient", f"BREASTAI-DEMO-{seed}"
    data.PatientBirthDate, data.PatientSex, data.PatientAge = "19740312", "F", "051Y"
    data.StudyInstanceUID = demo_uid(seed, study)
    data.StudyID, data.AccessionNumber = str(study), f"DEMO-{seed}-{study}"
    data.ReferringPhysicianName = ""
    data.Modality, data.Manufacturer = modality, MANUFACTURER
    data.ManufacturerModelName, data.InstitutionName = "Phantom", "Made-up patient, no person"
    started = INJECTION - dt.timedelta(minutes=5) if study == MR_STUDY else INJECTION + dt.timedelta(hours=3)
    data.StudyDate, data.StudyTime = _date(started), _time(started)
    data.SeriesDate, data.SeriesTime = _date(moment), _time(moment)
    data.AcquisitionDate, data.AcquisitionTime = _date(moment), _time(moment)
    data.ContentDate, data.ContentTime = _date(moment), _time(moment)
    data.BurnedInAnnotation = "NO"
    return data


def _mr_base(seed: int, grid: Grid, phase: int, count: int, time_s: float, scan: Scan) -> Dataset:
    started = INJECTION + dt.timedelta(seconds=time_s - PHASE_DURATION_S / 2)
    data = _patient_base(seed, MR_STUDY, "MR", started)
    data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    data.SeriesInstanceUID = demo_uid(seed, MR_STUDY, phase + 1)
    data.FrameOfReferenceUID = demo_uid(seed, FRAME_OF_REFERENCE)
    data.PositionReferenceIndicator = ""
    data.SeriesNumber, data.AcquisitionNumber = 3 + phase, phase + 1
    data.TemporalPositionIdentifier, data.NumberOfTemporalPositions = phase + 1, count
    data.StudyDescription = "MR breast, dynamic"
    data.SeriesDescription = data.ProtocolName = f"t1_spgr3d_tra_fs_dyn_1+{count - 1}"
    data.ImageType = ["ORIGINAL", "PRIMARY", "M", "NORM"]
    data.BodyPartExamined, data.PatientPosition = "BREAST", "HFP"
    data.ScanningSequence, data.SequenceVariant, data.ScanOptions = "GR", ["SP", "OSP"], "FS"
    data.MRAcquisitionType, data.SequenceName, data.AngioFlag = "3D", "*spgr3d", "N"
    data.MagneticFieldStrength, data.NumberOfAverages, data.EchoNumbers, data.EchoTrainLength = 1.5, 1, 1, 1
    data.RepetitionTime, data.EchoTime, data.FlipAngle = scan.repetition_ms, scan.echo_ms, scan.flip_deg
    data.AcquisitionDuration = PHASE_DURATION_S
    slices, rows, columns = (grid.affine[:3, axis] / grid.spacing_mm[axis] for axis in range(3))
    if float(np.cross(columns, rows) @ slices) < 0:
        raise ValueError("Slices of a made-up exam must be stacked along the cross product of their row and column directions.")
    data.ImageOrientationPatient = [_decimal(number) for number in (*columns, *rows)]
    data.PixelSpacing = [_decimal(grid.spacing_mm[1]), _decimal(grid.spacing_mm[2])]
    data.SliceThickness = data.SpacingBetweenSlices = _decimal(grid.spacing_mm[0])
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = 0, 1, "US"
    return data


def _add_contrast(data: Dataset) -> None:
    data.ContrastBolusAgent = "Gadolinium chelate (made-up)"
    data.ContrastBolusRoute, data.ContrastBolusVolume = "IV", 14
    data.ContrastBolusStartTime = _time(INJECTION)


def _region(box: tuple[int, int, int, int], spacing_mm: tuple[float, float]) -> Dataset:
    """Return the calibration of a 2-D tissue region in cm (DICOM PS3.3 C.8.5.5)."""
    from pydicom.dataset import Dataset

    top, left, height, width = box
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = left, top
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = left + width - 1, top + height - 1
    region.ReferencePixelX0, region.ReferencePixelY0 = width // 2, 0
    region.ReferencePixelPhysicalValueX = region.ReferencePixelPhysicalValueY = 0.0
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = spacing_mm[1] / 10.0, spacing_mm[0] / 10.0
    return region


def _set_pixels(data: Dataset, picture: NDArray[np.integer]) -> None:
    bits = picture.dtype.itemsize * 8
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = picture.shape
    data.BitsAllocated, data.PixelRepresentation = bits, 0
    data.BitsStored = 8 if bits == 8 else 12
    data.HighBit = data.BitsStored - 1
    data.add_new(0x7FE00010, "OB" if bits == 8 else "OW", np.ascontiguousarray(picture).tobytes())


def _save(data: Dataset, path: Path) -> None:
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.save_as(path, enforce_file_format=True)


def _window(volume: NDArray[np.generic]) -> tuple[float, float]:
    high = float(np.percentile(np.asarray(volume[:, ::4, ::4], dtype=np.float32), 99.5))
    return round(high / 2), round(high)


def _normal(grid: Grid) -> NDArray[np.float64]:
    return np.asarray(grid.affine[:3, 0] / grid.spacing_mm[0])


def _decimal(number: float) -> str:
    """Return a decimal string of at most 16 characters (DICOM PS3.5, VR DS)."""
    return f"{float(number):.9g}"


def _date(moment: dt.datetime) -> str:
    return moment.strftime("%Y%m%d")


def _time(moment: dt.datetime) -> str:
    return moment.strftime("%H%M%S.%f")

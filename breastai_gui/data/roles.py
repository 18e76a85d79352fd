"""What a series is for, told from its header: possibly dynamic, or one of those that are listed and never given to the model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from breastai_gui.data.headers import Header
    from breastai_gui.data.slices import Slice

_TYPES = (
    ("localizer", {"LOCALIZER"}),
    ("projection (MIP)", {"MIP", "MIP_SUB", "PROJECTION IMAGE", "MAXIMUM"}),
    ("reformatted images", {"MPR", "CSA MPR", "REFORMATTED", "CURVED"}),
    ("subtraction", {"SUBTRACTION", "SUBTRACT", "SUB"}),
    ("diffusion (DWI/ADC)", {"DIFFUSION", "ADC", "TRACEW", "FA", "CALC_BVALUE"}),
    ("mosaic of a functional or diffusion series", {"MOSAIC"}),
    (
        "derived map",
        {"PARAMETRIC", "PEI", "WASHIN", "WASHOUT", "TTP", "AUC", "IAUC", "KTRANS", "PERFUSION", "T1 MAP", "T2 MAP", "B1", "B0"},
    ),
    ("fat image of a Dixon series", {"F", "FAT", "FAT_FRACTION", "FF"}),
    ("in or opposed phase of a Dixon series", {"IP", "OP", "IN_PHASE", "OUT_PHASE", "OPP_PHASE"}),
    ("phase, real or imaginary image", {"P", "R", "I", "PHASE MAP", "PHASE", "REAL", "IMAGINARY"}),
)

_WORDS = (
    ("subtraction", r"(?<![a-z])subs?(?![a-z])|subtra"),
    ("projection (MIP)", r"(?<![a-z])(mip|thick)(?![a-z])"),
    ("reformatted images", r"(?<![a-z])mpr(?![a-z])"),
    ("localizer", r"(?<![a-z])(loc|localizer|localiser|scout|survey|3-?plane|plan)(?![a-z])"),
    ("diffusion (DWI/ADC)", r"(?<![a-z])(dwi|adc|diff\w*|trace\w*|resolve|ep2d\w*|dti)(?![a-z])"),
    ("derived map", r"(?<![a-z])(pei|ttp|auc|ktrans|wash-?_?(in|out)|t[12]_?map|b[01]_?map|param\w*|colou?r)(?![a-z])"),
    ("T2", r"(?<![a-z0-9])(t2\w*|stir|tirm|haste|ssfse)(?![a-z])"),
    ("spectroscopy", r"(?<![a-z])(svs|csi|spectro\w*)(?![a-z])"),
)

LONGEST_T1_ECHO_MS = 15.0
"""A dynamic breast series is T1-weighted gradient echo with an echo time of a few milliseconds."""

NOT_IMAGES = {
    "SR": "a structured report, not an image",
    "KO": "a list of key images, not an image",
    "PR": "a presentation state, not an image",
    "SEG": "a segmentation, not an image",
    "DOC": "a document, not an image",
    "RTSTRUCT": "contours, not an image",
    "REG": "a registration, not an image",
    "RWV": "a table of values, not an image",
}

OTHER_MODALITIES = {"MG": "mammogram", "CT": "CT", "PT": "PET", "NM": "nuclear medicine", "CR": "radiograph", "DX": "radiograph"}

ULTRASOUND_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.6.1",
    "1.2.840.10008.5.1.4.1.1.3.1",
    "1.2.840.10008.5.1.4.1.1.6",
    "1.2.840.10008.5.1.4.1.1.3",
)
MR_CLASSES = ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
IMAGE_CLASSES = (*MR_CLASSES, *ULTRASOUND_CLASSES, SECONDARY_CAPTURE)
MISSING_MODALITIES = ("", "UNKNOWN", "OT", "SC", "XC", "ES", "GM", "PX")
"""With these a picture may still be ultrasound: a person is asked."""


def kind_of(header: Header) -> str:
    """Return "mri", "ultrasound", "question" (perhaps ultrasound), a name from `OTHER_MODALITIES`, or "!" and why it is not used."""
    modality, sop_class = header.text("Modality").upper(), header.text("SOPClassUID")
    if "DirectoryRecordSequence" in header.sequences:
        return "!a DICOMDIR: a table of contents, only a hint"
    if modality in NOT_IMAGES:
        return "!" + NOT_IMAGES[modality]
    if header.pixel_offset == 0:
        return "!a DICOM file without an image"
    if modality == "US" or sop_class in ULTRASOUND_CLASSES or "SequenceOfUltrasoundRegions" in header.sequences:
        return "ultrasound"
    if sop_class in MR_CLASSES or (modality == "MR" and not sop_class.startswith(SECONDARY_CAPTURE)):
        return "mri"
    if modality in OTHER_MODALITIES:
        return OTHER_MODALITIES[modality]
    if modality in MISSING_MODALITIES:
        return "question"
    return "screen capture of an MRI" if modality == "MR" else f"image of modality {modality[:16]}"


def role_of(image: Slice) -> str:
    """Return "" when an MR image may belong to a dynamic series, else what it is instead."""
    parts = set(image.image_type[2:]) | {part for part in image.image_type if len(part) > 2}
    for role, names in _TYPES:
        if parts & names:
            return role
    description = image.header.description
    for role, pattern in _WORDS:
        if re.search(pattern, description):
            return role
    b_value, echo, inversion = image.number("DiffusionBValue"), image.number("EchoTime"), image.number("InversionTime")
    if b_value:
        return "diffusion (DWI/ADC)"
    sequence = image.text("ScanningSequence").upper().split("\\")
    if "EP" in sequence:
        return "echo planar series"
    if echo is not None and echo > LONGEST_T1_ECHO_MS:
        return "T2" if echo > 40 else "series with a long echo time"
    if "SE" in sequence and "GR" not in sequence:
        return "spin echo series"
    if inversion and "IR" in sequence and (image.number("RepetitionTime") or 0) > 1000:
        return "inversion recovery series"
    if image.text("AcquisitionContrast").upper() in ("T2", "DIFFUSION", "STIR", "FLUID_ATTENUATED", "PERFUSION"):
        return image.text("AcquisitionContrast").upper()
    return ""

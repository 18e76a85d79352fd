"""The demo patient: a phantom with a known truth, written as a scanner would write it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from breastai_gui.data.dicom_writer import UltrasoundScreen

SCREEN_SHAPE = (600, 760)
REGION_CORNER = (88, 92)
"""Top and left of the ultrasound on the screen."""
GREY = 170


def write_demo(folder: Path, seed: int = 1) -> None:
    """Write the made-up patient of that seed as DICOM: five MR phases below `folder/mri`, twelve views below `folder/ultrasound`.

    The same seed writes the same bytes. Files of an earlier, interrupted call are overwritten.

    Raises
    ------
    OSError
        If the folder cannot be written.
    ValueError
        If the seed is negative or has more than eight digits.
    """
    from breastai_gui.data.dicom_writer import Scan, write_phases, write_ultrasound
    from breastai_model.phantom.kinetics import SEQUENCE
    from breastai_model.phantom.patient import make_patient

    case = make_patient(seed, "demo").case
    if case.dce is None or case.dce_affine is None or case.dce_times_s is None or case.side is None:
        raise ValueError("The phantom made a patient without MRI or side; this is a fault of the program.")
    scan = Scan(SEQUENCE.repetition_ms, SEQUENCE.echo_ms, SEQUENCE.flip_deg)
    write_phases(folder / "mri", seed, case.dce, case.dce_affine, case.dce_times_s, case.pre, scan)
    angles = [angle for angle in case.angles_deg if angle is not None]
    spacing = next(spacing for spacing in case.ultrasound_spacing_mm if spacing is not None)
    screens = [on_screen(image, spacing, angle) for image, angle in zip(case.ultrasound, angles, strict=True)]
    write_ultrasound(folder / "ultrasound", seed, screens, angles, spacing, case.side)


def on_screen(image: NDArray[np.uint8], spacing_mm: tuple[float, float], angle_deg: float) -> UltrasoundScreen:
    """Return an ultrasound image on a scanner's screen: a head line, the depth scale and the grey bar lie outside the image.

    Nothing on the screen names a person.
    """
    from PIL import Image, ImageDraw, ImageFont

    from breastai_gui.data.dicom_writer import UltrasoundScreen

    (top, left), (height, width) = REGION_CORNER, image.shape
    screen = Image.new("L", (SCREEN_SHAPE[1], SCREEN_SHAPE[0]))
    draw = ImageDraw.Draw(screen)
    font = ImageFont.load_default(13)
    depth_cm = height * spacing_mm[0] / 10.0
    draw.text((12, 10), "BREASTAI PHANTOM", fill=GREY, font=font)
    draw.text((12, 28), "Breast   L12-5   made-up patient", fill=GREY, font=font)
    draw.text((SCREEN_SHAPE[1] - 150, 10), "MI 0.9   TIS 0.2", fill=GREY, font=font)
    draw.text((SCREEN_SHAPE[1] - 150, 28), f"Angle {angle_deg:.0f}°", fill=GREY, font=font)
    for line, text in enumerate(("B", "9 MHz", f"D {depth_cm:.1f} cm", "DR 58 dB", "G 62 %")):
        draw.text((12, top + 18 * line), text, fill=GREY, font=font)
    for millimetre in range(0, int(depth_cm * 10) + 1, 5):
        row, long = top + millimetre / spacing_mm[0], millimetre % 10 == 0
        draw.line((left + width + 6, row, left + width + (14 if long else 10), row), fill=GREY)
        if long:
            draw.text((left + width + 18, row - 8), str(millimetre // 10), fill=GREY, font=font)
    draw.ellipse((left - 14, top, left - 6, top + 8), outline=GREY)
    pixels = np.array(screen)
    bar = np.linspace(255, 0, 160).astype(np.uint8)
    pixels[top + 130 : top + 290, 20:32] = bar[:, None]
    pixels[top : top + height, left : left + width] = image
    return UltrasoundScreen(pixels, (top, left, height, width))

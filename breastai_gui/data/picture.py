"""Pixels of ultrasound images as grey uint8: DICOM frames, PNG and JPEG, colours to luminance, windows applied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from breastai_gui.data.headers import Header, HeaderError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_gui.data.walk import Files, Found

MOST_PIXELS = 64_000_000
"""A picture with more is refused before it is decoded."""
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""ITU-R BT.601, the weights of DICOM's YBR_FULL (PS3.3 C.7.6.3.1.2)."""


def is_picture(head: bytes) -> bool:
    """Tell a PNG or JPEG from its first bytes."""
    return head.startswith((PNG, JPEG))


def read_picture(files: Files, found: Found) -> NDArray[np.uint8]:
    """Return a PNG or JPEG as (row, column) grey values.

    Raises
    ------
    HeaderError
        If it is damaged, too large, or a mask of two values rather than an image.
    """
    from PIL import Image

    try:
        with files.open(found) as stream, Image.open(stream, formats=["PNG", "JPEG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise HeaderError(f"it expands beyond the limit ({image.width} x {image.height} pixels)")
            if image.mode in ("I;16", "I", "F"):
                grey = windowed(np.asarray(image, dtype=np.float32), None)
            elif image.mode in ("1", "L"):
                grey = np.asarray(image.convert("L"))
            else:
                grey = luminance(np.asarray(image.convert("RGB")))
    except HeaderError:
        raise
    except Image.DecompressionBombError:
        raise HeaderError("it expands beyond the limit") from None
    except Exception as error:  # noqa: BLE001  decoders of untrusted bytes fail in any way; each costs only this file
        raise HeaderError(f"its pixels cannot be decoded ({type(error).__name__})") from None
    if is_mask(grey):
        raise HeaderError("a mask (two values), not an image")
    return grey


def is_mask(grey: NDArray[np.uint8]) -> bool:
    """Tell whether a picture holds at most two values, 0 among them: a drawn lesion, not an image."""
    counts = np.bincount(grey.ravel(), minlength=256)
    # A mask that went through JPEG or scaling keeps nearly all of its pixels in two values.
    return bool(counts[0] > 0 and counts[0] + np.sort(counts[1:])[-1] >= 0.999 * grey.size and np.count_nonzero(counts) <= 16)


def luminance(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (row, column) luminance of (row, column, RGB)."""
    if np.array_equal(colours[..., 0], colours[..., 1]) and np.array_equal(colours[..., 1], colours[..., 2]):
        return np.ascontiguousarray(colours[..., 0])
    return cast("NDArray[np.uint8]", np.rint(colours[..., :3].astype(np.float32) @ _LUMINANCE).astype(np.uint8))


def windowed(values: NDArray[Any], window: tuple[float, float] | None) -> NDArray[np.uint8]:
    """Return values as 0 to 255: by window (centre, width), else from the 0.1st to the 99.9th percentile."""
    if window is None:
        low, high = (float(value) for value in np.percentile(values, (0.1, 99.9)))
    else:
        # DICOM PS3.3 C.11.2.1.2.1, linear.
        low, high = window[0] - 0.5 - (window[1] - 1) / 2, window[0] - 0.5 + (window[1] - 1) / 2
    scaled = (values.astype(np.float32) - low) * (255.0 / max(high - low, 1e-6))
    return cast("NDArray[np.uint8]", np.clip(np.rint(scaled), 0, 255).astype(np.uint8))


def grey_of(picture: NDArray[Any], header: Header) -> NDArray[np.uint8]:
    """Return a decoded DICOM frame, (row, column) or (row, column, RGB), as grey uint8 with MONOCHROME1 turned over.

    Raises
    ------
    HeaderError
        If its shape is not one of these.
    """
    if picture.ndim == 3 and picture.shape[-1] >= 3:
        colours = picture if picture.dtype == np.uint8 else windowed(picture, None)
        return luminance(colours)
    if picture.ndim != 2:
        raise HeaderError("unsupported: its pixels are neither grey nor colour")
    if header.count("BitsAllocated", 8) == 8 and header.count("PixelRepresentation") == 0:
        grey = np.ascontiguousarray(picture, dtype=np.uint8)
    else:
        centre, width = header.number("WindowCenter"), header.number("WindowWidth")
        slope, intercept = header.number("RescaleSlope") or 1.0, header.number("RescaleIntercept") or 0.0
        window = (centre, width) if centre is not None and width is not None and width > 1 else None
        grey = windowed(picture.astype(np.float32) * slope + intercept, window)
    return 255 - grey if header.text("PhotometricInterpretation") == "MONOCHROME1" else grey

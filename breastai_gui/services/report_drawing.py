"""Pictures, colour scale and curve as blocks on a page, drawn as vectors over the images' own pixels."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

# This module is imported only by the job that writes a PDF.
from reportlab.lib.units import mm  # noqa: TID253
from reportlab.lib.utils import ImageReader  # noqa: TID253
from reportlab.platypus import Flowable  # noqa: TID253

from breastai_gui.services.colour_maps import SOLID_FROM, table
from breastai_gui.services.report_text import Style, TextBlock, draw_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_gui.services.report_contents import CurvePlot, KeyImage, Legend, Outline

CAPTION = Style(size=7.0, leading=8.6, colour=(0.25, 0.25, 0.3))
ON_PICTURE = Style(size=7.0, leading=8.5, colour=(1.0, 1.0, 1.0))
GAP = 3 * mm
DOTS_PER_INCH = 200.0
MARK_COLOUR, TARGET_COLOUR = (0.25, 0.85, 0.95), (1.0, 0.85, 0.2)
SCALE_BARS_MM = (1, 2, 5, 10, 20, 50, 100)


class PictureRow(Flowable):  # type: ignore[misc]
    """One row of pictures with captions, each as large as its cell and the row's height allow."""

    def __init__(self, images: tuple[KeyImage, ...], columns: int, height_mm: float) -> None:
        super().__init__()
        self._images = images
        self._columns = columns
        self._most = height_mm * mm
        self._captions = [TextBlock(image.caption, CAPTION, 200) for image in images]
        self.missing: set[int] = set().union(*(caption.missing for caption in self._captions))
        self.spaceAfter = 2 * mm

    def wrap(self, room: float, _height: float) -> tuple[float, float]:
        """Lay the pictures out; return the width and height taken."""
        self._cell = (room - GAP * (self._columns - 1)) / self._columns
        self._sizes = []
        for image in self._images:
            height, width = image.size
            factor = min(self._cell / width, self._most / height)
            self._sizes.append((width * factor, height * factor))
        self._picture = max(size[1] for size in self._sizes)
        self._caption = max(caption.wrap(self._cell, 0)[1] for caption in self._captions)
        self.width, self.height = room, self._picture + self._caption + 1.5 * mm
        return self.width, self.height

    def draw(self) -> None:
        """Draw the row; called by the page."""
        for number, (image, (width, height), caption) in enumerate(zip(self._images, self._sizes, self._captions, strict=True)):
            left = number * (self._cell + GAP)
            self.canv.saveState()
            self.canv.translate(left, self.height - height)
            draw_picture(self.canv, image, width, height)
            self.canv.restoreState()
            caption.drawOn(self.canv, left, self.height - self._picture - 1.2 * mm - caption.height)


def draw_picture(canvas: Any, image: KeyImage, width: float, height: float) -> None:
    """Draw a picture with everything on it into the rectangle from (0, 0), in points."""
    canvas.saveState()
    frame = canvas.beginPath()
    frame.rect(0, 0, width, height)
    canvas.clipPath(frame, stroke=0, fill=0)
    canvas.drawImage(_reader(canvas, image.grey, width, height), 0, 0, width, height)
    if image.overlay is not None:
        canvas.drawImage(_reader(canvas, image.overlay, width, height), 0, 0, width, height, mask="auto")
    rows, columns = image.grey.shape
    across, down = width / columns, height / rows

    def place(point: tuple[float, float]) -> tuple[float, float]:
        return (point[1] + 0.5) * across, height - (point[0] + 0.5) * down

    if image.target is not None:
        _draw_target(canvas, *place(image.target))
    for outline in image.outlines:
        _draw_outline(canvas, outline, [place(point) for point in outline.points])
    if image.letters is not None:
        middle = height / 2 - 2.5
        _plate(canvas, image.letters.left, 1.5, middle)
        _plate(canvas, image.letters.right, width - 1.5, middle, "right")
        _plate(canvas, image.letters.top, width / 2, height - 8.5, "centre")
        _plate(canvas, image.letters.bottom, width / 2, 3.0, "centre")
    if image.corner:
        _plate(canvas, image.corner, 1.5, height - 8.5)
    if image.spacing_mm is not None:
        _draw_scale(canvas, width, width / (columns * image.spacing_mm[1]))
    canvas.restoreState()


def _reader(canvas: Any, pixels: NDArray[np.uint8], width: float, height: float) -> ImageReader:
    """Return pixels at the resolution of the paper; the same pixels are embedded once however often they are drawn."""
    kept: dict[tuple[bytes, int, int], ImageReader] = canvas.__dict__.setdefault("_breastai_images", {})
    inch = 0.6 * DOTS_PER_INCH if pixels.ndim == 3 else DOTS_PER_INCH  # heat is smooth: coarser pixels do
    size = tuple(
        round(min(max(length / 72 * inch, 1), 4 * count)) for length, count in ((width, pixels.shape[1]), (height, pixels.shape[0]))
    )
    key = (pixels.tobytes(), size[0], size[1])
    if key not in kept:
        picture = Image.fromarray(pixels)
        method = Image.Resampling.BICUBIC if size[0] > picture.width else Image.Resampling.BOX
        kept[key] = ImageReader(picture.resize((size[0], size[1]), method))
    return kept[key]


def _plate(canvas: Any, text: str, x: float, y: float, align: str = "left") -> None:
    """Write on a picture, on a dark plate that keeps it readable over bright tissue."""
    from reportlab.pdfbase.pdfmetrics import stringWidth

    width = stringWidth(text, "NotoSans-Regular", ON_PICTURE.size)
    x -= {"left": 0.0, "right": width, "centre": width / 2}[align]
    canvas.saveState()
    canvas.setFillColorRGB(0, 0, 0, alpha=0.55)
    canvas.roundRect(x - 1.2, y - 1.8, width + 2.4, ON_PICTURE.size + 1.2, 1.2, stroke=0, fill=1)
    canvas.setFillAlpha(1)
    draw_line(canvas, text, ON_PICTURE, x, y, width + 1)
    canvas.restoreState()


def _draw_target(canvas: Any, x: float, y: float) -> None:
    canvas.setStrokeColorRGB(*TARGET_COLOUR)
    canvas.setLineWidth(0.7)
    for right, up in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        canvas.line(x + 7 * right, y + 7 * up, x + 13 * right, y + 13 * up)


def _draw_outline(canvas: Any, outline: Outline, points: list[tuple[float, float]]) -> None:
    canvas.setStrokeColorRGB(*MARK_COLOUR)
    canvas.setLineWidth(0.9)
    if len(points) == 1:
        canvas.circle(*points[0], 2.2, stroke=1, fill=0)
    else:
        path = canvas.beginPath()
        path.moveTo(*points[0])
        for point in points[1:]:
            path.lineTo(*point)
        if outline.closed:
            path.close()
        canvas.drawPath(path, stroke=1, fill=0)
    _plate(canvas, outline.label, points[-1][0] + 4, points[-1][1] + 2)


def _draw_scale(canvas: Any, width: float, points_per_mm: float) -> None:
    """Draw the longest bar that takes at most a third of the picture, lower right."""
    length = max((bar for bar in SCALE_BARS_MM if bar * points_per_mm <= width / 3), default=SCALE_BARS_MM[0])
    right, left = width - 4, width - 4 - length * points_per_mm
    canvas.saveState()
    canvas.setFillColorRGB(0, 0, 0, alpha=0.55)
    canvas.rect(left - 1.5, 2.0, right - left + 3, 3.4, stroke=0, fill=1)
    canvas.setStrokeColorRGB(1, 1, 1)
    canvas.setStrokeAlpha(1)
    canvas.setLineWidth(1.1)
    canvas.line(left, 3.7, right, 3.7)
    canvas.restoreState()
    _plate(canvas, f"{length} mm", right, 8.0, "right")


class ColourScale(Flowable):  # type: ignore[misc]
    """The heatmaps' colours from 0 to 1, what they mean, and the warning that belongs to them."""

    def __init__(self, legend: Legend) -> None:
        super().__init__()
        self._title = TextBlock(f"{legend.title}. Solid from {SOLID_FROM:g}, fading to nothing at 0.", CAPTION)
        self._warning = (
            TextBlock(legend.warning, Style(size=8.5, leading=11, colour=(0.62, 0.16, 0.05), bold=True)) if legend.warning else None
        )
        self.missing = self._title.missing
        self.spaceAfter = 2.5 * mm

    def wrap(self, room: float, _height: float) -> tuple[float, float]:
        """Return the width and height taken."""
        self.width = room
        self.height = self._title.wrap(room, 0)[1] + 15
        if self._warning is not None:
            self.height += self._warning.wrap(room, 0)[1] + 2
        return self.width, self.height

    def draw(self) -> None:
        """Draw the scale; called by the page."""
        top = self.height
        if self._warning is not None:
            top -= self._warning.height + 2
            self._warning.drawOn(self.canv, 0, top + 2)
        top -= self._title.height
        self._title.drawOn(self.canv, 0, top)
        picture = Image.fromarray(np.ascontiguousarray(table("inferno")[None, :, :]))
        self.canv.drawImage(ImageReader(picture), 0, top - 7, 60 * mm, 6)
        for value in (0.0, 0.5, 1.0):
            draw_line(self.canv, f"{value:g}", Style(size=6.5, align="centre"), value * 60 * mm - 10 if value else -8, top - 14, 20)


class CurveBlock(Flowable):  # type: ignore[misc]
    """The enhancement curve with its axes."""

    def __init__(self, plot: CurvePlot) -> None:
        super().__init__()
        self._plot = plot
        self.missing: set[int] = set()
        self.width, self.height, self.spaceAfter = 130 * mm, 56 * mm, 2 * mm

    def wrap(self, _room: float, _height: float) -> tuple[float, float]:
        """Return the width and height taken."""
        return self.width, self.height

    def draw(self) -> None:
        """Draw axes, grid, line and points; called by the page."""
        canvas, curve = self.canv, self._plot.curve
        xs = [float(n) for n in range(1, len(curve.phases) + 1)] if curve.times_s is None else list(curve.times_s)
        ys = list(curve.values if curve.percent is None else curve.percent)
        label = "mean signal" if curve.percent is None else "enhancement, %"
        x_ticks = [float(round(x)) for x in xs] if curve.times_s is None else nice_ticks(min(*xs, 0.0), max(xs))
        y_ticks = nice_ticks(min(0.0, *ys), max(*ys, 1.0))
        left, bottom, width, height = 34.0, 30.0, self.width - 44, self.height - 38
        first, last = (min(xs[0], x_ticks[0]), max(xs[-1], x_ticks[-1])) if len(xs) > 1 else (0.0, 2.0)
        low, high = y_ticks[0], y_ticks[-1]

        def place(x: float, y: float) -> tuple[float, float]:
            return left + (x - first) / (last - first) * width, bottom + (y - low) / (high - low) * height

        small = Style(size=7.0, colour=(0.3, 0.3, 0.35))
        canvas.setLineWidth(0.4)
        for y in y_ticks:
            canvas.setStrokeColorRGB(0.85, 0.85, 0.88)
            canvas.line(*place(first, y), *place(last, y))
            draw_line(canvas, f"{y:g}", Style(size=7.0, colour=small.colour, align="right"), 0, place(first, y)[1] - 2.3, left - 4)
        for x in x_ticks:
            canvas.setStrokeColorRGB(0.5, 0.5, 0.55)
            canvas.line(*place(x, low), place(x, low)[0], bottom - 2.5)
            draw_line(canvas, f"{x:g}", Style(size=7.0, colour=small.colour, align="centre"), place(x, low)[0] - 25, bottom - 11, 50)
        if curve.times_s is not None and first < 0 < last:
            canvas.setDash(2, 2)
            canvas.line(*place(0, low), *place(0, high))
            canvas.setDash()
        canvas.setStrokeColorRGB(0.3, 0.3, 0.35)
        canvas.line(left, bottom, left, bottom + height)
        canvas.line(left, bottom, left + width, bottom)
        draw_line(canvas, self._plot.x_label, Style(size=7.5, colour=small.colour, align="centre"), left, bottom - 22, width)
        canvas.saveState()
        canvas.rotate(90)
        draw_line(canvas, label, Style(size=7.5, colour=small.colour, align="centre"), bottom, -8, height)
        canvas.restoreState()
        canvas.setStrokeColorRGB(0.1, 0.35, 0.65)
        canvas.setFillColorRGB(0.1, 0.35, 0.65)
        canvas.setLineWidth(1.2)
        points = [place(x, y) for x, y in zip(xs, ys, strict=True)]
        for before, after in itertools.pairwise(points):
            canvas.line(*before, *after)
        for (x, y), value in zip(points, ys, strict=True):
            canvas.setFillColorRGB(0.1, 0.35, 0.65)
            canvas.circle(x, y, 2.0, stroke=0, fill=1)
            draw_line(canvas, f"{value:.0f}", Style(size=6.5, align="centre"), x - 15, y + 4, 30)


def nice_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Return evenly spaced round numbers that enclose `low` to `high`, at most `most` steps."""
    span = max(high - low, 1e-9)
    power = 10.0 ** np.floor(np.log10(span / most))
    step = next(float(power * factor) for factor in (1, 2, 5, 10) if span / (power * factor) <= most)
    return [float(step * n) for n in range(int(np.floor(low / step)), int(np.ceil(high / step)) + 1)]

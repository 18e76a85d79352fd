"""The key images of a report: MRI planes through the lesion, ultrasound views, each with and without heatmap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from breastai_gui.services.annotations import DCE, outline_points
from breastai_gui.services.colour_maps import grey_levels, overlay
from breastai_gui.services.kinetics import robust_window, subtraction, subtraction_window
from breastai_gui.services.planes import PLANES, PlaneCut
from breastai_gui.services.report_contents import KeyImage, Outline
from breastai_gui.services.ultrasound_heat import heat_on_view
from breastai_gui.services.words import STREAM_WORDS, TASK_WORDS
from breastai_model.case import MAP_KINDS, TASKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_gui.data.study import DceSeries, UltrasoundView
    from breastai_gui.services.annotations import Annotation
    from breastai_gui.services.assessment import Assessment
    from breastai_gui.services.planes import PlaneName
    from breastai_model.case import Heatmaps, MapKind, Stream

Position = tuple[float, float, float]

MOST_PIXELS = 400
"""Longer side of an ultrasound picture or overlay in the report; on paper that is more than 200 pixels an inch."""


class MriPictures:
    """Cuts key images through one position of an MRI.

    Parameters
    ----------
    dce, pre, phases
        The series, its phase before contrast, and the phases in use.
    shown
        The post-contrast phase that is shown.
    annotations
        The person's marks, numbered by their order.
    """

    def __init__(self, dce: DceSeries, pre: int, phases: tuple[int, ...], shown: int, annotations: tuple[Annotation, ...]) -> None:
        self._dce = dce
        self._annotations = annotations
        self._shown = shown
        self._volumes = {"phase": dce.real(shown), "subtraction": subtraction(dce, shown, pre)}
        self._windows = {"phase": robust_window(dce, pre, phases), "subtraction": subtraction_window(dce, pre, phases)}

    def through(self, position_mm: Position, phase_name: str, target: bool = True) -> tuple[KeyImage, ...]:
        """Return axial, sagittal and coronal picture through a position, each as phase and as subtraction."""
        images = []
        for plane in PLANES:
            for kind, words in (("phase", phase_name), ("subtraction", f"{phase_name} minus pre-contrast")):
                images.append(self.image(plane, position_mm, kind, words, target=target))  # type: ignore[arg-type]
        return tuple(images)

    def heated(self, position_mm: Position, heatmaps: Heatmaps, stream: Stream, phase_name: str) -> tuple[KeyImage, ...]:
        """Return the three planes through a position with a feature map over the phase; nothing where it is absent."""
        values = heatmaps.stream(stream)
        if values is None or heatmaps.mri_affine is None:
            return ()
        heat = values[MAP_KINDS.index("feature")]
        words = f"{phase_name}, heatmap: {STREAM_WORDS[stream]}"
        return tuple(self.image(plane, position_mm, "phase", words, heat=heat, heat_affine=heatmaps.mri_affine) for plane in PLANES)

    def task_maps(self, position_mm: Position, heatmaps: Heatmaps, stream: Stream) -> tuple[KeyImage, ...]:
        """Return the axial plane through a position once for each question, with that question's map over the phase."""
        values = heatmaps.stream(stream)
        if values is None or heatmaps.mri_affine is None:
            return ()
        return tuple(
            self.image("axial", position_mm, "phase", TASK_WORDS[task], heat=values[MAP_KINDS.index(task)], heat_affine=heatmaps.mri_affine)
            for task in TASKS
        )

    def image(
        self,
        plane: PlaneName,
        position_mm: Position,
        kind: Literal["phase", "subtraction"],
        words: str,
        *,
        heat: NDArray[np.generic] | None = None,
        heat_affine: NDArray[np.float64] | None = None,
        target: bool = True,
    ) -> KeyImage:
        """Return one picture."""
        cut = PlaneCut(self._dce.grid, plane)
        number = cut.nearest(position_mm)
        _, row, column = cut.from_patient(position_mm)
        colours = None
        if heat is not None and heat_affine is not None:
            colours = overlay(np.clip(cut.resample(heat, heat_affine, number), 0.0, 1.0))
        return KeyImage(
            grey=grey_levels(cut.cut(self._volumes[kind], number), self._windows[kind]),
            spacing_mm=cut.spacing_mm,
            overlay=colours,
            letters=cut.letters,
            caption=f"{plane.capitalize()} {number + 1}/{cut.count}, {words}",
            outlines=tuple(
                outline
                for label, mark in enumerate(self._annotations, 1)
                if heat is None and mark.image == DCE and (outline := outline_on(mark, str(label), cut, number)) is not None
            ),
            target=(row, column) if target else None,
        )


def outline_on(mark: Annotation, label: str, cut: PlaneCut, number: int) -> Outline | None:
    """Return an MRI mark as it lies on picture `number` of a stack; None where it lies on another picture or plane."""
    normal = np.asarray(mark.plane_normal, dtype=np.float64)
    if mark.kind != "point" and abs(float(normal @ cut.normal)) < 0.99:
        return None
    places, line = (
        np.array([cut.from_patient((point[0], point[1], point[2])) for point in points]) for points in (mark.points, outline_points(mark))
    )
    if np.abs(places[:, 0] - number).max() > 0.5 + 1e-6:
        return None
    return _outline(mark, label, line[:, 1:])


def plane_of(mark: Annotation, dce: DceSeries) -> PlaneName:
    """Return the plane that a mark on the MRI was drawn on; axial for one that lies on none of the three."""
    normal = np.asarray(mark.plane_normal, dtype=np.float64)
    return max(PLANES, key=lambda plane: abs(float(normal @ PlaneCut(dce.grid, plane).normal)))


def _outline(mark: Annotation, label: str, places: NDArray[np.float64]) -> Outline:
    return Outline(label, tuple((float(row), float(column)) for row, column in places), mark.kind in ("ellipse", "polygon"))


def ultrasound_image(
    view: UltrasoundView,
    angle: str,
    annotations: tuple[Annotation, ...],
    heat: tuple[Assessment, Stream, MapKind] | None = None,
) -> KeyImage:
    """Return one ultrasound picture, with a heatmap where one is asked for and the view was given to the model.

    `angle` is the view's angle in words, for its corner.
    """
    step = max(1.0, max(view.pixels.shape) / MOST_PIXELS)
    grey = _smaller(view.pixels, step)
    colours = None
    if heat is not None:
        values = heat_on_view(heat[0], view, heat[1], heat[2], (grey.shape[0], grey.shape[1]))
        colours = None if values is None else overlay(values)
    factors = np.array(grey.shape) / np.array(view.pixels.shape)
    spacing = None if view.spacing_mm is None else (view.spacing_mm[0] / float(factors[0]), view.spacing_mm[1] / float(factors[1]))
    missing = ", not used by the model" if heat is not None and colours is None else ""
    return KeyImage(
        grey=grey,
        spacing_mm=spacing,
        overlay=colours,
        letters=None,
        caption=f"{view.label}{missing}",
        corner=angle if spacing else f"{angle} · px",
        outlines=tuple(
            _outline(mark, str(label), (outline_points(mark) + 0.5) * factors - 0.5)
            for label, mark in enumerate(annotations, 1)
            if mark.image == view.id
        ),
    )


def _smaller(pixels: NDArray[np.uint8], step: float) -> NDArray[np.uint8]:
    if step <= 1.0:
        return pixels
    from PIL import Image

    size = (max(1, round(pixels.shape[1] / step)), max(1, round(pixels.shape[0] / step)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX), dtype=np.uint8)

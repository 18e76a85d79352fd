"""What all views of one reading look at: shared by every view, changed in one place, with a signal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from psygnal import Signal

if TYPE_CHECKING:
    from breastai_model.case import MapKind, Stream

PictureMode = Literal["phase", "subtraction", "mip"]
Modality = Literal["mri", "us"]
MODALITIES: tuple[Modality, ...] = ("mri", "us")
Tool = Literal["navigate", "ruler", "ellipse", "polygon", "point"]


@dataclass(frozen=True, slots=True)
class Look:
    """One frozen state of the viewpoint.

    Attributes
    ----------
    cursor_mm
        LPS position of the linked crosshair; None without MRI.
    phase
        Index into the study's phases that is shown.
    mode
        The phase itself, the phase minus the pre-contrast phase, or the maximum-intensity projection of that difference.
    window
        (low, high) real values of the MRI grey scale, one for all phases.
    subtraction_window
        (low, high) of the subtraction.
    zoom
        Magnification against "fits the view", shared by the three planes.
    view_id
        The ultrasound view in the focus; None without ultrasound.
    stream, map_kind
        Which heatmap; `heatmap` says whether it is shown, `opacity` how strongly (0..1).
    by_phase
        Whether the MRI shows the heatmap of the phase that is shown instead of the mean over the phases.
    paired
        Whether the other modality shows the map of the same sort beside it: shared with shared, own with own.
    crosshair, midline
        Whether the crosshair and the midline are drawn.
    tool
        What a left drag does.
    """

    cursor_mm: tuple[float, float, float] | None = None
    phase: int = 0
    mode: PictureMode = "phase"
    window: tuple[float, float] = (0.0, 1.0)
    subtraction_window: tuple[float, float] = (0.0, 1.0)
    zoom: float = 1.0
    view_id: str | None = None
    heatmap: bool = False
    stream: Stream = "mri_agnostic"
    map_kind: MapKind = "feature"
    opacity: float = 0.5
    by_phase: bool = False
    paired: bool = False
    crosshair: bool = True
    midline: bool = False
    tool: Tool = "navigate"

    def stream_of(self, modality: Modality) -> Stream | None:
        """Return the heatmap that the pictures of a modality show now, None for none."""
        if not self.heatmap:
            return None
        if self.stream.startswith(modality):
            return self.stream
        partners: dict[Stream, Stream] = {
            "mri_agnostic": "us_agnostic",
            "mri_specific": "us_specific",
            "us_agnostic": "mri_agnostic",
            "us_specific": "mri_specific",
        }
        return partners[self.stream] if self.paired else None


class Viewpoint:
    """Holds the `Look` in force; `changed` carries (before, after) so that a view redraws only what is touched."""

    changed = Signal(Look, Look)

    def __init__(self, look: Look | None = None) -> None:
        self._look = look or Look()

    @property
    def look(self) -> Look:
        """The state in force."""
        return self._look

    def set(self, **changes: Any) -> None:
        """Change fields of the `Look`; silent when nothing differs."""
        before = self._look
        after = replace(before, **changes)
        if after != before:
            self._look = after
            self.changed.emit(before, after)

"""The menu of a right click on a picture: what can be done with the place under the mouse, the mark there, and the picture."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QMenu

from breastai_gui.services.annotations import DCE
from breastai_gui.views.reading.slice_view import SliceView

if TYPE_CHECKING:
    from PySide6.QtCore import QPoint

    from breastai_gui.services.session import Position
    from breastai_gui.views.reading.image_pane import ImagePane
    from breastai_gui.views.reading.reading_page import ReadingPage


def pane_menu(page: ReadingPage, pane: ImagePane, where: QPoint) -> QMenu:
    """Return the menu for a place; the page owns it, and it deletes itself once it is closed.

    Parameters
    ----------
    page
        The page with the pane.
    pane
        An MRI plane, or the ultrasound view in the focus.
    where
        Global position of the click.
    """
    menu = QMenu(page)
    at = pane.viewport().mapFromGlobal(where)
    mark = page.tools.mark_at(pane, at.toPointF())
    if isinstance(pane, SliceView) and pane.picture is not None:
        place = pane.place_under(*pane.to_picture(at.toPointF()))
        if mark is not None and mark.kind == "point" and mark.image == DCE:
            x, y, z = mark.points[0]
            place = (x, y, z)
        menu.addAction("This is the lesion", partial(_set_lesion, page, place))
        if page.session.choices.lesion_mm is not None:
            menu.addAction("Forget where the lesion is", page.forget_lesion)
        if page.session.choices.midline_mm is not None:
            menu.addAction("Forget the midline", partial(page.session.choose, midline_mm=None))
        menu.addSeparator()
    if mark is not None:
        menu.addAction("Delete mark", partial(page.session.remove_annotation, mark.id))
        menu.addSeparator()
    menu.addAction("Auto window", pane.autoWindowRequested.emit)
    menu.addAction("Reset view", page.reset)
    menu.addAction("Show all images" if page.images.maximised is not None else "Maximise", pane.maximiseRequested.emit)
    menu.aboutToHide.connect(menu.deleteLater)
    return menu


def _set_lesion(page: ReadingPage, place: Position) -> None:
    """Set it and take the crosshair there, so that what was marked is seen in all planes."""
    page.viewpoint.set(cursor_mm=place)
    page.set_lesion(place)

"""What each action of the table does: one line each, on the window or on the exam that is open."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from breastai_gui.views.theme import THEMES

if TYPE_CHECKING:
    from collections.abc import Callable

    from breastai_gui.views.main_window import MainWindow
    from breastai_gui.views.reading.image_area import LayoutName
    from breastai_gui.views.reading.reading_page import ReadingPage
    from breastai_gui.views.reading.viewpoint import Tool

TOOLS: tuple[Tool, ...] = ("navigate", "ruler", "ellipse", "polygon", "point")
LAYOUTS: tuple[LayoutName, ...] = ("reading", "mri", "ultrasound", "volume")


def connect_actions(window: MainWindow) -> None:
    """Connect every action of the window."""

    def on_page(act: Callable[[ReadingPage], object]) -> Callable[[], None]:
        def run() -> None:
            if window.page is not None:
                act(window.page)

        return run

    def checked(name: str) -> bool:
        return window.actions_[name].isChecked()

    handlers: dict[str, Callable[[], object]] = {
        "open_folder": window.choose_folder,
        "open_file": window.choose_file,
        "open_demo": window.open_demo,
        "close_exam": window.close_exam,
        "quit": window.close,
        "undo": on_page(lambda page: page.session.undo()),
        "redo": on_page(lambda page: page.session.redo()),
        "previous_phase": on_page(lambda page: page.step_phase(-1)),
        "next_phase": on_page(lambda page: page.step_phase(1)),
        "cine": on_page(lambda page: page.toggle_cine()),
        "suggested": window.opening.go_to_suggested,
        "file_account": on_page(lambda page: page.exam.show_files()),
        "previous_layout": on_page(lambda page: page.images.step_layout(-1)),
        "next_layout": on_page(lambda page: page.images.step_layout(1)),
        "subtraction": on_page(lambda page: page.toggle_mode("subtraction")),
        "mip": on_page(lambda page: page.toggle_mode("mip")),
        "slice_up": on_page(lambda page: page.step_slice(1)),
        "slice_down": on_page(lambda page: page.step_slice(-1)),
        "slices_up": on_page(lambda page: page.step_slice(5)),
        "slices_down": on_page(lambda page: page.step_slice(-5)),
        "first_slice": on_page(lambda page: page.go_to_slice(0)),
        "last_slice": on_page(lambda page: page.go_to_slice(-1)),
        "maximise": on_page(lambda page: page.maximise()),
        "reset": on_page(lambda page: page.reset()),
        "crosshair": on_page(lambda page: page.viewpoint.set(crosshair=checked("crosshair"))),
        "midline": on_page(lambda page: page.viewpoint.set(midline=checked("midline"))),
        "smooth": on_page(lambda page: page.set_smooth(checked("smooth"))),
        "left_panel": on_page(lambda page: page.exam.setVisible(checked("left_panel"))),
        "right_panel": on_page(lambda page: page.right.setVisible(checked("right_panel"))),
        "delete_mark": on_page(lambda page: page.tools.delete_selected()),
        "lesion": on_page(lambda page: page.set_lesion()),
        "forget_lesion": on_page(lambda page: page.forget_lesion()),
        "escape": on_page(lambda page: page.escape()),
        "predict": window.predict,
        "heatmap": on_page(lambda page: page.heatmaps.toggle()),
        "next_heatmap": on_page(lambda page: page.heatmaps.next_stream()),
        "fainter": on_page(lambda page: page.heatmaps.fade(-0.1)),
        "stronger": on_page(lambda page: page.heatmaps.fade(0.1)),
        "train": window.open_training,
        "report": window.open_report,
        "keys": window.show_keys,
        "about": window.show_about,
    }
    for layout in LAYOUTS:
        handlers[f"layout_{layout}"] = on_page(lambda page, layout=layout: page.images.set_layout(layout))  # type: ignore[misc]
    for tool in TOOLS:
        handlers[tool] = on_page(lambda page, tool=tool: page.set_tool(tool))  # type: ignore[misc]
    for theme in THEMES:
        handlers[f"theme_{theme}"] = partial(window.set_theme, theme)
    for number in range(1, 10):
        handlers[f"phase_{number}"] = on_page(lambda page, number=number: page.show_phase(number - 1))  # type: ignore[misc]
    for name, handler in handlers.items():
        window.actions_[name].triggered.connect(lambda _checked=False, handler=handler: handler())

"""Everything that a person can do from menu and keyboard, in one table: the menus, the keys and the list of keys come from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence

if TYPE_CHECKING:
    from PySide6.QtWidgets import QMenuBar, QWidget

Needs = Literal["nothing", "exam", "mri", "ultrasound"]


@dataclass(frozen=True, slots=True)
class ActionText:
    """One action.

    Attributes
    ----------
    name
        What the program calls it.
    menu
        The menu that it stands in; a "/" parts a submenu. Empty: keys only.
    words
        What the menu says.
    keys
        Key sequences, the first one is shown in the menu.
    needs
        What has to be open.
    checkable
        Whether it is a switch.
    images_only
        The keys hold only while an image has the focus: elsewhere the arrow keys and Space belong to lists and buttons.
    part
        Actions of another part of the same menu stand below a line.
    """

    name: str
    menu: str
    words: str
    keys: tuple[str, ...] = ()
    needs: Needs = "nothing"
    checkable: bool = False
    images_only: bool = False
    part: int = 0


MENUS = ("File", "Exam", "View", "Tools", "AI", "Train", "Report", "Help")

ACTIONS: tuple[ActionText, ...] = (
    ActionText("open_folder", "File", "Open folder…", ("Ctrl+O",)),
    ActionText("open_file", "File", "Open file or zip…", ("Ctrl+Shift+O",)),
    ActionText("open_demo", "File", "Open demo patient"),
    ActionText("close_exam", "File", "Close exam", ("Ctrl+W",), "exam", part=1),
    ActionText("quit", "File", "Quit", ("Ctrl+Q",), part=2),
    ActionText("undo", "Exam", "Undo", ("Ctrl+Z",), "exam"),
    ActionText("redo", "Exam", "Redo", ("Ctrl+Y", "Ctrl+Shift+Z"), "exam"),
    ActionText("previous_phase", "Exam", "Previous phase", ("Left",), "mri", images_only=True, part=1),
    ActionText("next_phase", "Exam", "Next phase", ("Right",), "mri", images_only=True, part=1),
    ActionText("cine", "Exam", "Run through the phases", ("Space",), "mri", images_only=True, part=1),
    ActionText("suggested", "Exam", "Go to the suggested lesion", ("Ctrl+L",), "mri", part=2),
    ActionText("file_account", "Exam", "What became of each file…", (), "exam", part=3),
    ActionText("layout_reading", "View", "Reading", ("Ctrl+1",), "exam", checkable=True),
    ActionText("layout_mri", "View", "MRI", ("Ctrl+2",), "mri", checkable=True),
    ActionText("layout_ultrasound", "View", "Ultrasound", ("Ctrl+3",), "ultrasound", checkable=True),
    ActionText("layout_volume", "View", "3-D", ("Ctrl+4",), "mri", checkable=True),
    ActionText("previous_layout", "View", "Previous layout", (",",), "exam"),
    ActionText("next_layout", "View", "Next layout", (".",), "exam"),
    ActionText("subtraction", "View", "Subtraction", ("S",), "mri", part=1),
    ActionText("mip", "View", "Maximum-intensity projection", ("M",), "mri", part=1),
    ActionText("slice_up", "View", "Next slice", ("Up",), "mri", images_only=True, part=2),
    ActionText("slice_down", "View", "Previous slice", ("Down",), "mri", images_only=True, part=2),
    ActionText("slices_up", "View", "Five slices on", ("PgUp",), "mri", images_only=True, part=2),
    ActionText("slices_down", "View", "Five slices back", ("PgDown",), "mri", images_only=True, part=2),
    ActionText("first_slice", "View", "First slice", ("Home",), "mri", images_only=True, part=2),
    ActionText("last_slice", "View", "Last slice", ("End",), "mri", images_only=True, part=2),
    ActionText("maximise", "View", "One image in the whole room", ("F",), "exam", part=3),
    ActionText("reset", "View", "Reset zoom and grey scale", ("R",), "exam", part=3),
    ActionText("crosshair", "View", "Crosshair", ("C",), "mri", checkable=True, part=3),
    ActionText("midline", "View", "Midline", (), "mri", checkable=True, part=3),
    ActionText("smooth", "View", "Interpolate between pixels", (), "exam", checkable=True, part=3),
    ActionText("left_panel", "View", "Exam panel", ("F9",), "exam", checkable=True, part=4),
    ActionText("right_panel", "View", "Prediction and findings", ("F10",), "exam", checkable=True, part=4),
    ActionText("theme_dark", "View/Theme", "Dark", checkable=True, part=5),
    ActionText("theme_light", "View/Theme", "Light", checkable=True, part=5),
    ActionText("theme_system", "View/Theme", "As the system", checkable=True, part=5),
    ActionText("navigate", "Tools", "Look around", ("W",), "exam", checkable=True),
    ActionText("ruler", "Tools", "Ruler", ("L",), "exam", checkable=True),
    ActionText("ellipse", "Tools", "Ellipse", ("E",), "exam", checkable=True),
    ActionText("polygon", "Tools", "Polygon", ("O",), "exam", checkable=True),
    ActionText("point", "Tools", "Point with a note", ("N",), "exam", checkable=True),
    ActionText("delete_mark", "Tools", "Delete the selected mark", ("Del",), "exam", images_only=True, part=1),
    ActionText("escape", "Tools", "Give up drawing", ("Esc",), "exam", images_only=True, part=1),
    ActionText("lesion", "Tools", "This is the lesion (crosshair)", ("T",), "mri", part=2),
    ActionText("forget_lesion", "Tools", "Forget where the lesion is", (), "mri", part=2),
    ActionText("predict", "AI", "Predict", ("F5",), "exam"),
    ActionText("heatmap", "AI", "Heatmap", ("H",), "exam", part=1),
    ActionText("next_heatmap", "AI", "Next heatmap", ("J",), "exam", part=1),
    ActionText("fainter", "AI", "Heatmap fainter", ("[",), "exam", part=1),
    ActionText("stronger", "AI", "Heatmap stronger", ("]",), "exam", part=1),
    ActionText("train", "Train", "Train a model…"),
    ActionText("report", "Report", "Write the report…", ("Ctrl+E",), "exam"),
    ActionText("keys", "Help", "Keys and mouse", ("?", "F1")),
    ActionText("about", "Help", "About BreastAI"),
    *(ActionText(f"phase_{number}", "", f"Phase {number} of those used", (str(number),), "mri") for number in range(1, 10)),
)

SHORT = {"point": "Point", "report": "Report…"}
"""What a button says instead of the menu's words."""

MOUSE: tuple[tuple[str, str], ...] = (
    ("Wheel", "Slice; on ultrasound the next angle"),
    ("Shift + wheel", "Phase"),
    ("Left drag", "Grey scale: across its width, up and down its level"),
    ("Right drag, Ctrl + wheel", "Zoom"),
    ("Right click", "Menu: this is the lesion, delete mark …"),
    ("Middle drag, Shift + left drag", "Move the picture"),
    ("Click", "Crosshair and curve"),
    ("Shift + move", "Crosshair follows the mouse"),
    ("Double click", "One image in the whole room"),
    ("Ctrl + double click", "Find the grey scale"),
)
HELD: tuple[tuple[str, str], ...] = (
    ("B (held)", "Flicker to the phase before contrast"),
    ("Shift + , and .", "Previous and next ultrasound angle"),
)


class Actions:
    """The table as Qt actions of one window."""

    def __init__(self, window: QWidget) -> None:
        self._window = window
        self._actions: dict[str, QAction] = {}
        for text in ACTIONS:
            action = QAction(text.words, window)
            action.setShortcuts([QKeySequence(keys) for keys in text.keys])
            action.setCheckable(text.checkable)
            if text.name in SHORT:
                action.setIconText(SHORT[text.name])
            shown = QKeySequence(text.keys[0]).toString(QKeySequence.SequenceFormat.NativeText) if text.keys else ""
            action.setToolTip(f"{text.words} ({shown})" if shown else text.words)
            if text.images_only:
                action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            else:
                window.addAction(action)
            self._actions[text.name] = action

    def __getitem__(self, name: str) -> QAction:
        return self._actions[name]

    def fill(self, bar: QMenuBar) -> None:
        """Make the menus."""
        for title in MENUS:
            menu = bar.addMenu(title)
            submenus = {title: menu}
            part = 0
            for text in (text for text in ACTIONS if text.menu.split("/")[0] == title):
                if text.part != part:
                    menu.addSeparator()
                    part = text.part
                if text.menu not in submenus:
                    submenus[text.menu] = menu.addMenu(text.menu.split("/")[1])
                submenus[text.menu].addAction(self._actions[text.name])

    def give_to_images(self, images: QWidget) -> None:
        """Let the keys that belong to images hold there."""
        images.addActions([self._actions[text.name] for text in ACTIONS if text.images_only])

    def enable(self, *, exam: bool, mri: bool, ultrasound: bool) -> None:
        """Enable what makes sense now."""
        there = {"nothing": True, "exam": exam, "mri": mri, "ultrasound": ultrasound}
        for text in ACTIONS:
            self._actions[text.name].setEnabled(there[text.needs])

"""Takes calls from any thread home to the window's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, Signal, Slot

if TYPE_CHECKING:
    from collections.abc import Callable


class GuiThread(QObject):
    """Lives in the thread that made it, the window's; `post` may be called anywhere."""

    _asked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._asked.connect(self._run, Qt.ConnectionType.QueuedConnection)

    def post(self, function: Callable[[], None]) -> None:
        """Run a function in the window's event loop."""
        self._asked.emit(function)

    @Slot(object)
    def _run(self, function: Callable[[], None]) -> None:
        function()

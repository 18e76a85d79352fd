"""The live curves of a run: loss on the left, AUC on the held-out patients on the right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyqtgraph as pg
from PySide6.QtCore import QEvent
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QHBoxLayout, QWidget

from breastai_gui.services.words import TASK_WORDS
from breastai_model.case import TASKS

if TYPE_CHECKING:
    from breastai_model.run_folder import Progress

_TASK_COLOURS = ("#4c9be8", "#e8954c", "#59b36b")


class EpochAxis(pg.AxisItem):  # type: ignore[misc]
    """An axis that counts whole epochs."""

    def tickSpacing(self, low: float, high: float, size: float) -> list[tuple[float, float]]:
        """Return one level of ticks: every epoch, or every 2nd, 5th, 10th … when there are many."""
        step = next((step for step in (1, 2, 5, 10, 20, 50, 100) if (high - low) / step <= max(2.0, size / 45)), 200)
        return [(step, 0)]


class CurvePlot(QWidget):
    """Two small plots that grow as `progress.jsonl` does."""

    def __init__(self) -> None:
        super().__init__()
        self._loss, self._auc = (pg.PlotWidget(axisItems={"bottom": EpochAxis("bottom")}) for _ in range(2))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for plot, title in ((self._loss, "Loss"), (self._auc, "AUC, held-out patients")):
            plot.setObjectName(title)
            plot.setLabel("bottom", "epoch")
            plot.showGrid(x=True, y=True, alpha=0.15)
            plot.setMenuEnabled(False)
            plot.hideButtons()
            plot.setMinimumHeight(180)
            legend = plot.addLegend(offset=(-4, 2), pen=None)
            legend.setLabelTextSize("8pt")
            row.addWidget(plot, 1)
        self._auc.setYRange(0, 1.25, padding=0)  # room for the legend above 1
        self._auc.getAxis("left").setTicks([[(value / 4, f"{value / 4:.2f}") for value in range(5)]])
        self._auc.addLine(y=0.5, pen=pg.mkPen("#888888", width=1, style=pg.QtCore.Qt.PenStyle.DotLine))
        faint = pg.mkColor("#888888")
        faint.setAlpha(150)
        self._batches = self._loss.plot(pen=None, symbol="o", symbolSize=4, symbolPen=None, symbolBrush=faint, name="each batch")
        self._train = self._loss.plot(
            pen=pg.mkPen("#4c9be8", width=2), symbol="o", symbolSize=5, symbolPen=None, symbolBrush="#4c9be8", name="learning"
        )
        self._held_out = self._loss.plot(
            pen=pg.mkPen("#e8954c", width=2), symbol="o", symbolSize=5, symbolPen=None, symbolBrush="#e8954c", name="held out"
        )
        self._best = self._loss.plot(pen=None, symbol="star", symbolSize=13, symbolPen=None, symbolBrush="#e8954c", name="best")
        self._tasks = [
            self._auc.plot(
                pen=pg.mkPen(colour, width=2), symbol="o", symbolSize=5, symbolPen=None, symbolBrush=colour, name=TASK_WORDS[task]
            )
            for task, colour in zip(TASKS, _TASK_COLOURS, strict=True)
        ]

        self._colour()

    def changeEvent(self, event: QEvent) -> None:
        """Take over the colours of a theme that was changed while the plots are shown."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_tasks"):
            self._colour()

    def _colour(self) -> None:
        ink, paper = self.palette().color(QPalette.ColorRole.Text), self.palette().color(QPalette.ColorRole.Base)
        for plot in (self._loss, self._auc):
            plot.setBackground(paper)
            plot.setTitle(plot.objectName(), color=ink, size="10pt")
            for side in ("left", "bottom"):
                plot.getAxis(side).setPen(ink)
                plot.getAxis(side).setTextPen(ink)
            legend = plot.getPlotItem().legend
            legend.setBrush(pg.mkBrush(paper))
            legend.setLabelTextColor(ink)

    def show_progress(self, progress: Progress) -> None:
        """Draw what is known so far."""
        self._batches.setData([place for place, _ in progress.batch_losses], [loss for _, loss in progress.batch_losses])
        epochs = progress.epochs
        self._train.setData([epoch.number for epoch in epochs], [epoch.train_loss for epoch in epochs])
        held_out = [(epoch.number, epoch.validation_loss) for epoch in epochs if epoch.validation_loss is not None]
        self._held_out.setData([number for number, _ in held_out], [loss for _, loss in held_out])
        best = [epoch for epoch in epochs if epoch.best and epoch.validation_loss is not None][-1:]
        self._best.setData([epoch.number for epoch in best], [epoch.validation_loss for epoch in best])
        self._fit(progress)
        for task, line in zip(TASKS, self._tasks, strict=True):
            known = [(epoch.number, value) for epoch in epochs if (value := epoch.auc.get(task)) is not None]
            line.setData([number for number, _ in known], [value for _, value in known])

    def _fit(self, progress: Progress) -> None:
        """Show all epochs, with room for the legend above the losses."""
        last = max([1.0, *(float(epoch.number) for epoch in progress.epochs), *(place for place, _ in progress.batch_losses[-1:])])
        for plot in (self._loss, self._auc):
            plot.setXRange(0, last + 0.04 * (last + 1), padding=0)
        losses = [loss for _, loss in progress.batch_losses]
        losses += [loss for epoch in progress.epochs for loss in (epoch.train_loss, epoch.validation_loss) if loss is not None]
        if losses:
            low, high = min(losses), max(max(losses), min(losses) + 0.01)
            self._loss.setYRange(low - 0.05 * (high - low), high + 0.45 * (high - low), padding=0)

    def shown_epochs(self) -> int:
        """Return how many epochs the learning curve shows."""
        x, _ = self._train.getData()
        return 0 if x is None else len(x)

"""Report to PDF: A4 pages with the patient and RESEARCH USE ONLY on each, read back before it counts as written."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

# The whole module is imported only by the job that writes a PDF: reportlab is slow to import.
from reportlab import rl_config  # noqa: TID253
from reportlab.lib.pagesizes import A4  # noqa: TID253
from reportlab.lib.units import mm  # noqa: TID253
from reportlab.pdfgen.canvas import Canvas  # noqa: TID253
from reportlab.platypus import BaseDocTemplate, CondPageBreak, Flowable, Frame, KeepTogether, PageBreak, PageTemplate, Spacer  # noqa: TID253
from reportlab.platypus import Table as Grid  # noqa: TID253

from breastai_gui.services.report_contents import (
    RESEARCH_USE_ONLY,
    Legend,
    Pictures,
    Table,
    Words,
)
from breastai_gui.services.report_drawing import ColourScale, CurveBlock, PictureRow
from breastai_gui.services.report_text import Style, TextBlock, draw_line, plain
from breastai_model.whole_file import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from breastai_gui.services.report_contents import Part, Report, Section

MARGIN, HEAD, FOOT = 16 * mm, 21 * mm, 16 * mm
PAGE_WIDTH, PAGE_HEIGHT = A4
ROOM = PAGE_WIDTH - 2 * MARGIN

TITLE = Style(size=17, leading=22, bold=True)
SECTION = Style(size=12, leading=16, colour=(0.08, 0.25, 0.45), bold=True, space_before=9, space_after=3, keep_with_next=True)
HEADING = Style(size=9.5, leading=13, bold=True, space_before=4, space_after=1, keep_with_next=True)
PLAIN = Style(align="natural", space_after=2.5)
NOTE = Style(size=8, leading=10.5, colour=(0.33, 0.33, 0.38), align="natural", space_after=1.5)
WARNING = Style(size=9, leading=12.5, colour=(0.55, 0.12, 0.02), bold=True)
CELL, CELL_HEAD = Style(size=8, leading=10.2), Style(size=7.5, leading=9.6, colour=(0.3, 0.3, 0.36), bold=True)
CELL_NAME = Style(size=8, leading=10.2, colour=(0.3, 0.3, 0.36))
PRODUCER = "BreastAI"


def write(report: Report, path: Path) -> None:
    """Write the report; the old file stays whole until the new one is on the disk and was read back.

    Raises
    ------
    OSError
        If it could not be written, or did not read back as a whole PDF.
    """
    rl_config.useA85 = 0  # binary streams: a fifth smaller than the ASCII that reportlab writes otherwise
    replace_file(path, lambda temporary: _write_checked(report, temporary))


def _write_checked(report: Report, path: Path) -> None:
    pages = _build(report, path)
    content = path.read_bytes()
    found = len(re.findall(rb"/Type\s*/Page\b(?!s)", content))
    if not content.startswith(b"%PDF-") or not content.rstrip().endswith(b"%%EOF") or pages < 1 or found != pages:
        raise OSError("The report did not read back as a whole PDF: the disk may be full or failing. Save it somewhere else.")


def _build(report: Report, path: Path) -> int:
    """Lay the report out and write it; return the number of pages."""
    pages: list[int] = []
    content = io.BytesIO()  # reportlab leaves a file open that it could not write to its end

    class NumberedCanvas(Canvas):  # type: ignore[misc]
        """Draws head and foot once the number of pages is known."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self._pages: list[dict[str, Any]] = []

        def showPage(self) -> None:
            """Keep the page until all are known."""
            self._pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            """Draw what stands on every page, then write."""
            pages.append(len(self._pages))
            for number, page in enumerate(self._pages, 1):
                kept = self._pages
                self.__dict__.update(page)
                self._pages = kept
                _frame(self, report, number, len(kept))
                super().showPage()
            super().save()

    document = BaseDocTemplate(
        content, pagesize=A4, title=report.title, author="", subject=RESEARCH_USE_ONLY, creator=PRODUCER, producer=PRODUCER, lang="en"
    )
    frame = Frame(MARGIN, FOOT, ROOM, PAGE_HEIGHT - HEAD - FOOT, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0)
    document.addPageTemplates([PageTemplate(frames=[frame])])
    document.build(_story(report), canvasmaker=NumberedCanvas)
    path.write_bytes(content.getvalue())
    return pages[0]


def _frame(canvas: Canvas, report: Report, number: int, count: int) -> None:
    """Draw head and foot of one page."""
    head, bold = Style(size=8.5), Style(size=8.5, bold=True)
    y = PAGE_HEIGHT - 12 * mm
    marked = f"DRAFT · {RESEARCH_USE_ONLY}" if report.draft else RESEARCH_USE_ONLY
    right = draw_line(canvas, marked, Style(size=8.5, colour=(0.7, 0.1, 0.05), bold=True, align="right"), MARGIN, y, ROOM)
    x, end = MARGIN, MARGIN + ROOM - right - 10
    for text, style, share in ((report.patient_name, bold, 0.62), (report.patient_id, head, 0.65), (report.exam, head, 1.0)):
        x += draw_line(canvas, text, style, x, y, (end - x) * share) + 12
    canvas.setStrokeColorRGB(0.75, 0.75, 0.8)
    canvas.setLineWidth(0.5)
    canvas.line(MARGIN, y - 5, MARGIN + ROOM, y - 5)
    y = 9 * mm
    small = Style(size=7.5, colour=(0.4, 0.4, 0.45))
    draw_line(canvas, f"{report.program} · {report.made_at.strftime('%Y-%m-%d %H:%M %Z')}", small, MARGIN, y, ROOM * 0.6)
    draw_line(canvas, f"page {number} of {count}", Style(size=7.5, colour=small.colour, align="right"), MARGIN, y, ROOM)


def _story(report: Report) -> list[Flowable]:
    story: list[Flowable] = [TextBlock(report.heading, TITLE)]
    if report.draft:
        count = len(report.draft_questions)
        title = f"DRAFT: {count} open question{'s' if count > 1 else ''} to be answered by a person"
        story += [_box("\n".join([title, *(f"• {question}" for question in report.draft_questions)])), Spacer(1, 4)]
    if report.still_open:
        story += [TextBlock("Still open", HEADING), *(TextBlock(f"• {question}", PLAIN) for question in report.still_open)]
    for section in report.sections:
        story += _section(section)
    missing = sorted(set().union(*(getattr(block, "missing", set()) for block in _all(story))) | _missing_in_head(report))
    if missing:
        codes = ", ".join(f"U+{code:04X}" for code in missing[:20]) + (" …" if len(missing) > 20 else "")
        story.append(TextBlock(f"No font of this program draws {codes}: such characters stand as their code in this report.", NOTE))
    return story


def _section(section: Section) -> list[Flowable]:
    blocks = [block for part in section.parts for block in _blocks(part)]
    start: list[Flowable] = [PageBreak()] if section.new_page else []
    if _short(section):
        return [*start, KeepTogether([_Title(section.title), *blocks])]
    return [*(start or [CondPageBreak(30 * mm)]), _Title(section.title), *blocks]


def _short(section: Section) -> bool:
    """Return whether a section should not be parted at a page's end: less than half a page of words, cells or curve."""
    lines = 0
    for part in section.parts:
        if isinstance(part, Pictures | Legend):
            return False
        if isinstance(part, Table):
            lines += len(part.rows)
        elif isinstance(part, Words):
            lines += 1 + len(part.text) // 100 + part.text.count("\n")
    return lines <= 24


class _Title(TextBlock):
    """A section's title, listed in the PDF's outline."""

    def __init__(self, text: str) -> None:
        super().__init__(text, SECTION)
        self._name = text

    def draw(self) -> None:
        """Draw the title and list it."""
        key = f"{self._name}-{self.canv.getPageNumber()}"
        self.canv.bookmarkHorizontal(key, 0, self.height)
        self.canv.addOutlineEntry(self._name, key, 0)
        super().draw()


def _blocks(part: Part) -> list[Flowable]:
    if isinstance(part, Words):
        if part.kind == "warning":
            return [_box(part.text), Spacer(1, 3)]
        return [TextBlock(part.text, {"plain": PLAIN, "note": NOTE, "heading": HEADING}[part.kind])]
    if isinstance(part, Table):
        return [_grid(part), Spacer(1, 4)]
    if isinstance(part, Pictures):
        rows = [part.images[first : first + part.columns] for first in range(0, len(part.images), part.columns)]
        return [PictureRow(row, part.columns, part.height_mm) for row in rows]
    if isinstance(part, Legend):
        return [ColourScale(part)]
    return [CurveBlock(part)]


def _box(text: str) -> Flowable:
    box = Grid([[TextBlock(text, WARNING, 3000)]], colWidths=[ROOM])
    box.setStyle(
        [
            ("BACKGROUND", (0, 0), (-1, -1), (1.0, 0.95, 0.88)),
            ("BOX", (0, 0), (-1, -1), 0.8, (0.85, 0.45, 0.1)),
            ("LEFTPADDING", (0, 0), (-1, -1), 6),
            ("RIGHTPADDING", (0, 0), (-1, -1), 6),
            ("TOPPADDING", (0, 0), (-1, -1), 3),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 4),
        ]
    )
    return box


def _grid(table: Table) -> Flowable:
    widths = [share * ROOM / sum(table.widths) for share in table.widths]

    def cells(row: Iterable[str], style: Style) -> list[TextBlock]:
        named = style is CELL and not table.header
        # A cell cannot be parted at a page's end, so none may grow taller than a page.
        limits = [int(60 + 4 * width) for width in widths]
        return [
            TextBlock(text, CELL_NAME if named and number == 0 else style, limit)
            for number, (text, limit) in enumerate(zip(row, limits, strict=True))
        ]

    rows = [cells(row, CELL) for row in table.rows]
    if table.header:
        rows.insert(0, cells(table.header, CELL_HEAD))
    grid = Grid(rows, colWidths=widths, repeatRows=1 if table.header else 0, hAlign="LEFT")
    grid.setStyle(
        [
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LEFTPADDING", (0, 0), (-1, -1), 3),
            ("RIGHTPADDING", (0, 0), (-1, -1), 3),
            ("TOPPADDING", (0, 0), (-1, -1), 1.6),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 2.2),
            ("LINEBELOW", (0, 0), (-1, -1), 0.3, (0.82, 0.82, 0.86)),
            *([("BACKGROUND", (0, 0), (-1, 0), (0.93, 0.95, 0.97))] if table.header else []),
        ]
    )
    return grid


def _all(blocks: Iterable[Any]) -> Iterable[Any]:
    """Return blocks with those inside of them: what is kept together, the cells of tables."""
    for block in blocks:
        yield block
        if isinstance(block, KeepTogether):
            yield from _all(block._content)
        if isinstance(block, Grid):
            yield from (cell for row in block._cellvalues for cell in row)


def _missing_in_head(report: Report) -> set[int]:
    return set().union(*(TextBlock(plain(text, 400), CELL).missing for text in (report.patient_name, report.patient_id, report.exam)))

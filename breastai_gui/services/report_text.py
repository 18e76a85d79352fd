"""Text of any script as a block on a page: font runs, right-to-left order, joined letters, broken lines.

Text is drawn letter by letter as it stands: nothing in it is ever read as markup.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from reportlab.lib.abag import ABag  # noqa: TID253

# This module is imported only by the job that writes a PDF.
from reportlab.pdfbase.pdfmetrics import stringWidth  # noqa: TID253
from reportlab.pdfbase.ttfonts import ShapedStr, shapeFragWord  # noqa: TID253
from reportlab.platypus import Flowable  # noqa: TID253

from breastai_gui.services.report_fonts import SHAPED, choose, font

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 20_000
"""More characters than this of one text are left out, with a mark: no file may fill the report."""


@dataclass(frozen=True, slots=True)
class Style:
    """How a block looks. `align` "natural" puts right-to-left paragraphs on the right; lengths in points."""

    size: float = 9.0
    leading: float = 12.5
    colour: tuple[float, float, float] = (0.1, 0.1, 0.12)
    bold: bool = False
    align: Literal["left", "right", "centre", "natural"] = "left"
    space_before: float = 0.0
    space_after: float = 0.0
    keep_with_next: bool = False


def plain(text: str, limit: int = LONGEST) -> str:
    """Return text without control and direction-override characters, composed, and elided after `limit` characters."""
    text = text[: limit + 1] if len(text) <= limit else text[:limit] + "…"
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\t", " "))
    return "".join(
        character
        for character in text
        if character == "\n" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn") or character in "\u200c\u200d"
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """Characters of one font and one direction, as drawn."""

    text: str
    logical: str
    font: str
    width: float


class _Paragraph:
    """One paragraph: its characters with their fonts and directions, and the widths of any part of it."""

    def __init__(self, text: str, style: Style) -> None:
        self.style = style
        self.text, self._fonts, self.missing = choose(text, style.bold)
        self.right_to_left, self._levels = _directions(self.text)

    def runs(self, first: int, last: int) -> list[_Run]:
        """Return what to draw of characters first ..< last, from left to right."""
        logical = [
            (level, name, "".join(self.text[i] for i in places))
            for (level, name), group in groupby(range(first, last), lambda i: (self._levels[i], self._fonts[i]))
            for places in (list(group),)
        ]
        order = list(range(len(logical)))
        # Unicode Annex 9, rule L2: from the highest level to the lowest odd one, turn every sequence of it or higher.
        for level in range(max((entry[0] for entry in logical), default=0), 0, -1):
            start = 0
            while start < len(order):
                end = start
                while end < len(order) and logical[order[end]][0] >= level:
                    end += 1
                order[start:end] = order[start:end][::-1]
                start = max(end, start + 1)
        return [self._run(*logical[i]) for i in order]

    def _run(self, level: int, name: str, text: str) -> _Run:
        size = self.style.size
        font(name)
        if name in SHAPED:
            # Only what the script needs: "dlig" would turn some Arabic names into ornaments.
            word = [0.0, (ABag(fontName=name, fontSize=size), text)]
            shaped = shapeFragWord(word, features={"kern": True, "liga": True, "dlig": False}, force=True)[1][1]
            if isinstance(shaped, ShapedStr):
                return _Run(shaped, text, name, sum(place.x_advance for place in shaped.__shapeData__) * size / 1000)
        drawn = "".join(_MIRRORED.get(character, character) for character in reversed(text)) if level % 2 else text
        return _Run(drawn, text, name, stringWidth(drawn, name, size))

    def width(self, first: int, last: int) -> float:
        """Return the width in points of characters first ..< last."""
        return sum(run.width for run in self.runs(first, last))

    def lines(self, room: float) -> Iterator[tuple[int, int]]:
        """Break into lines no wider than `room`: (first, last) characters, without the blanks at their ends."""
        start, end = 0, 0
        for first, last in self._pieces(room):
            text_end = first + len(self.text[first:last].rstrip())
            if end > start and self.width(start, text_end) > room:
                yield start, end
                start = first
            end = max(text_end, start)
            if end == start:  # a line does not begin with blanks
                start = end = last
        yield start, end

    def _pieces(self, room: float) -> Iterator[tuple[int, int]]:
        """Part the text where a line may end: after blanks and dashes, between wide letters, anywhere if too long."""
        start = 0
        for place in range(1, len(self.text) + 1):
            if place < len(self.text) and not _may_break(self.text[place - 1], self.text[place]):
                continue
            if self.width(start, place) <= room:
                yield start, place
            else:
                yield from self._forced(start, place, room)
            start = place

    def _forced(self, first: int, last: int, room: float) -> Iterator[tuple[int, int]]:
        start = first
        for place in range(first + 1, last):
            if unicodedata.category(self.text[place])[0] != "M" and self.width(start, place + 1) > room:
                yield start, place
                start = place
        yield start, last


class TextBlock(Flowable):  # type: ignore[misc]
    """A text on the page; line ends in it are kept.

    Attributes
    ----------
    missing
        Code points that no shipped font can draw; they stand as ``U+XXXX``.
    """

    def __init__(self, text: str, style: Style, limit: int = LONGEST) -> None:
        super().__init__()
        self.style = style
        self.spaceBefore, self.spaceAfter, self.keepWithNext = style.space_before, style.space_after, style.keep_with_next
        self._paragraphs = [_Paragraph(line, style) for line in plain(text, limit).split("\n")]
        self._lines: list[tuple[_Paragraph, int, int]] | None = None
        self.missing: set[int] = set().union(*(paragraph.missing for paragraph in self._paragraphs))
        self.width = self.height = 0.0

    def wrap(self, room: float, _height: float) -> tuple[float, float]:
        """Break the lines; return the width and height taken."""
        if self._lines is None or room != self.width:
            self._lines = [(paragraph, first, last) for paragraph in self._paragraphs for first, last in paragraph.lines(room)]
        self.width, self.height = room, len(self._lines) * self.style.leading
        return self.width, self.height

    def split(self, room: float, height: float) -> list[Any]:
        """Part the block at a page's end."""
        self.wrap(room, height)
        fitting = int(height // self.style.leading)
        if self._lines is None or fitting < 1 or fitting >= len(self._lines):
            return []
        parts = []
        for lines in (self._lines[:fitting], self._lines[fitting:]):
            part = TextBlock("", replace(self.style, keep_with_next=False))
            part._lines, part.width = lines, room
            parts.append(part)
        return parts

    def draw(self) -> None:
        """Draw the lines; called by the page."""
        for number, (paragraph, first, last) in enumerate(self._lines or ()):
            baseline = self.height - number * self.style.leading - 0.5 * (self.style.leading + 0.72 * self.style.size)
            align = self.style.align
            if align == "natural":
                align = "right" if paragraph.right_to_left else "left"
            _draw(self.canv, paragraph.runs(first, last), self.style, 0.0, baseline, self.width, align)


def draw_line(canvas: Any, text: str, style: Style, x: float, baseline: float, room: float) -> float:
    """Draw one line that is not broken, elided where it is wider than `room`; return its width in points.

    It starts at `x`, ends at ``x + room`` or stands in the middle between them, by `style.align`.
    """
    paragraph = _Paragraph(plain(text.replace("\n", " "), 400), style)
    last = len(paragraph.text)
    if paragraph.width(0, last) > room:
        ellipsis = stringWidth("…", "NotoSans-Regular", style.size)
        while last and paragraph.width(0, last) > room - ellipsis:
            last -= 1
        paragraph = _Paragraph(paragraph.text[:last] + "…", style)
    runs = paragraph.runs(0, len(paragraph.text))
    _draw(canvas, runs, style, x, baseline, room, "left" if style.align == "natural" else style.align)
    return sum(run.width for run in runs)


def _draw(canvas: Any, runs: list[_Run], style: Style, x: float, y: float, room: float, align: str) -> None:
    free = room - sum(run.width for run in runs)
    x += {"left": 0.0, "right": free, "centre": free / 2}[align]
    canvas.setFillColorRGB(*style.colour)
    for run in runs:
        text = canvas.beginText(x, y)
        text.setFont(run.font, style.size)
        if isinstance(run.text, ShapedStr):
            _draw_clusters(text, run.text, run.logical)
        else:
            text.textOut(run.text)
        canvas.drawText(text)
        x += run.width


def _draw_clusters(text: Any, shaped: ShapedStr, logical: str) -> None:
    """Draw joined letters, each with the characters that it stands for, so that the words can be searched and copied.

    Glyphs that stand for one letter in one shape have no character of their own: ActualText names it (ISO 32000-1,
    14.9.4). Readers put right-to-left glyphs back into the order of reading themselves.
    """
    starts = [*sorted({place.cluster for place in shaped.__shapeData__}), len(logical)]
    first = 0
    for cluster, places in groupby(shaped.__shapeData__, lambda place: place.cluster):
        last = first + len(list(places))
        meant = logical[cluster : starts[starts.index(cluster) + 1]]
        glyphs = shaped[first:last]
        if str(glyphs) != meant:
            text._code.append(f"/Span <</ActualText <FEFF{meant.encode('utf-16-be').hex().upper()}>>> BDC")
        text.textOut(glyphs)
        if str(glyphs) != meant:
            text._code.append("EMC")
        first = last


_MIRRORED = {"(": ")", ")": "(", "[": "]", "]": "[", "{": "}", "}": "{", "<": ">", ">": "<", "«": "»", "»": "«"}


def _may_break(before: str, after: str) -> bool:
    if before in " -/_,;" and after != " ":
        return not (before in "-/_,;" and after.isdigit())
    wide = unicodedata.east_asian_width(before) in "WF" or unicodedata.east_asian_width(after) in "WF"
    return wide and unicodedata.category(after)[0] not in "MP" and before != " " and after != " "


def _directions(text: str) -> tuple[bool, list[int]]:
    """Return whether a paragraph runs from right to left, and the embedding level of each character."""
    if not any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in text):
        return False, [0] * len(text)
    from bidi import algorithm

    base = algorithm.get_base_level(text)
    storage = algorithm.get_empty_storage()
    storage["base_level"], storage["base_dir"] = base, ("L", "R")[base]
    algorithm.get_embedding_levels(text, storage)
    algorithm.explicit_embed_and_overrides(storage)
    algorithm.resolve_weak_types(storage)
    _pair_brackets(text, storage["chars"], base)
    algorithm.resolve_neutral_types(storage, False)
    algorithm.resolve_implicit_levels(storage, False)
    return bool(base), [character["level"] for character in storage["chars"]]


def _pair_brackets(text: str, characters: list[dict[str, Any]], base: int) -> None:
    """Give both brackets of a pair one direction (Unicode Annex 9, rule N0, which python-bidi leaves out)."""

    def strong(kind: str) -> str:
        return "R" if kind in ("R", "EN", "AN") else "L" if kind == "L" else ""

    mine, other = ("R", "L") if base else ("L", "R")
    opened: list[int] = []
    for place, character in enumerate(text):
        if character in "([{":
            opened.append(place)
        elif character in ")]}" and opened and _MIRRORED[text[opened[-1]]] == character:
            first = opened.pop()
            inside = {strong(characters[i]["type"]) for i in range(first + 1, place)}
            if mine in inside:
                kind = mine
            elif other in inside:
                before = next((found for i in range(first - 1, -1, -1) if (found := strong(characters[i]["type"]))), mine)
                kind = other if before == other else mine
            else:
                continue
            characters[first]["type"] = characters[place]["type"] = kind

"""Which font draws which character: the shipped fonts, chosen run by run by what they cover."""

from __future__ import annotations

import unicodedata

# This module is imported only by the job that writes a PDF.
from reportlab.pdfbase import pdfmetrics  # noqa: TID253
from reportlab.pdfbase.ttfonts import TTFError, TTFont  # noqa: TID253

from breastai_gui.resource import resource

REGULAR, BOLD = "NotoSans-Regular", "NotoSans-Bold"
_WIDE = "wqy-microhei"
_FILES = {
    REGULAR: "NotoSans-Regular.ttf",
    BOLD: "NotoSans-Bold.ttf",
    "NotoSansArabic-Regular": "NotoSansArabic-Regular.ttf",
    "NotoSansHebrew-Regular": "NotoSansHebrew-Regular.ttf",
    "NotoSansThai-Regular": "NotoSansThai-Regular.ttf",
    "NotoSansDevanagari-Regular": "NotoSansDevanagari-Regular.ttf",
    _WIDE: "wqy-microhei.ttc",
}
_SCRIPTS = (
    (0x0590, 0x05FF, "NotoSansHebrew-Regular"),
    (0x0600, 0x06FF, "NotoSansArabic-Regular"),
    (0x0750, 0x077F, "NotoSansArabic-Regular"),
    (0x08A0, 0x08FF, "NotoSansArabic-Regular"),
    (0x0900, 0x097F, "NotoSansDevanagari-Regular"),
    (0x0E00, 0x0E7F, "NotoSansThai-Regular"),
    (0xA8E0, 0xA8FF, "NotoSansDevanagari-Regular"),
    (0xFB1D, 0xFB4F, "NotoSansHebrew-Regular"),
    (0xFB50, 0xFDFF, "NotoSansArabic-Regular"),
    (0xFE70, 0xFEFF, "NotoSansArabic-Regular"),
)
SHAPED = frozenset(name for _, _, name in _SCRIPTS)
"""Fonts whose letters change with their neighbours: drawn through HarfBuzz."""

# Joiners and variation selectors: they have no picture of their own, so without a font they are left out.
_INVISIBLE = frozenset([0x00AD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)])


def font(name: str) -> TTFont:
    """Return a shipped font, registered with reportlab on its first use.

    Raises
    ------
    FileNotFoundError
        If this installation lacks the fonts.
    """
    if name not in pdfmetrics.getRegisteredFontNames():
        path = resource("fonts") / _FILES[name]
        try:
            pdfmetrics.registerFont(TTFont(name, str(path), subfontIndex=0))
        except TTFError as error:
            raise FileNotFoundError(f"The font {path.name} of this installation of BreastAI is damaged. Install it again.") from error
    return pdfmetrics.getFont(name)


def covers(name: str, character: str) -> bool:
    """Return whether that font has a picture of a character."""
    return ord(character) in font(name).face.charToGlyph


def choose(text: str, bold: bool) -> tuple[str, list[str], set[int]]:
    """Return the text as it can be drawn, the name of the font of each of its characters, and what no font can draw.

    A character that no font covers becomes ``U+XXXX``; invisible joiners without a font are left out.
    """
    drawn: list[str] = []
    fonts: list[str] = []
    missing: set[int] = set()
    basic = BOLD if bold else REGULAR
    for character in text:
        code = ord(character)
        joins = code in _INVISIBLE or unicodedata.category(character) in ("Mn", "Me")
        if code < 0x7F:
            name: str | None = basic
        elif joins and fonts and covers(fonts[-1], character):
            name = fonts[-1]
        elif code in _INVISIBLE:
            continue
        else:
            script = next((name for first, last, name in _SCRIPTS if first <= code <= last), None)
            name = next((name for name in (script, basic, _WIDE) if name and covers(name, character)), None)
        if name is None:
            missing.add(code)
            written = f"U+{code:04X}"
            drawn.extend(written)
            fonts.extend([basic] * len(written))
        else:
            drawn.append(character)
            fonts.append(name)
    return "".join(drawn), fonts, missing

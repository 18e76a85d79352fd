"""Free text from files on the screen: literal, never taken for HTML or for the key of a button (D13 of the fault tests)."""

from __future__ import annotations

import html

from breastai_gui.services.plain_text import one_line


def literal_tooltip(text: str) -> str:
    """Return a tooltip that shows text as it stands: Qt would otherwise guess from its look whether it is HTML."""
    return f"<span>{html.escape(text[:2000])}</span>".replace("\n", "<br>") if text else ""


def literal_caption(text: str) -> str:
    """Return a caption for a button, check box or menu entry, in which "&" would otherwise make a key of the next letter."""
    return one_line(text).replace("&", "&&")

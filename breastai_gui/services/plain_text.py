"""Free text from files on its way to a reader: on one line, of bounded length, names and dates in reading order."""

from __future__ import annotations

import unicodedata

LONGEST = 300
"""Characters of a name, label or note that are kept for display; a 64 kB PatientName stays readable."""

# Marks that turn the direction of the text around them: a name could make "left" read as "right".
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def one_line(text: str) -> str:
    """Return text without control characters, line breaks and direction overrides, at most `LONGEST` characters long."""
    cut = text[: 4 * LONGEST]
    plain = "".join(" " if unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") else sign for sign in cut if sign not in _TURNING)
    plain = " ".join(plain.split())
    return plain if len(plain) <= LONGEST else plain[: LONGEST - 1] + "…"


def person_name(name: str) -> str:
    """Return a DICOM person name (PS3.5 6.2.1.2) for a reader: "Family, Given Middle"; other writings in brackets."""
    groups = []
    for group in name.split("=")[:3]:
        family, *others = group.split("^")
        given, middle, prefix, suffix = (*others[:4], "", "", "", "")[:4]
        rest = " ".join(part.strip() for part in (prefix, given, middle, suffix) if part.strip())
        groups.append(", ".join(part for part in (family.strip(), rest) if part))
    first, *more = [group for group in groups if group] or [""]
    return one_line(first + "".join(f" ({other})" for other in more))


def date_text(dicom_date: str) -> str:
    """Return "1970-01-01" for the DICOM date "19700101", anything else as it stands."""
    if len(dicom_date) == 8 and dicom_date.isascii() and dicom_date.isdigit():
        return f"{dicom_date[:4]}-{dicom_date[4:6]}-{dicom_date[6:]}"
    return one_line(dicom_date)

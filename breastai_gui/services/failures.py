"""What went wrong, as one sentence for the person and as one entry without patient data for the log file."""

from __future__ import annotations

import errno
import logging
import logging.handlers
import traceback
from pathlib import Path

log = logging.getLogger("breastai_gui")

_OURS = ("breastai_gui.", "breastai_model.")


def sentence_of(error: BaseException) -> str:
    """Return one sentence that says what happened and what to do.

    Every exception class that this program defines carries such a sentence. What the operating system reports is put into
    one; anything else is named only by its type, because its text was not written for a reader.
    """
    if type(error).__module__.startswith(_OURS):
        return str(error)
    if isinstance(error, MemoryError):
        return "There is not enough memory: close other programs and try again."
    if isinstance(error, OSError):
        if error.errno == errno.ENOSPC:
            return "The disk is full: free some room and try again."
        where = f" {error.filename}" if error.filename else ""
        return f"The file{where} could not be read or written ({error.strerror or type(error).__name__})."
    return f"Something unexpected went wrong ({type(error).__name__}); what the program was doing is in its log file."


def keep_log(folder: Path) -> None:
    """Send the program's own log entries to a file in a folder; at most 2 MB are kept.

    Only loggers of this program are written: libraries put raw values of DICOM headers into their messages.
    """
    handler = logging.handlers.RotatingFileHandler(folder / "breastai.log", maxBytes=1_000_000, backupCount=1, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("breastai_gui", "breastai_model"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        logger.propagate = False


def log_failure(doing: str, error: BaseException) -> None:
    """Write where an error came from: types, files of the program and lines; neither its text nor any value."""
    chain = []
    seen: BaseException | None = error
    while seen is not None:
        frames = " < ".join(
            f"{Path(frame.filename).stem}.{frame.name}:{frame.lineno}" for frame in reversed(traceback.extract_tb(seen.__traceback__))
        )
        chain.append(f"{type(seen).__name__} in {frames or 'no frame'}")
        seen = seen.__cause__ or seen.__context__
    log.error("%s failed: %s", doing, " | ".join(chain))

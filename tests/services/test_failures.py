"""What went wrong is one sentence for the person and one line without patient data for the log."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING

import pytest

from breastai_gui.data.study import ReadError
from breastai_gui.services.failures import keep_log, log_failure, sentence_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (ReadError("Nothing here is an image."), "Nothing here is an image."),
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "out.pdf"), "out.pdf could not be read or written (Permission denied)"),
        (MemoryError(), "not enough memory"),
        (ZeroDivisionError("ZZCANARY^PAT"), "Something unexpected went wrong (ZeroDivisionError)"),
    ],
)
def test_every_error_is_one_sentence(error: Exception, part: str) -> None:
    said = sentence_of(error)
    assert part in said
    assert "\n" not in said
    assert "CANARY" not in said


@pytest.fixture
def _quiet_afterwards() -> Iterator[None]:
    yield
    for name in ("breastai_gui", "breastai_model"):
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            handler.close()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)


@pytest.mark.usefixtures("_quiet_afterwards")
def test_f1_the_log_says_where_but_neither_what_nor_who(tmp_path: Path) -> None:
    keep_log(tmp_path)

    def read(name: str) -> None:
        raise ValueError(f"bad birth date of {name}")

    try:
        try:
            read("ZZCANARY^PAT")
        except ValueError as error:
            raise ReadError(f"The file of {'ZZCANARY'} is damaged.") from error
    except ReadError as error:
        log_failure("Opening", error)
    logging.getLogger("pydicom").warning("Invalid value for VR DA: '1950-01-01x' ZZCANARY")
    written = (tmp_path / "breastai.log").read_text(encoding="utf-8")
    assert "Opening failed: ReadError in" in written
    assert "ValueError in test_failures.read:" in written
    assert "CANARY" not in written
    assert "birth" not in written

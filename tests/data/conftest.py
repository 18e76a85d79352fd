"""One reading process for all tests of a run, and the shortest way from a folder to a study."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from breastai_gui.data.reader_process import Reader
from breastai_gui.data.walk import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from breastai_gui.data.study import Catalogue, Study


@pytest.fixture(scope="session")
def reader() -> Iterator[Reader]:
    with Reader() as reader:
        yield reader


@pytest.fixture
def scan(reader: Reader) -> Callable[[Path], Catalogue]:
    return lambda path: reader.scan(path, lambda _progress: None)


@pytest.fixture
def read(reader: Reader) -> Callable[[Path], Study]:
    """Scan, take what is proposed, load; and check that every file was accounted for once."""

    def whole(path: Path) -> Study:
        catalogue = reader.scan(path, lambda _progress: None)
        assert catalogue.proposed is not None, catalogue.choice_reason
        study = reader.load(catalogue, catalogue.proposed, lambda _progress: None)
        for files in (catalogue.files, study.files):
            names = [use.file for use in files]
            assert len(set(names)) == len(names)
            assert all(bool(use.used_as) != bool(use.why_not) for use in files)
        if path.is_dir():
            present = {shown(str(p.relative_to(path))) for p in path.rglob("*") if p.is_file() and not p.is_symlink()}
            assert present <= {use.file for use in study.files}
        return study

    return whole

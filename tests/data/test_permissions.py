"""Files and folders that may not be read or written: said or not needed, also where the tests run as root."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dicom_files import write_dce

if TYPE_CHECKING:
    from pathlib import Path

READ_AND_TELL = """
import json, sys
from pathlib import Path
from breastai_gui.data.reader_process import Reader
from breastai_gui.data.study import ReadError

folder = Path(sys.argv[1])
try:
    (folder / "written").write_text("x")
    writable = True
except PermissionError:
    writable = False
with Reader() as reader:
    try:
        catalogue = reader.scan(folder, lambda progress: None)
        study = reader.load(catalogue, catalogue.proposed, lambda progress: None)
    except ReadError as error:
        print(json.dumps({"writable": writable, "sentence": str(error)}))
    else:
        told = [problem.text for problem in study.problems]
        print(json.dumps({"writable": writable, "values": study.dce.values.tolist(), "told": told}))
"""


def read_without_privilege(folder: Path) -> dict[str, Any]:
    """Read a folder in a program for which permissions count: root's may open everything until that capability is dropped."""
    command = [sys.executable, "-c", READ_AND_TELL, str(folder)]
    if os.geteuid() == 0:
        without = "-dac_override,-dac_read_search"
        setpriv = [shutil.which("setpriv") or "setpriv", f"--bounding-set={without}", f"--inh-caps={without}"]
        if shutil.which("setpriv") is None or subprocess.run([*setpriv, "true"], capture_output=True, check=False).returncode:
            pytest.skip("runs as root, for whom permissions do not count, and setpriv cannot change that here")
        command = setpriv + command
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_d12_files_that_may_not_be_read(tmp_path: Path) -> None:
    write_dce(tmp_path, phases=2)
    (tmp_path / "IM00003").chmod(0)
    (tmp_path / "shut").mkdir(mode=0)
    answer = read_without_privilege(tmp_path)
    assert "«IM00003» was not read: reading it is not permitted." in answer["told"]
    assert any("slice 4 of 8 is missing" in text for text in answer["told"]), answer["told"]
    assert "The folder «shut» cannot be opened: reading it is not permitted." in answer["told"]
    assert any(map(any, answer["values"][1][3]))


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_a_folder_that_may_not_be_entered(tmp_path: Path) -> None:
    write_dce(tmp_path / "exam", phases=2)
    (tmp_path / "exam").chmod(0)
    answer = read_without_privilege(tmp_path / "exam")
    assert answer["sentence"] == "The folder «exam» cannot be opened: reading it is not permitted."


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_a_read_only_folder(tmp_path: Path) -> None:
    folder = tmp_path / "read only"
    values = write_dce(folder, phases=2)
    for path in (*folder.iterdir(), folder):
        path.chmod(0o555 if path == folder else 0o444)
    before = sorted(path.name for path in folder.iterdir())
    try:
        answer = read_without_privilege(folder)
        assert not answer["writable"], "the test itself could write there, so it would prove nothing"
        assert np.array_equal(answer["values"], values)
        assert answer["told"] == []
        assert sorted(path.name for path in folder.iterdir()) == before
    finally:
        folder.chmod(stat.S_IRWXU)

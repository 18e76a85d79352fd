"""A file is the old one or the new one, whole."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from fnmatch import fnmatch
from typing import TYPE_CHECKING

import pytest

from breastai_model.whole_file import replace_file

if TYPE_CHECKING:
    from pathlib import Path


def test_the_new_content_stands_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "Müller 中文.pdf"
    replace_file(target, lambda path: path.write_bytes(b"first"))
    replace_file(target, lambda path: path.write_bytes(b"second"))
    assert target.read_bytes() == b"second"
    assert list(target.parent.iterdir()) == [target]


def test_p13_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "report.pdf"
    target.write_bytes(b"old")

    def write(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        replace_file(target, write)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_p3_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="this system has no limit on file sizes")
    target = tmp_path / "settings.json"
    target.write_bytes(b"old")
    code = (
        "import resource, signal, sys, pathlib\n"
        "from breastai_model.whole_file import replace_file\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    replace_file(pathlib.Path(sys.argv[1]), lambda path: path.write_bytes(bytes(5000)))\n"
        "except OSError as error:\n"
        "    sys.exit(7)\n"
    )
    assert resource
    assert subprocess.run([sys.executable, "-c", code, str(target)], check=False).returncode == 7
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_name_says_nothing_and_is_found_by_no_ending(tmp_path: Path) -> None:
    seen: list[Path] = []

    def write(path: Path) -> None:
        seen.append(path)
        path.write_text("x")

    replace_file(tmp_path / "Canary^Patient.pdf", write)
    assert not fnmatch(seen[0].name, "*.pdf"), "a killed write leaves nothing that looks like a report"
    assert "Canary" not in seen[0].name
    assert seen[0].parent == tmp_path


def kill_while_writing(folder: Path, kills: int) -> None:
    target = folder / "state.bin"
    code = (
        "import sys, pathlib, itertools\n"
        "from breastai_model.whole_file import replace_file\n"
        "target = pathlib.Path(sys.argv[1])\n"
        "for number in itertools.count():\n"
        "    replace_file(target, lambda path: path.write_bytes(bytes([number % 256]) * 400_000))\n"
        "    print(number, flush=True)\n"
    )
    for kill in range(kills):
        process = subprocess.Popen([sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.005 + 0.013 * (kill % 7))
        process.kill()
        process.wait()
        process.stdout.close()
        content = target.read_bytes()
        assert len(content) == 400_000
        assert len(set(content)) == 1, "two writes were mixed in one file"


@pytest.mark.skipif(os.name != "posix", reason="uses SIGKILL")
def test_p1_a_kill_leaves_a_whole_file(tmp_path: Path) -> None:
    kill_while_writing(tmp_path, 4)


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="uses SIGKILL")
def test_p1_two_hundred_kills_leave_a_whole_file(tmp_path: Path) -> None:
    kill_while_writing(tmp_path, 200)

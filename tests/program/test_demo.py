"""`breastai demo` where nobody can see a window: the report and pictures of the window instead."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can be without a display")
def test_the_demo_without_a_display_writes_a_report_and_pictures_of_the_window(demo_home: Path, tmp_path: Path) -> None:
    out = tmp_path / "what the window shows"
    environment = {**os.environ, "DISPLAY": "", "WAYLAND_DISPLAY": "", "QT_QPA_PLATFORM": "", "BREASTAI_HOME": str(demo_home)}
    answer = subprocess.run(
        [sys.executable, "-m", "breastai_gui", "demo", "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        env=environment,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stderr == ""
    assert answer.stdout.startswith("There is no display")
    assert (out / "demo-report.pdf").read_bytes().startswith(b"%PDF-")
    pictures = sorted(out.glob("*.png"))
    assert len(pictures) >= 2
    for picture in (*pictures, out / "demo-report.pdf"):
        assert str(picture) in answer.stdout, "every file that was written is named"
    from PIL import Image

    for picture in pictures:
        with Image.open(picture) as image:
            assert image.width >= 1366
            low, high = image.convert("L").getextrema()
            assert high - low > 100, "the picture is not blank"

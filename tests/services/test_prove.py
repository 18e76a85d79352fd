"""`breastai prove`, as a person types it: a table, a result file, and a proof that goes on where it stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from breastai_gui.services import command_line

if TYPE_CHECKING:
    from pathlib import Path


def breastai(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "breastai_gui", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_the_quick_table_is_printed_written_and_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "proof"
    done = breastai("prove", "--quick", "--only", "affinity,batch", "--out", str(out), "--processes", "2")
    assert done.returncode == 0, done.stderr
    assert "| claim | expected | measured (95 % interval) | verdict | note |" in done.stdout
    assert "planted affinity" in done.stdout
    result = json.loads((out / "result.json").read_text("utf-8"))
    assert [piece["name"] for piece in result["pieces"]] == ["affinity", "batch"]
    assert {row["verdict"] for piece in result["pieces"] for row in piece["rows"]} == {"holds"}
    assert (out / "table.md").read_text("utf-8") in done.stdout
    assert str(tmp_path) not in (out / "table.md").read_text("utf-8"), "a table can be shown to others"
    stamp = (out / "pieces" / "affinity.json").stat().st_mtime_ns
    (out / "pieces" / "batch.json").unlink()
    again = command_line.parse(["prove", "--quick", "--only", "affinity,batch", "--out", str(out), "--processes", "1"])
    assert command_line.run(again) == 0
    assert "1 of 2 pieces are there" in capsys.readouterr().out
    assert (out / "pieces" / "affinity.json").stat().st_mtime_ns == stamp, "a finished piece is not measured again"


def test_when_time_is_over_the_rest_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    options = command_line.parse(
        ["prove", "--quick", "--only", "latent-literal,affinity", "--minutes", "0.005", "--out", str(tmp_path), "--processes", "1"]
    )
    assert command_line.run(options) == 3
    said = capsys.readouterr().out
    assert "Not finished: latent-literal, affinity. Start the same command again" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--only", "nonsense"), "There is no claim 'nonsense'; there are phantoms-clinic-learn-1,"),
        (("--minutes", "0"), "--minutes takes a number above 0"),
        (("--weights", "nowhere.safetensors"), "There is no weights file nowhere.safetensors"),
        (("--quick", "--cohort", "."), "--cohort, --shuffled and --leaky go with --weights or with the full table."),
        (("--cohort", "."), "holds no whole cohort of made-up patients"),
        (("--weights", __file__), "not a valid safetensors file"),
    ],
)
def test_wrong_options_are_one_sentence(arguments: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]):
    assert command_line.run(command_line.parse(["prove", *arguments])) == 2
    assert sentence in capsys.readouterr().err

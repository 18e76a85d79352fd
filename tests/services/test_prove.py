"""`breastai prove`, as a person types it: a table, a result file, and a proof that goes on where it stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
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


SURE = (
    *(f"S5 {task}, {scope}" for task in ("lymph_node_metastasis", "high_grade", "high_ki67") for scope in ("MRI + US", "US alone")),
    *("S2 lymph_node_metastasis, US alone", "S2 high_grade, US alone", "S2 high_grade, lost with MRI alone"),
    "S2 lymph_node_metastasis, MRI missing: calibrated ignorance",
    *("S1 lymph_node_metastasis, MRI + US", "S1 lymph_node_metastasis, US alone", "S7 sweep rolled", "S7 tokens rolled"),
    *(
        "literal equation 14 diverges",
        "control probe, MLP(64)",
        "stable probe, MLP(64)",
        "stable F^a_M → s",
        "positive control of the probe",
    ),
    *("latent S4, MRI + US", "latent S4, MRI + US, linear heads", "latent S6, phases in order", "latent S6, phases permuted"),
    *("latent S8, both breasts", "latent S8, another's healthy breast"),
    *("F^s_M levelled, p_M label", "missing mri, s", "missing ultrasound, s", "calibrated ignorance"),
    *("planted affinity", "batch sizes 1, 6, 32", "companions", "absent inputs"),
)
"""Claims that the quick table must hold; its budget leaves the others open."""


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_quick_table_ends_within_ten_minutes_and_holds_what_it_must(tmp_path: Path) -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "breastai_gui", "prove", "--quick", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=1100,
    )
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    rows = {row["claim"]: row for piece in json.loads((tmp_path / "result.json").read_text("utf-8"))["pieces"] for row in piece["rows"]}
    print(f"{seconds:.0f} s, of {len(rows)} claims {sum(row['verdict'] == 'holds' for row in rows.values())} hold")
    assert seconds <= 600
    assert {claim: rows[claim]["verdict"] for claim in SURE} == dict.fromkeys(SURE, "holds")

"""The two networks that the bundled weights are judged against, made by the table itself where nobody brings them.

They are those of ``breastai train --bundled --control leaky`` and ``shuffled``: see `breastai_model.training.bundled`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from breastai_model.phantom.scenarios import law_hash
from breastai_model.proof.pieces import OutOfTime, Piece
from breastai_model.recipe import preset
from breastai_model.training import bundled
from breastai_model.training.bundled_cases import LEARN_SEED, prepare_learning

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from breastai_model.proof.pieces import Bench
    from breastai_model.proof.table import Row

ControlName = Literal["leaky", "shuffled"]
CONTROLS = bundled.Wish(window_epochs=1)
"""One epoch on windows suffices to tell what they are to tell, and takes minutes."""
PHANTOMS = "control-phantoms"


def control_pieces(wish: bundled.Wish, names: Sequence[ControlName]) -> list[Piece]:
    """Return the pieces that make these control networks: their phantoms, then each network."""
    words = control_words(wish)
    made = [
        Piece(control_piece(name), f"Control network, {name}", words, partial(_network, replace(wish, control=name)), (PHANTOMS,))
        for name in names
    ]
    return [Piece(PHANTOMS, "Phantoms of the control networks", words, partial(_phantoms, wish)), *made] if made else []


def control_piece(name: ControlName) -> str:
    """Return the name of the piece that makes a control network."""
    return f"control-{name}"


def control_words(wish: bundled.Wish) -> str:
    """Return what the control networks learn from, in words."""
    epochs = "one epoch" if wish.window_epochs == 1 else f"{wish.window_epochs} epochs"
    return f"{epochs} on windows of {wish.patients} clinic phantoms, seeds from {LEARN_SEED}, law {law_hash()[:12]}, preset {wish.preset}"


def control_file(folder: Path, name: ControlName) -> Path:
    """Return where the table in this folder keeps a control network."""
    return folder / "controls" / f"{name}.safetensors"


def _phantoms(wish: bundled.Wish, bench: Bench) -> list[Row]:
    def stop_in_time(_done: int, _whole: int) -> None:
        bench.left_s()

    prepare_learning(bench.folder / "controls", wish.patients, preset(wish.preset), bench.processes, bench.say, stop_in_time)
    return []


def _network(wish: bundled.Wish, bench: Bench) -> list[Row]:
    folder = bench.folder / "controls"
    if not bundled.make(wish, folder, folder, bench.processes, bench.say, bench.deadline):
        raise OutOfTime
    return []

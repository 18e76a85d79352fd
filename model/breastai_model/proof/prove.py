"""The whole proof: its pieces in order, as many at a time as there are processors, and the table of what is finished."""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from multiprocessing import connection, get_context, parent_process
from typing import TYPE_CHECKING, Any

from breastai_model.proof.control_pieces import CONTROLS
from breastai_model.proof.image_pieces import image_pieces
from breastai_model.proof.latent_pieces import latent_pieces
from breastai_model.proof.pieces import Bench, Finished, OutOfTime, finished, measure
from breastai_model.proof.table import HOW_TO_READ, WHAT_IT_IS_NOT, markdown, row_json, summary
from breastai_model.proof.weights_pieces import Given, attribution_pieces, weights_pieces
from breastai_model.whole_file import replace_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from breastai_model.proof.pieces import Piece


class ProofError(ValueError):
    """The proof cannot be made; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be proven.

    Attributes
    ----------
    quick
        The small table, at most ten minutes on two processors.
    only
        Names of pieces, or beginnings of them; empty: all.
    given
        A weights file with its controls, or None. The quick table of the method looks at its heatmaps alone.
    weights_alone
        Whether only that file is judged, and not the method on trainings of the proof's own.
    """

    quick: bool = False
    only: tuple[str, ...] = ()
    given: Given | None = None
    weights_alone: bool = False


def pieces_of(wish: Wish) -> list[Piece]:
    """Return the pieces of a wish in the order of the table.

    Raises
    ------
    ProofError
        If `only` names no piece.
    """
    every: list[Piece] = []
    glance = wish.quick and not wish.weights_alone
    if wish.given is None or not wish.weights_alone:
        # Images first: their phantoms and trainings are the longest chain.
        every += image_pieces(quick=wish.quick)
        every += attribution_pieces(wish.given) if glance and wish.given is not None else []
        every += latent_pieces(quick=wish.quick)
    if wish.given is not None and not glance:
        # The table of the method makes the controls of its weights itself.
        given = wish.given if wish.weights_alone or wish.given.controls is not None else replace(wish.given, controls=CONTROLS)
        every += weights_pieces(given, quick=wish.quick)
    if not wish.only:
        return every
    for start in wish.only:
        if not any(piece.name.startswith(start) for piece in every):
            raise ProofError(f"There is no claim {start!r}; there are {', '.join(piece.name for piece in every)}.")
    chosen = {piece.name for piece in every if piece.name.startswith(wish.only)}
    while True:
        needed = {name for piece in every if piece.name in chosen for name in piece.after}
        if needed <= chosen:
            return [piece for piece in every if piece.name in chosen]
        chosen |= needed


def prove(wish: Wish, folder: Path, minutes: float, processes: int, say: Callable[[str], None]) -> bool:
    """Measure what is not measured yet, within the time; write `table.md` and `result.json`; return whether all is finished.

    Parameters
    ----------
    folder
        Keeps cohorts, trainings and results; started again with the same folder the proof goes on.
    minutes
        After which this call stops at the next step of whatever is being measured.
    processes
        Pieces at a time; 1: in this process.

    Raises
    ------
    ProofError
        If `only` names no piece.
    OSError
        If the folder cannot be written.
    """
    pieces = pieces_of(wish)
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + 60 * minutes
    open_pieces = [piece for piece in pieces if finished(folder, piece) is None]
    say(f"{len(pieces) - len(open_pieces)} of {len(pieces)} pieces are there; measuring {len(open_pieces)}, at most {minutes:g} minutes.")
    if processes > 1 and len(open_pieces) > 1:
        _side_by_side(wish, open_pieces, folder, deadline, processes, say)
    else:
        _one_by_one(open_pieces, Bench(folder, deadline, processes, say))
    done = [(piece, finished(folder, piece)) for piece in pieces]
    _write(wish, [(piece, result) for piece, result in done if result is not None], folder)
    missing = [piece.name for piece, result in done if result is None]
    say((folder / "table.md").read_text("utf-8"))
    if missing:
        say(f"Not finished: {', '.join(missing)}. Start the same command again: it goes on.")
    return not missing


def _one_by_one(pieces: Sequence[Piece], bench: Bench) -> None:
    for piece in pieces:
        try:
            result = measure(piece, bench)
        except OutOfTime:
            return
        _tell(piece, result, bench.say)


def _side_by_side(wish: Wish, pieces: list[Piece], folder: Path, deadline: float, processes: int, say: Callable[[str], None]) -> None:
    """Measure in child processes; a piece starts when those that it comes after are finished."""
    waiting = {piece.name: piece for piece in pieces}
    running: dict[Future[Finished | None], Piece] = {}
    failed: set[str] = set()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool:
        while waiting or running:
            blocked = {*waiting, *failed, *(piece.name for piece in running.values())}
            for piece in list(waiting.values()):
                if len(running) < processes and time.monotonic() < deadline and not blocked & set(piece.after):
                    # The clock of the child is another one: it is told what is left.
                    future = pool.submit(_in_child, wish, piece.name, folder, deadline - time.monotonic())
                    running[future] = waiting.pop(piece.name)
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                piece = running.pop(future)
                result = future.result()
                if result is None:
                    failed.add(piece.name)
                else:
                    _tell(piece, result, say)


def _end_with_parent() -> None:
    """End this child when the program that started it was killed: it would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True).start()


def _watch(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def _in_child(wish: Wish, name: str, folder: Path, seconds: float) -> Finished | None:
    import torch

    torch.set_num_threads(1)
    piece = next(piece for piece in pieces_of(wish) if piece.name == name)
    try:
        return measure(piece, Bench(folder, time.monotonic() + seconds, 1, lambda _line: None))
    except OutOfTime:
        return None


def _tell(piece: Piece, result: Finished, say: Callable[[str], None]) -> None:
    say(f"{piece.name}: {summary(result.rows) if result.rows else 'done.'} ({result.seconds:.0f} s)")


def _write(wish: Wish, done: Sequence[tuple[Piece, Finished]], folder: Path) -> None:
    parts = [(result.title, f"{result.constants}. Measured in {result.seconds:.0f} s.", result.rows) for _, result in done]
    heading = "Claims on a weights file" if wish.weights_alone else f"Claims on phantoms{', the quick table' if wish.quick else ''}"
    table = markdown(parts, heading)
    everything: dict[str, Any] = {
        "heading": heading,
        "how_to_read": HOW_TO_READ,
        "what_it_is_not": WHAT_IT_IS_NOT,
        "pieces": [
            {"name": piece.name, "title": result.title, "constants": result.constants, "seconds": result.seconds}
            | {"rows": [row_json(row) for row in result.rows]}
            for piece, result in done
        ],
        "summary": summary([row for _, result in done for row in result.rows]),
    }
    text = json.dumps(everything, indent=1, ensure_ascii=False)
    replace_text(folder / "table.md", table)
    replace_text(folder / "result.json", text)

"""`model/PAPER.md` against the tree: every symbol, file and test that it names exists, and nothing of the paper is left out."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "model" / "PAPER.md").read_text("utf-8")
_SYMBOL = re.compile(r"`(breastai_(?:model|gui)[\w.]*):([\w.]+)`")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading."""
    section = TEXT.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


HEADINGS = ("Equations", "Table 1", "Sections 3 and 4, step by step", "Errors of the text and what is done about them")
ALL = [row for heading in HEADINGS for row in rows(heading)]


def found(module: str, name: str) -> Any:
    value = importlib.import_module(module)
    for part in name.split("."):
        value = getattr(value, part)
    return value


@lru_cache
def named_tests(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_every_equation_and_every_error_has_its_row_once() -> None:
    assert [row[0].split(",")[0] for row in rows("Equations")] == [str(number) for number in range(1, 22)]
    assert [row[0].split(",")[0] for row in rows(HEADINGS[3])] == [str(number) for number in range(1, 32)]
    assert all(row[0].startswith("Table 1") for row in rows("Table 1"))
    steps = [row[0] for row in rows(HEADINGS[2])]
    for section in ("3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "4 ", "4.1", "4.2", "5 "):
        assert any(step.startswith(section) for step in steps), section


@pytest.mark.parametrize("row", ALL, ids=lambda row: row[0])
def test_a_row_names_what_exists(row: list[str]) -> None:
    assert len(row) == 5, "symbol, file, test, departure and reason"
    _, symbol, file, test, reason = row
    assert reason
    if symbol == "-":
        assert (file, test) == ("-", "-"), "an error of the text alone"
        return
    named = _SYMBOL.fullmatch(symbol)
    assert named, symbol
    value = found(*named.groups())
    source = ROOT / file.strip("`")
    assert source == Path(importlib.import_module(named[1]).__file__ or "")
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__doc__, "what the symbol is stands in its docstring"
        assert Path(inspect.getsourcefile(value) or "") == source
    proof = _TEST.fullmatch(test)
    assert proof, test
    assert proof[2] in named_tests(proof[1])
    for module, name in _SYMBOL.findall(reason):
        found(module, name)
    for path, name in _TEST.findall(reason):
        assert name in named_tests(path)


def test_symbols_in_the_text_exist_too() -> None:
    for module, name in _SYMBOL.findall(TEXT):
        found(module, name)


def test_equations_stand_in_the_docstrings_of_their_symbols() -> None:
    """So that an engineer who has read the paper finds them by number from either side."""
    for row in rows("Equations"):
        module, name = _SYMBOL.fullmatch(row[1]).groups()  # type: ignore[union-attr]
        source = inspect.getsource(importlib.import_module(module))
        number = row[0].split(",")[0]
        ranges = [
            range(int(a), int(b or a) + 1) for a, b in re.findall(r"[Ee]quations? (\d+)(?:(?: to|,| and) (?:equation )?(\d+))?", source)
        ]
        named = {each for numbers in ranges for each in numbers} | {int(n) for n in re.findall(r"^\s*\((\d+)\)", source, re.MULTILINE)}
        assert int(number) in named, f"{name}: equation {number}"

"""JSON to frozen dataclasses, strictly: nothing is converted that could hide a mistake, nothing unknown is passed over."""

from __future__ import annotations

import json
import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar

T = TypeVar("T")
LONGEST_TUPLE = 4096
LARGEST_NUMBER = 1e300


class StrictJsonError(ValueError):
    """The text is not what was asked for; the message is one sentence."""


def from_json(kind: type[T], text: str, what: str, longest: int) -> T:
    """Return a dataclass from JSON text.

    Parameters
    ----------
    kind
        The dataclass; its fields are annotated with int, float, str, bool, Literal, tuples, dataclasses, or None unions of these.
    what
        How a sentence calls it, such as "recipe".
    longest
        Characters that such a text has at most.

    Raises
    ------
    StrictJsonError
        If the text is too long, no JSON, or an entry is missing, unknown or of the wrong kind.
    """
    made = checked(kind, parsed(text, what, longest), what, what)
    if not isinstance(made, kind):  # pragma: no cover - `checked` builds what it is asked for
        raise StrictJsonError(f"The {what} is no {what}.")
    return made


def parsed(text: str, what: str, longest: int) -> Any:
    """Return what JSON text holds; NaN and infinities are refused. Raises StrictJsonError."""

    def refuse(name: str) -> Any:
        raise StrictJsonError(f"The {what} holds {name}, which is no number.")

    if len(text) > longest:
        raise StrictJsonError(f"The {what} is longer than any {what} can be.")
    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        if isinstance(error, StrictJsonError):
            raise
        raise StrictJsonError(f"The {what} is not valid JSON.") from error


def checked(kind: Any, value: Any, name: str, what: str) -> Any:
    """Return a value that JSON gave as the annotated type. Raises StrictJsonError that names the entry."""
    wrong = StrictJsonError(f"The {what}'s entry {name} is missing, unknown or of the wrong kind.")
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        choices = [each for each in arguments if each is not type(None)]
        if len(choices) != 1:
            raise TypeError(f"{name} is annotated with a union that JSON cannot tell apart.")
        return checked(choices[0], value, name, what)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise wrong
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise wrong
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(value) != len(kinds) or len(value) > LONGEST_TUPLE:
            raise wrong
        return tuple(checked(each, item, name, what) for each, item in zip(kinds, value, strict=True))
    if kind is float:
        if type(value) not in (int, float) or abs(value) > LARGEST_NUMBER:
            raise wrong
        return float(value)
    if kind in (int, str, bool):
        if type(value) is not kind:
            raise wrong
        return value
    if not is_dataclass(kind):
        raise TypeError(f"{name} is annotated with {kind}, which JSON cannot hold.")
    if not isinstance(value, dict):
        raise wrong
    hints = typing.get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    odd = set(value) ^ set(names)
    if odd:
        raise StrictJsonError(f"The {what}'s entry {min(odd)[:40]!r} is missing or unknown.")
    build: Any = kind
    return build(**{each: checked(hints[each], value[each], each, what) for each in names})

"""Items of a JSON text one after another, so that a large file is never held as objects all at once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["items_of"]

_BLANK = re.compile(r"[ \t\r\n]*")


def items_of(text: str) -> Iterator[tuple[int, Any]]:
    """The items of a JSON list with their numbers, from 1. Any other JSON value comes alone, as number 0.

    >>> list(items_of('[{"a": 1}, 2]'))
    [(1, {'a': 1}), (2, 2)]
    >>> list(items_of('{"a": 1}'))
    [(0, {'a': 1})]

    Raises
    ------
    ValueError
        Where the text is no longer JSON (or is nested too deeply); the items before were yielded.
    """
    decoder = json.JSONDecoder()
    at = _after_blank(text, 0)
    if not text.startswith("[", at):
        yield 0, _decoded(decoder, text, at, is_last=True)[0]
        return
    at, number = _after_blank(text, at + 1), 1
    while not (text.startswith("]", at) and number == 1):
        value, at = _decoded(decoder, text, at)
        yield number, value
        if text.startswith("]", at):
            break
        if not text.startswith(",", at):
            raise ValueError(f"not JSON after item {number}: Expecting ',' delimiter: char {at}")
        at, number = _after_blank(text, at + 1), number + 1
    if _after_blank(text, at + 1) < len(text):
        raise ValueError(f"not JSON: Extra data: char {at + 1}")


def _after_blank(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at


def _decoded(decoder: json.JSONDecoder, text: str, at: int, *, is_last: bool = False) -> tuple[Any, int]:
    """The value that starts at a place, and where the next thing stands."""
    try:
        value, end = decoder.raw_decode(text, at)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    end = _after_blank(text, end)
    if is_last and end < len(text):
        raise ValueError(f"not JSON: Extra data: char {end}")
    return value, end

"""What must not be read by others: passwords and keys that stand in a campaign file, in an address or in a message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["BLOT", "names_a_secret", "without_secrets", "without_secrets_in"]

BLOT = "***"
"""Stands where a secret stood."""
_WORDS = r"(?:pass(?:word|wd|phrase)|secret|token|credential|api_?key|private_?key)"
_KEY = re.compile(_WORDS, re.IGNORECASE)
# The name of a variable of the environment is no secret, nor is a number of tokens.
_NO_SECRET = re.compile(r"_env$", re.IGNORECASE)
# The user of an address, and all that follows the colon up to the last "@" of the same word: a password may hold "@",
# "/" and ":" though it should not. Of "https://host:80/a" nothing is taken.
_OF_ADDRESS = re.compile(r"(://[^/\s:@\"'<>]*:)([^\s\"'<>]+)(?=@)")
# Parameters of an address, the words of a connection string, and what a line of shell gives to a name that says so.
_ASSIGNED = re.compile(rf"(\b\w*{_WORDS}\w*\s*=\s*)(\"[^\"]*\"|'[^']*'|[^\s;&|,\"'<>]+)", re.IGNORECASE)


def names_a_secret(key: str) -> bool:
    """Whether what stands under this key is a secret.

    >>> names_a_secret("api_key"), names_a_secret("key_env"), names_a_secret("token_env")
    (True, False, False)
    """
    return bool(_KEY.search(key)) and not _NO_SECRET.search(key)


def without_secrets_in(text: str, blot: str = BLOT, taken: list[str] | None = None) -> str:
    """A text without the passwords of its addresses, and without what it assigns to the name of a secret.

    Parameters
    ----------
    blot : what stands in their place
    taken : they are added to it, if given

    >>> without_secrets_in("postgresql+psycopg://me:s@c/ret@host/db?sslpassword=x&a=1")
    'postgresql+psycopg://me:***@host/db?sslpassword=***&a=1'
    >>> without_secrets_in("https://host:80/a")
    'https://host:80/a'
    """

    def blotted(found: re.Match[str]) -> str:
        secret = found[2].strip("\"'")
        if taken is not None and secret != blot:
            taken.append(secret)
        return f"{found[1]}{blot}"

    return _ASSIGNED.sub(blotted, _OF_ADDRESS.sub(blotted, text))


def without_secrets(value: Any, blot: str = BLOT, taken: list[str] | None = None) -> Any:
    """A JSON value without the secrets of its texts, and without any text under a key that names a secret.

    >>> without_secrets({"api_key": "abc", "key_env": "MP_API_KEY", "n_tokens": 3})
    {'api_key': '***', 'key_env': 'MP_API_KEY', 'n_tokens': 3}
    """
    return _without(value, "", blot, taken)


def _without(value: Any, key: str, blot: str, taken: list[str] | None) -> Any:
    if isinstance(value, Mapping):
        return {name: _without(item, str(name), blot, taken) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without(item, key, blot, taken) for item in value]
    if not isinstance(value, str) or not value:
        return value
    if not names_a_secret(key):
        return without_secrets_in(value, blot, taken)
    if taken is not None:
        taken.append(value)
    return blot

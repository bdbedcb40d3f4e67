"""What must not be read in a report: passwords and keys that stand in a campaign file or in a message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["without_secrets", "without_secrets_in"]

_BLOT = "***"
# The user of an address, and all that follows the colon up to the last "@" of the same word: a password may hold "@",
# "/" and ":" though it should not. Of "https://host:80/a" nothing is taken.
_OF_ADDRESS = re.compile(r"(://[^/\s:@\"'<>]*):[^\s\"'<>]*@")
# Parameters of an address, and the words of a connection string.
_OF_PARAMETER = re.compile(
    r"\b((?:ssl)?password|passwd|pwd|(?:access_|auth_)?token|secret|api_?key)(\s*=\s*)[^\s&;,\"'<>]+", re.IGNORECASE
)
_KEY = re.compile(r"pass(?:word|wd|phrase)|secret|token|credential|api_?key|private_?key", re.IGNORECASE)
_NO_SECRET = re.compile(r"_env$|^key_env", re.IGNORECASE)


def without_secrets_in(text: str) -> str:
    """A text with the passwords of its addresses blotted out.

    >>> without_secrets_in("postgresql+psycopg://me:s@c/ret@host/db?sslpassword=x&a=1")
    'postgresql+psycopg://me:***@host/db?sslpassword=***&a=1'
    >>> without_secrets_in("https://host:80/a")
    'https://host:80/a'
    """
    return _OF_PARAMETER.sub(rf"\1\2{_BLOT}", _OF_ADDRESS.sub(rf"\1:{_BLOT}@", text))


def without_secrets(value: Any) -> Any:
    """A JSON value with passwords of addresses blotted out, and whatever stands under the name of a secret.

    The name of an environment variable (a key that ends in ``_env``) is no secret.

    >>> without_secrets({"api_key": "abc", "key_env": "MP_API_KEY"})
    {'api_key': '***', 'key_env': 'MP_API_KEY'}
    """
    if isinstance(value, Mapping):
        return {key: _under(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(item) for item in value]
    return without_secrets_in(value) if isinstance(value, str) else value


def _under(key: str, item: Any) -> Any:
    if isinstance(item, str) and item and _KEY.search(key) and not _NO_SECRET.search(key):
        return _BLOT
    return without_secrets(item)

"""The secrets that this process holds, and their removal from whatever leaves it.

A secret is kept when it is read: the key of a server, the password in an address, a variable of the environment that
is named like one. They are kept for the process, as its environment is. Guarantees: `redact` and `redact_bytes` remove
each secret that is kept, also where it stands URL-encoded, in base64, in hexadecimal, or escaped as in JSON; `redact`
removes the user information of every address as well.

A value that could be a word of a text, such as the key "none" of a server without keys, is removed only where it
stands as a credential. What is not found: a secret that came back in pieces, or encoded in yet another way.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus, unquote

__all__ = [
    "MASK",
    "keep_address",
    "keep_environment",
    "keep_fields",
    "keep_secret",
    "redact",
    "redact_bytes",
    "redacted",
    "redacted_command",
    "without_user",
]

MASK = "[redacted]"
SHORTEST = 8  # a shorter value is removed only where it stands as a credential
LONG = 16  # so many letters are no word
# Names of variables, of options and of fields whose values are secrets.
NAMES = (
    r"api[_-]?keys?|(?:access|auth|hf|hub|bearer)[_-]?token|secret(?:[_-]?key)?|passw(?:or)?d|authorization|"
    r"credentials?"
)
VARIABLE = re.compile(rf"(?:^|_)(?:{NAMES}|key|token|pass)$", re.IGNORECASE)
FIELD = re.compile(rf"(?:.*[_.-])?(?:{NAMES})", re.IGNORECASE)
USER = re.compile(r"(?<=://)(?!git@)[^\s/?#\"<>\\]+@")
IN_QUERY = re.compile(  # `code` is Azure's
    r"([?&](?:[\w.-]*(?:key|token|sig|secret|passw|auth|cred)[\w.-]*|code|pass|pwd)=)([^&\s'\"#<>\\]+)", re.IGNORECASE
)
IN_OPTION = re.compile(rf"(--?(?:[\w-]*-)?(?:{NAMES}|token)(?:=|\s+))(?!-)[^\s'\"]+", re.IGNORECASE)
IN_JSON = re.compile(rf"""(["']?(?:\w*[_-])?(?:{NAMES})["']?\s*[:=]\s*["'])[^"']+""", re.IGNORECASE)
OPTION = re.compile(rf"--?(?:[\w-]*-)?(?:{NAMES}|token)", re.IGNORECASE)

_kept: dict[str, None] = {}  # forms of the secrets, in order


def keep_secret(value: str | None) -> None:
    """Remember a secret, such as the key of a server. One that is empty is none."""
    value = (value or "").strip()
    if not value:
        return
    could_be_a_word = len(value) < SHORTEST or (len(value) < LONG and value.isalpha())
    _kept[f"Bearer {value}" if could_be_a_word else value] = None


def keep_address(address: str | None) -> None:
    """Remember the user, the password and the keys in an address, in the forms in which they are sent."""
    for _, secret in IN_QUERY.findall(address or ""):
        keep_secret(unquote(secret))
    scheme, _, rest = (address or "").partition("://")
    user, at, _ = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")
    if not at or (":" not in user and not scheme.startswith("http")):  # as in ssh://git@host
        return
    for written in {user, unquote(user)}:
        name, _, password = written.partition(":")
        keep_secret(password or name)
        sent = base64.b64encode(f"{name}:{password}".encode("utf-8", "surrogateescape")).decode()
        for form in (written, f"Basic {sent}", sent):
            if len(form) >= SHORTEST:
                _kept[form] = None


def keep_environment() -> None:
    """Remember what variables named like secrets hold, and the passwords in those that hold addresses."""
    for name, value in os.environ.items():
        if "://" in value:
            keep_address(value)
        elif VARIABLE.search(name) and not value.startswith(("/", "~", ".")):  # no path of a file with a key
            keep_secret(value)


def keep_fields(data: Any) -> None:
    """Remember what the fields of plain data hold that are named like secrets."""
    if isinstance(data, Mapping):
        for name, value in data.items():
            if isinstance(value, str) and FIELD.fullmatch(str(name)):
                keep_secret(value.removeprefix("Bearer "))
            else:
                keep_fields(value)
    elif isinstance(data, list | tuple):
        for value in data:
            keep_fields(value)


def without_user(address: str) -> str:
    """An address without its user and password."""
    return USER.sub("", address)


def redact(text: str) -> str:
    """A text without secrets and without the user information of addresses: an error, a note, a command."""
    text = IN_QUERY.sub(rf"\1{MASK}", without_user(text))
    if not _kept:
        return text
    return redact_bytes(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")


def redact_bytes(content: bytes) -> bytes:
    """Bytes without the secrets that are kept; nothing else is changed. For what a server sends back."""
    forms, escaped = _forms(tuple(_kept))
    for form in forms:
        if form in content:
            content = content.replace(form, MASK.encode())
    if escaped is not None and b"\\u00" in content:
        content = escaped.sub(MASK.encode(), content)
    return content


def redacted(value: Any) -> Any:
    """Plain data without secrets: texts by `redact`, and whole the fields that are named like secrets."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {
            key: MASK if isinstance(one, str) and one and FIELD.fullmatch(str(key)) else redacted(one)
            for key, one in value.items()
        }
    return [redacted(one) for one in value] if isinstance(value, list | tuple) else value


def redacted_command(command: Sequence[str]) -> list[str]:
    """A command without the secrets that its arguments hold, by their value or by the name of their option."""
    told, hide = [], False
    for argument in command:
        shown = IN_JSON.sub(rf"\1{MASK}", IN_OPTION.sub(rf"\1{MASK}", redact(argument)))
        told.append(MASK if hide and not argument.startswith("-") else shown)
        hide = OPTION.fullmatch(argument) is not None
    return told


@lru_cache(maxsize=4)
def _forms(secrets: tuple[str, ...]) -> tuple[tuple[bytes, ...], re.Pattern[bytes] | None]:
    """All forms of these secrets, the longest first, and a pattern of them with characters escaped as in JSON."""
    forms = {form for secret in secrets for form in _encoded(secret.encode("utf-8", "surrogatepass"))}
    escaped = b"|".join(b"".join(map(_either, secret)) for secret in secrets if secret.isascii())
    return tuple(sorted(forms, key=len, reverse=True)), re.compile(escaped) if escaped else None


def _encoded(secret: bytes) -> Iterator[bytes]:
    text = secret.decode("utf-8", "surrogatepass")
    yield secret
    yield json.dumps(text)[1:-1].encode()
    yield json.dumps(text)[1:-1].replace("/", "\\/").encode()
    yield repr(text)[1:-1].encode("utf-8", "surrogatepass")
    yield html.escape(text).encode("utf-8", "surrogatepass")
    yield quote(secret, safe="").encode()
    yield quote_plus(secret).encode()
    if len(secret) < SHORTEST:
        return
    yield secret.hex().encode()
    # In base64 a text has three forms, by where it begins; the characters at its ends hold its neighbours too.
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + secret)
        inner = coded[(0, 2, 3)[before] : len(coded) - (0, 2, 3)[-(before + len(secret)) % 3]]
        if len(inner) >= SHORTEST:
            yield inner
            yield inner.translate(bytes.maketrans(b"+/", b"-_"))


def _either(character: str) -> bytes:
    """A pattern for a character, as it is or escaped."""
    code = f"{ord(character):02x}"
    digits = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in code)
    return (
        rb"(?:"
        + re.escape(character.encode())
        + rb"|\\u00"
        + digits.encode()
        + (rb"|\\/)" if character == "/" else b")")
    )

"""Secrets are found in every usual encoding, and nothing else is changed."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import secrets
from envs.messages import complain, plain
from envs.secrets import keep_address, keep_fields, keep_secret, redact, redact_bytes, redacted, redacted_command


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_kept", {})


keys = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\\"), min_size=16, max_size=40)
around = st.text(st.characters(min_codepoint=48, max_codepoint=57), max_size=5)


@settings(max_examples=30)
@given(keys, around, around)
def test_a_key_is_removed_however_it_is_encoded(key: str, before: str, after: str) -> None:
    secrets._kept.clear()
    keep_secret(key)
    coded = base64.b64encode(f"{before}{key}{after}".encode()).decode()
    for form in (
        key,
        quote(key, safe=""),
        quote_plus(key),
        html.escape(key),
        key.encode().hex(),
        json.dumps(key)[1:-1],
        json.dumps(key)[1:-1].replace("/", "\\/"),
        "".join(f"\\u{ord(character):04x}" for character in key),
    ):
        assert redact_bytes(f"{before} {form} {after}".encode()) == f"{before} [redacted] {after}".encode()
    left = redact_bytes(coded.encode()).decode()
    assert left.count("[redacted]") == 1
    assert len(left) - len("[redacted]") <= 4 * len(before) / 3 + 4 * len(after) / 3 + 8


@given(st.text())
def test_a_text_without_secrets_comes_back_as_it_was(text: str) -> None:
    secrets._kept.clear()
    for word in ("none", "EMPTY", "token", "secret"):
        keep_secret(word)
    if "://" not in text and "?" not in text and "&" not in text:
        assert redact(text) == text


def test_a_key_that_could_be_a_word_is_removed_as_a_credential_alone() -> None:
    keep_secret("password")
    assert redact("the password of Bearer password") == "the password of [redacted]"


def test_addresses_lose_their_users_and_their_keys() -> None:
    keep_address("https://me:p%40ss-w0rd-1@host/v1?api-key=abc123def456")
    assert redact("at https://me:p%40ss-w0rd-1@host/v1") == "at https://host/v1"
    assert redact("p@ss-w0rd-1 and abc123def456") == "[redacted] and [redacted]"
    assert redact(base64.b64encode(b"me:p@ss-w0rd-1").decode()) == "[redacted]"
    keep_address("https://h/api?api-version=1&code=azure/func+tion1==")
    assert redact("{'code': 'azure/func+tion1=='}") == "{'code': '[redacted]'}"
    assert redact("http://h/x?key=abc&n=1 from ssh://git@host") == "http://h/x?key=[redacted]&n=1 from ssh://git@host"


def test_fields_and_options_that_are_named_like_secrets_are_hidden_whole() -> None:
    told = {"api_key": "abc", "max_tokens": 5, "stop_token": "</s>", "headers": [{"Authorization": "Bearer x"}]}
    assert redacted(told) == {
        "api_key": "[redacted]",
        "max_tokens": 5,
        "stop_token": "</s>",
        "headers": [{"Authorization": "[redacted]"}],
    }
    keep_fields({"body": {"api_key": "abc-123-def-456-x"}})
    assert redact("abc-123-def-456-x") == "[redacted]"
    words = ["--extra-body", '{"api_key": "q", "n": 1}', "--hf-token=q", "--api-key", "q", "--seed", "1"]
    shown = ["--extra-body", '{"api_key": "[redacted]", "n": 1}', "--hf-token=[redacted]", "--api-key", "[redacted]"]
    assert redacted_command(words) == [*shown, "--seed", "1"]


def test_an_error_is_one_line_without_secrets_that_steers_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789abcdef")
    complain("bad\nthing \x1b[2Jat http://a:b@h/ with hf_0123456789abcdef \u202e")
    assert capsys.readouterr().err == "error: bad thing " + r"\x1b[2Jat http://h/ with [redacted] \u202e" + "\n"


@given(st.text(st.characters(codec=None)))
def test_what_is_shown_of_any_text_can_be_written_and_holds_no_control_character(text: str) -> None:
    shown = plain(text)
    shown.encode()
    assert not set(shown) & {chr(code) for code in (*range(9), *range(11, 32), *range(127, 160), 0x202E, 0x2066)}

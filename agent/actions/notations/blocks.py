"""The one shell block of a reply, which is how SWE-agent and mini-swe-agent ask for an action."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agent.actions.notations.call import Call, Known
from agent.actions.notations.quotes import FENCE, explains

__all__ = ["shell_block"]

WORDS = ("bash", "sh", "shell", "zsh", "execute_bash", "mswea_bash_command")
HERE = re.compile(r"<<-?[ \t]*(['\"]?)(\w+)\1")  # a here-document, which may hold fences
CLOSES = re.compile(r"(?m)^[ \t]*(?:`{3,}|~{3,})[ \t]*$")
HEADED = re.compile(r"(?m)^[*#\s]*(?:DISCUSSION|THOUGHTS?)\b", re.IGNORECASE)  # of a reply in these programs' form
# A last sentence that tells a person what to run, not what the model is about to do.
SUGGESTS = re.compile(
    r"(?:\A|[.!?\n])(?![^.!?\n]*\b(?:I|I'll|let me|let's)\b)"
    r"[^.!?\n]*\b(?:to (?:reproduce|verify|confirm|install|run|use|try)|you|run the|please)\b[^.!?]*\Z",
    re.IGNORECASE,
)
# How these programs hand in.
SUBMITS = re.compile(
    r"\s*(?:submit|echo [\"']?(?:COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT|MINI_SWE_AGENT_FINAL_OUTPUT)\b.*)\s*", re.DOTALL
)


def shell_block(text: str, cut: bool, known: Known) -> Iterator[Call]:
    """The command in the only fence of a reply, if the fence ends the reply.

    In a reply in these programs' form it is the only one with a word for a shell, or else without a word, whatever
    other fences show.
    """
    blocks = list(_blocks(text))
    headed = bool(blocks) and HEADED.search(text[: blocks[0].start]) is not None
    if headed:
        labelled = [one for one in blocks if one.word in WORDS]
        # A reply that was cut off may have had a labelled one.
        blocks = labelled or [one for one in blocks if not one.word and not cut]
    if len(blocks) != 1 or (cut and not blocks[0].closed) or not (headed or blocks[0].word in WORDS):
        return
    block = blocks[0]
    before = text[: block.start]
    if not headed and (text[block.end :].strip() or explains(before) or SUGGESTS.search(before)):
        return
    if SUBMITS.fullmatch(block.command) and known("submit"):
        yield Call("submit", {}, block.start, block.end)
    elif block.command.strip():
        yield Call("bash", {"command": block.command}, block.start, block.end)


@dataclass(frozen=True, slots=True)
class _Block:
    """A fence: its word, what is in it, and the characters that it takes up."""

    word: str
    command: str
    closed: bool
    start: int
    end: int


def _blocks(text: str) -> Iterator[_Block]:
    """The fences of a reply; those within a here-document are part of it."""
    at = 0
    while fence := FENCE.search(text, at):
        word, end, at = fence["word"].lower(), fence.end("body"), fence.end()
        if word in ("", *WORDS) and (here := HERE.search(fence["body"])):
            document = _after(text, fence.start("body"), here[2])
            if document > end:
                closing = CLOSES.search(text, document)
                end, at = closing.span() if closing else (len(text), len(text))
        command = text[fence.start("body") : end].removesuffix("\n")
        yield _Block(word, command, end < at, fence.start(), at)


def _after(text: str, start: int, end: str) -> int:
    """The place after a here-document that begins behind `start`; -1 if it does not end."""
    found = re.compile(rf"^[ \t]*{end}[ \t]*$", re.MULTILINE).search(text, start)
    return found.end() if found else -1

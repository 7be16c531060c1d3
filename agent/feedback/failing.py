"""The failing tests that an output names: of unittest, pytest, Go, Rust, TAP, and the runners of JavaScript."""

from __future__ import annotations

import re

__all__ = ["excerpt", "failing_tests"]

# Each pattern has one group, the name of a test.
FAILING = [
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"^={50,}\n(?:FAIL|ERROR|UNEXPECTED SUCCESS): (.+)$",  # unittest, Django
        r"^(?:FAILED|ERROR) (\S+::.+?|\S+\.py)(?: - .*)?$",  # pytest
        r"^[ \t]*--- FAIL: (\S+)",  # Go
        r"^test (\S+) \.\.\. FAILED$",  # Rust
        r"^[ \t]*not ok \d+ (?:- )?((?:(?! # (?:TODO|SKIP)).)+)$",  # TAP
        r"^[ \t]*[✕✖✗×] (.+?)(?: \(\d+(?:\.\d+)? ?m?s\))?$",  # Jest, Mocha, Vitest
    )
]
RULE = re.compile(r"^(?:={20,}|-{60,}|_{3,} .* _{3,}|={3,} .* ={3,})$")
EXCERPT_LINES, LINE_CHARACTERS = 24, 500


def failing_tests(output: str) -> list[str]:
    """The names of the tests that failed, each once, in order; none where nothing of it is understood."""
    output = "\n".join(_lines(output))
    found = [(match.start(), match[1].strip()) for pattern in FAILING for match in pattern.finditer(output)]
    return list(dict.fromkeys(name for _, name in sorted(found)))


def excerpt(output: str, test: str) -> str:
    """What the output says of one failing test, at most `EXCERPT_LINES` lines; "" if nothing."""
    lines = _lines(output)
    last = test.rpartition("::")[2].rpartition(".")[2] if "::" in test else test
    named = [at for at, line in enumerate(lines) if last in line]
    heads = (
        rf"(?:FAIL|ERROR|UNEXPECTED SUCCESS): {re.escape(test)}\s*$",
        rf"_{{3,}} (?:ERROR .*|.*\b)?{re.escape(last)} _{{3,}}$",
        rf".*{re.escape(test)}",
    )
    for head in heads:
        start = next((at for at in named if re.match(head, lines[at])), None)
        if start is not None:
            return "\n".join(_body(lines[start:]))
    return ""


def _lines(output: str) -> list[str]:
    """The lines, cut to a length that a pattern is soon done with."""
    return [line[:LINE_CHARACTERS] for line in output.split("\n")]


def _body(lines: list[str]) -> list[str]:
    """The lines of one failure, up to the next one."""
    body = [lines[0]]
    for line in lines[1:]:
        if not RULE.match(line):
            body.append(line)
        elif len(body) > 1:  # the first rule stands below the heading
            break
    while body and not body[-1].strip():
        body.pop()
    if len(body) > EXCERPT_LINES:  # the error stands at the end
        half = EXCERPT_LINES // 2
        body = [*body[:half], f"[... {len(body) - 2 * half} lines left out ...]", *body[-half:]]
    return body

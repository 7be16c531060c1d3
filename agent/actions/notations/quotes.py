"""Tells calls that a model makes from those that it only quotes, explains or thinks of.

A call that is made ends the reply or stands on lines of its own. It is a quotation inside a line of prose, in `code`,
in a fence with prose behind it, in a block of `>`, after words that announce an example, or where the sentence goes on
behind it. Where both readings are possible a call is not carried out: the model is told so and can make it again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.actions.notations.call import BAR, Call

__all__ = ["FENCE", "explains", "invented_at", "meant", "spoken", "until_end"]

Calls = Callable[[str], Sequence[Call]]  # the closed calls in a text

# Reasoning in a text. The beginning of the first may be part of the prompt, the end of the last be missing.
THOUGHTS = re.compile(
    r"<(?P<tag>(?:\w+:)?(?:think(?:ing)?|thoughts?|reasoning|reflection|scratchpad))>.*?(?:</(?P=tag)>|\Z)"
    r"|\[THINK\].*?(?:\[/THINK\]|\Z)|◁think▷.*?(?:◁/think▷|\Z)"
    rf"|<{BAR}START_THINKING{BAR}>.*?(?:<{BAR}END_THINKING{BAR}>|\Z)"
    rf"|<{BAR}inner_prefix{BAR}>.*?(?:<{BAR}inner_suffix{BAR}>|(?=<{BAR}tools_prefix{BAR}>)|\Z)"
    rf"|<{BAR}channel{BAR}>analysis\s*<{BAR}message{BAR}>.*?(?:<{BAR}end{BAR}>|(?=<{BAR}start{BAR}>)|\Z)",
    re.DOTALL,
)
UNOPENED = re.compile(r"</(?:\w+:)?think(?:ing)?>|\[/THINK\]|◁/think▷")
FENCE = re.compile(r"(?m)^[ \t]*(?P<mark>`{3,}|~{3,})[ \t]*(?P<word>[\w+-]*)[^\n`]*\n(?P<body>.*?)"
                   r"(?:^[ \t]*(?P=mark)[ \t]*$|\Z)", re.DOTALL)  # fmt: skip
ENDED = re.compile(
    rf"(?:<{BAR}?/?(?:im_end|eot_id|eom_id|eot|end|endoftext|end_of_text|end_of_turn|end_of_sentence|end_code|"
    rf"end▁of▁sentence|return|eos|user|observation|END_OF_TURN_TOKEN){BAR}?>|</s>|\[/?INST\])\Z"
)
LONGEST_TOKEN = 40
LABEL = re.compile(r"(?mi)^[ \t*]*(?:Action|Tool call|Function call)s?:\**\s*(?:```\w*)?\s*\Z")
FOR_CALLS = ("tool_call", "tool_code", "tool", "tool_use", "function_call", "action")
# Around a call: tags, special tokens, fences, separators and labels.
TOKEN = (
    r"</?[^<>\n]{1,80}>|\[/?[A-Z_]{3,}\]|`{3,}[\w+-]*|[,;\[\]]|◁[^▷\n]*▷|"
    r"(?m:^[ \t]*(?:Action|Tool call|Function call|Call)s?:)"
)
BEFORE, AFTER = re.compile(rf"(?:\s|{TOKEN})+\Z"), re.compile(rf"(?:\s|{TOKEN})*")
BACK = 400  # characters before a call in which marks are looked for
# A result that no tool gave.
INVENTED = re.compile(
    rf"(?m)^[ \t*]*(?:Observation|Result of [\w-]+)\**:|<{BAR}?/?(?:tool_response|tool_results?|function_results?|"
    rf"function_response|observation|tool_outputs?|output|response){BAR}?>|"
    r"\n[ \t]*\n(?:Human|User):[ \t]|"
    rf"<{BAR}(?:im_start{BAR}>(?:user|tool)|start_header_id{BAR}>(?:user|tool|ipython)|observation{BAR}>)",
    re.IGNORECASE,
)
OPENS = re.compile(
    rf"<(?:{BAR}|[\w:]*tool_call|function|invoke)|`{{3,}}\w|\[TOOL_CALLS\]"
)  # a call, within another one
# Words that announce an example, and those that do so at the end of a sentence.
EXPLAINS = re.compile(
    r"\b(?:for (?:example|instance)|e\.g|i\.e|an? example|examples? (?:of|is|are)|such as|looks? like|"
    r"like this|as follows|written as|would (?:look|be|write|say|read)|"
    r"(?:one|you|they|users?|models?|agents?|assistants?) (?:would|could|can|may|might|must|should|writes?) "
    r"(?:\w+ )?(?:call|use|write|run|do|submit|execute|invoke|say|make|emit|print|output|answer)|"
    r"(?:format|syntax|notation|template|convention)s? (?:is|are|would|looks?|for (?:an? |the )?(?:tool|call|action))|"
    r"(?:this|following) (?:format|syntax|notation|template|form)|instead of|rather than|"
    r"(?<!what )(?:the|this|its?) (?:logs?|docs?|documentation|readme|prompt|instructions?|transcript)\s+(?:\w+\s+)?"
    r"(?:says?|reads?|holds?|contains?|shows?))\b",
    re.IGNORECASE,
)
HEADING = re.compile(r"\bexamples?\W*\Z", re.IGNORECASE)
# What was done before, as a report of it ends: "Earlier I ran this command:".
TOLD = re.compile(
    r"\A\W*(?:\w+(?: that)?,? )?I(?:'ve| have| had)?(?: (?:just|already|previously|earlier|first|then))? "
    r"(?:(?:ran|called|executed|issued|invoked)|(?<=ve )(?:\w+ )?run|(?<=had )run)"
    r"(?: (?:this|that|the following|the|these|a)(?: \w+){0,2})?\s*:?\s*\Z",
    re.IGNORECASE,
)
ANNOUNCES = re.compile(r"(?:like this|as follows|for example|for instance|an example|below)[.!]\Z", re.IGNORECASE)
SENTENCE = re.compile(r"[.!?]\s|\n\s*\n")
GOES_ON = re.compile(r"[a-z,.;:)]")


def spoken(text: str, calls: Calls) -> str:
    """The text without the reasoning in it; what looks like reasoning within a closed call is content of it."""
    if not (THOUGHTS.search(text) or UNOPENED.search(text)):
        return text
    closed = calls(text)
    kept = THOUGHTS.sub(lambda found: found[0] if _is_content(found, closed) else "", text)
    closed = calls(kept)
    ends = [found.end() for found in UNOPENED.finditer(kept) if not _is_content(found, closed)]
    return kept[ends[-1] :] if ends else kept


def until_end(text: str) -> str:
    """The text up to the end of the reply, without the tokens that mark it."""
    text = text.rstrip()
    while ended := ENDED.search(text, max(0, len(text) - LONGEST_TOKEN)):
        text = text[: ended.start()].rstrip()
    return text


def invented_at(text: str, calls: Calls) -> int:
    """Where the first result or turn begins that the model invented; the end of the text if it did not.

    What looks like one within a closed call is content of it, such as of the file that it writes.
    """
    closed = calls(text) if INVENTED.search(text) else []
    return next((found.start() for found in INVENTED.finditer(text) if not _is_content(found, closed)), len(text))


def _is_content(found: re.Match[str], calls: Sequence[Call]) -> bool:
    """Whether what was found stands within one of the calls, and no other call begins behind it there."""
    return any(
        call.start < found.start() < call.end and OPENS.search(found.string, found.end(), call.end) is None
        for call in calls
    )


def explains(before: str) -> bool:
    """Whether the last sentence of what stands before something announces an example of it."""
    said = before.strip()[-BACK:]
    if said.endswith((".", "!", "?")):
        return ANNOUNCES.search(said) is not None
    last = SENTENCE.split(said)[-1]
    return any(way.search(last) for way in (EXPLAINS, HEADING, TOLD))


def meant(text: str, calls: Sequence[Call], *, at_end: bool = False) -> list[Call]:
    """The calls that are made; `at_end`: only those that end the text."""
    fences = [(one.start(), one.end(), one["word"].lower()) for one in FENCE.finditer(text)]
    return [call for group in _groups(text, calls) if _is_made(text, group, fences, at_end) for call in group.calls]


@dataclass(frozen=True, slots=True)
class _Group:
    """Calls with nothing but marks between them, and the characters that they take up with the marks around."""

    calls: tuple[Call, ...]
    start: int
    end: int


def _groups(text: str, calls: Sequence[Call]) -> list[_Group]:
    groups: list[_Group] = []
    for call in calls:
        start, end = _begin(text, call.start), _end(text, call.end)
        if groups and start <= groups[-1].end:
            last = groups.pop()
            groups.append(_Group((*last.calls, call), last.start, max(end, last.end)))
        else:
            groups.append(_Group((call,), start, end))
    return groups


def _begin(text: str, at: int) -> int:
    least = max(0, at - BACK)
    found = BEFORE.search(text[least:at])
    return least + found.start() if found else at


def _end(text: str, at: int) -> int:
    found = AFTER.match(text, at)
    return found.end() if found else at


def _is_made(text: str, group: _Group, fences: Sequence[tuple[int, int, str]], at_end: bool) -> bool:
    first, last = group.calls[0].start, group.calls[-1].end
    before, after = text[: group.start], text[group.end :]
    if at_end:
        return not after
    line = text[text.rfind("\n", 0, first) + 1 : first]
    fence = next((one for one in fences if one[0] < first < one[1]), None)
    if (fence is None and line.count("`") % 2) or re.match(r"[ \t]*>(?!>)", line) or explains(before):
        return False
    if fence and not _only_marks(text[fence[0] : first]):
        return False
    if not after:
        return True
    in_prose = before.strip() and "\n" not in text[group.start : first] and "\n" not in text[last : group.end]
    # A fence for calls alone may have any prose behind it, but that of a sentence that goes on.
    quotes = fence is not None and fence[2] not in FOR_CALLS and not LABEL.search(text[:first])
    return not (quotes or in_prose or GOES_ON.match(after))


def _only_marks(text: str) -> bool:
    found = AFTER.match(text)
    return found is not None and found.end() == len(text)

"""Tool calls that stand in a reply's text, in the notations in which models write them.

A server turns these into calls where it knows the model's notation. Where it does not, or has no parser, they come as
text. Guarantees: a call is found only between the marks of a notation, or as an object, a call in Python or a shell
block that is all there is in the reply, in a fence of its own, or at its end. What a model quotes or explains is no
call (`agent.actions.notations.quotes`), and neither is what follows a result that it invented.

    <tool_call>{"name": ..., "arguments": {...}}</tool_call>         Hermes, Qwen, Granite, and others in such marks
    <function=NAME><parameter=KEY>VALUE</parameter></function>       Qwen3-Coder, OpenHands; <function=NAME>{...}: Llama
    <invoke name="NAME"><parameter name="KEY">VALUE</parameter>      Anthropic, MiniMax, DeepSeek
    <invoke><tool_name>NAME</tool_name><parameters><KEY>VALUE        Anthropic before
    <NAME><KEY>VALUE</KEY></NAME>                                    Cline, Roo; <NAME>TEXT</NAME>: CodeAct
    <tool_call>NAME <arg_key>KEY</arg_key><arg_value>VALUE           GLM, LongCat
    [TOOL_CALLS]NAME[ARGS]{...}, [TOOL_CALLS][{...}]                 Mistral; >>>NAME: Functionary
    <|tool_call_begin|>NAME<|tool_call_argument_begin|>{...}         Kimi; with other marks DeepSeek, Hunyuan
    <|channel|>commentary to=functions.NAME<|message|>{...}          gpt-oss, also without the marks
    <|tools_prefix|>[{NAME: {...}}]<|tools_suffix|>                  Apertus
    <|python_tag|>{...}, [NAME(KEY=VALUE)], print(NAME(KEY=VALUE))   Llama, Gemini; between marks OLMo, LFM
    Action: NAME, Action Input: {...} or TEXT                        ReAct; Action: with JSON: Command-R
    ```bash                                                          SWE-agent, mini-swe-agent
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from agent.actions.notations.blocks import shell_block
from agent.actions.notations.call import Call, Known
from agent.actions.notations.named import named_calls, trailing_call
from agent.actions.notations.objects import bare_objects, marked_objects
from agent.actions.notations.python import python_calls
from agent.actions.notations.quotes import invented_at, meant, spoken, until_end
from agent.actions.notations.react import react_calls
from agent.actions.notations.tags import called_tags, own_tags, pair_tags

__all__ = ["Call", "calls_in_text", "holds_call", "without_thoughts"]

Way = Callable[[str, bool, Known], Iterator[Call]]
MARKED: tuple[Way, ...] = (called_tags, pair_tags, named_calls, marked_objects, own_tags)
BARE: tuple[Way, ...] = (react_calls, bare_objects, trailing_call, python_calls, shell_block)


def calls_in_text(text: str, known: Known, *, cut: bool = False, thought: bool = False) -> list[Call]:
    """The calls in a text, in order; those of unknown tools where they stand between marks and there are no others.

    `known` says whether a name is that of a tool. `cut`: the text ended at the length limit, so that a call at its end
    may not be whole. `thought`: the text is reasoning, which holds a call only between marks and at its end.
    """
    ended = until_end(text)
    made = ended[: invented_at(ended, lambda some: _closed(some, known))]
    if made == text.rstrip():
        return _found(text, known, cut, thought)
    return _found(made, known, False, thought) or _found(text, known, cut, thought)


def without_thoughts(text: str, known: Known) -> str:
    """The text without the reasoning in it."""
    return spoken(text, lambda some: _closed(some, known))


def holds_call(text: str, known: Known) -> bool:
    """Whether a text holds a call of a tool in any place, quoted or made."""
    return any(known(call.name) for way in MARKED + BARE for call in _by(way, text, False, known))


def _closed(text: str, known: Known) -> list[Call]:
    """The calls and blocks of a text that are closed, quoted or made."""
    return [call for way in (*MARKED, shell_block) for call in _by(way, text, True, known) if known(call.name)]


def _found(text: str, known: Known, cut: bool, thought: bool) -> list[Call]:
    marked = [_by(way, text, cut, known) for way in MARKED]
    # What stands in the arguments of a call, such as a file's content, is none.
    outer = [call for calls in (*marked, _by(shell_block, text, cut, known)) for call in calls if known(call.name)]
    marked = [[call for call in calls if not any(_within(call, other) for other in outer)] for calls in marked]
    bare = () if thought else (_by(way, text, cut, known) for way in BARE)
    for calls in (*marked, *bare):
        if made := [call for call in meant(text, calls, at_end=thought) if known(call.name)]:
            return made
    return next((made for calls in marked if (made := meant(text, calls, at_end=thought))), [])


def _by(way: Way, text: str, cut: bool, known: Known) -> list[Call]:
    try:
        return list(way(text, cut, known))
    except (ValueError, RecursionError, SyntaxError, MemoryError):
        return []


def _within(call: Call, other: Call) -> bool:
    return other.start < call.start and call.end < other.end

"""Tool calls that stand in a reply's text, in the notations in which models write them.

A server turns these into calls where it knows the model's notation. Where it does not, or has no parser, they come as
text. Guarantees: a call is found only between the marks of a notation, or as an object that is all there is in the
reply, in a fence of its own, or at its end, and only if it names a tool. What stands in prose is no call.

    <tool_call>{"name": ..., "arguments": {...}}</tool_call>         Hermes, Qwen, Granite, and others in such marks
    <function=NAME><parameter=KEY>VALUE</parameter></function>       Qwen3-Coder; <function=NAME>{...}: Llama
    <invoke name="NAME"><parameter name="KEY">VALUE</parameter>      Anthropic, MiniMax, DeepSeek
    <tool_call>NAME <arg_key>KEY</arg_key><arg_value>VALUE           GLM
    [TOOL_CALLS]NAME[ARGS]{...}, [TOOL_CALLS][{...}]                 Mistral; >>>NAME: Functionary
    <|tool_call_begin|>NAME<|tool_call_argument_begin|>{...}         Kimi; with other marks DeepSeek
    <|channel|>commentary to=functions.NAME<|message|>{...}          gpt-oss
    <|python_tag|>{...}, [NAME(KEY=VALUE)], print(NAME(KEY=VALUE))   Llama, Gemini; between marks OLMo, LFM
    Action: NAME, Action Input: {...}                                ReAct
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from agent.actions.lenient import read_json, read_prefix

__all__ = ["Call", "calls_in_text"]

Call = tuple[str, Mapping[str, Any]]
"""The name as it was written, and the arguments."""

Known = Callable[[str], bool]

NAMES = ("name", "tool", "tool_name", "function_name", "function", "action", "recipient_name")
ARGUMENTS = ("arguments", "parameters", "args", "input", "params", "action_input", "tool_input", "kwargs")
ASIDE = ("id", "type", "thought", "thoughts", "reasoning", "tool_call_id")
BAR = "[|｜]"
# Names with their arguments as JSON behind them.
NAMED = re.compile(
    rf"<{BAR}tool[_▁]call[_▁]begin{BAR}>\s*(?:function<{BAR}tool[_▁]sep{BAR}>)?\s*(?P<kimi>[\w.:/-]+)\s*"
    rf"(?:<{BAR}(?:tool[_▁]call[_▁]argument[_▁]begin|tool[_▁]sep){BAR}>)?"
    r"|\[TOOL_CALLS\]\s*(?P<mistral>[\w.:/-]+)\s*(?:(?:\[CALL_ID\][\w-]*)?\[ARGS\]|(?=\{))"
    r"|(?m:^>>>(?P<functionary>[\w.:/-]+)\n(?=\{))"
    rf"|<{BAR}channel{BAR}>[^<{{]*?\bto=(?P<harmony>[\w.:/-]+)[^{{]*?<{BAR}message{BAR}>"
    rf"|\bto=(?P<to>[\w.:/-]+)\s*(?:<{BAR}channel{BAR}>\w+)?[^{{<]*(?:<{BAR}constrain{BAR}>\w*)?\s*<{BAR}message{BAR}>"
    r"|<function=(?P<llama>[\w.:/-]+)>(?=\s*\{)"
    r"|(?m:^[ \t*]*Action:?\**:?[ \t]*`?(?P<react>[\w.:/-]+)`?[ \t]*\n+[ \t*]*Action[ _]?Input:?\**:?)"
    r"|<start_function_call>\s*call:(?P<gemma>[\w.:/-]+)"
)
# Marks with one object or a list of objects behind them.
MARK = re.compile(
    rf"<{BAR}?/?(?:tool_?calls?|function_?calls?|python_tag|START_ACTION|tools?|tool_?use|action|plugin|"
    rf"tool_?calls?_(?:start|begin)){BAR}?>"
    r"|\[TOOL_CALLS\]|\bfunctools(?=\[)",
    re.IGNORECASE,
)
FENCE = re.compile(
    r"```(?:json|tool_call|tool_code|tool|python|xml)?[ \t]*\n(?P<body>.*?)(?:\n[ \t]*```|\Z)", re.DOTALL
)
XML = re.compile(
    rf"<(?:{BAR}?DSML{BAR}?|[\w-]+:)?(?:function=|invoke\s+name\s*=\s*|function\s+name\s*=\s*|tool\s+name\s*=\s*)"
    rf"[\"']?(?P<name>[\w.:/-]+)[\"']?(?:\s[^<>]*)?>"
    rf"(?P<body>.*?)(?:</(?:{BAR}?DSML{BAR}?|[\w-]+:)?(?:function|invoke|tool)>|</tool_call>|\Z)",
    re.DOTALL,
)
CLOSED = re.compile(r"</[^<>]*(?:function|invoke|tool|tool_call)>$")
PARAMETER = re.compile(
    rf"<(?:{BAR}?DSML{BAR}?|[\w-]+:)?(?:parameter=|parameter\s+name\s*=\s*|param\s+name\s*=\s*)[\"']?(?P<key>[\w.-]+)[\"']?[^>]*>"
    rf"(?P<value>.*?)(?:</(?:{BAR}?DSML{BAR}?|[\w-]+:)?(?:parameter|param)>|(?=<(?:parameter|param)[ =])|\Z)",
    re.DOTALL,
)
GLM = re.compile(
    r"<tool_call>\s*(?P<name>[\w.:/-]+)\s*(?:<tool_sep>\s*)?(?P<body>(?:<arg_key>.*?</arg_value>\s*)*)(?:</tool_call>|\Z)",
    re.DOTALL,
)
PAIR = re.compile(r"<arg_key>(?P<key>.*?)</arg_key>\s*<arg_value>(?P<value>.*?)</arg_value>", re.DOTALL)
# Marks around calls as Python writes them.
AROUND = re.compile(
    rf"<{BAR}?(?P<mark>function_calls|tool_code|tool_calls?)(?:_start)?{BAR}?>(?P<body>.*?)"
    rf"(?:<{BAR}?/?(?P=mark)(?:_end)?{BAR}?>|\Z)",
    re.DOTALL,
)
PYTHON = re.compile(r"\s*\[?\s*[A-Za-z_][\w.]*\(.*\)\s*\]?\s*", re.DOTALL)


def calls_in_text(text: str, known: Known, *, cut: bool = False, marked: bool = False) -> list[Call]:
    """The calls in a text, in order. `known` says whether a name is that of a tool.

    `cut`: the text ended at the length limit, so that a call at its end may not be whole. `marked`: only calls between
    the marks of a notation.
    """
    ways = [_xml, _glm, _named, _marked]
    if not marked:
        ways += [_bare, _python]
    for way in ways:
        try:
            if found := [call for call in way(text, cut) if known(call[0])]:
                return found
        except (ValueError, RecursionError, SyntaxError, MemoryError):
            continue
    return []


def _xml(text: str, cut: bool) -> Iterator[Call]:
    for found in XML.finditer(text):
        if cut and not CLOSED.search(found[0]):
            return
        values = {one["key"]: _value(one["value"]) for one in PARAMETER.finditer(found["body"])}
        if values or not found["body"].strip():
            yield found["name"], values


def _glm(text: str, cut: bool) -> Iterator[Call]:
    for found in GLM.finditer(text):
        if not (cut and found.end() == len(text)):
            yield found["name"], {one["key"].strip(): _value(one["value"]) for one in PAIR.finditer(found["body"])}


def _named(text: str, cut: bool) -> Iterator[Call]:
    for found in NAMED.finditer(text):
        name = next(one for one in found.groups() if one)
        rest = text[found.end() :].lstrip()
        rest = re.sub(r"^```(?:json)?\s*", "", rest)
        if not rest.startswith("{"):
            if not cut:
                yield name, {}
            continue
        arguments = _first(rest.replace("<escape>", '"') if found["gemma"] else rest, cut)
        if isinstance(arguments, dict):
            yield name, arguments


def _marked(text: str, cut: bool) -> Iterator[Call]:
    for found in MARK.finditer(text):
        rest = text[found.end() :].lstrip()
        if rest[:1] in ("{", "[") and not MARK.match(rest):
            yield from _objects(_first(rest, cut))


def _bare(text: str, cut: bool) -> Iterator[Call]:
    """Objects that are the whole reply, or in fences of their own, or its end."""
    text = text.strip()
    if text[:1] in ("{", "["):
        yield from _objects(_first(text, cut))
        return
    for fence in FENCE.finditer(text):
        if fence["body"].lstrip()[:1] in ("{", "["):
            yield from _objects(_first(fence["body"].lstrip(), cut))
    for start in re.finditer(r"(?m)^[{\[]", text):
        value, end = read_prefix(text[start.start() :], closed=cut)
        if not text[start.start() + end :].strip():
            yield from _objects(value)
            return


def _python(text: str, cut: bool) -> Iterator[Call]:
    """Calls as Python writes them, where the reply or a fence of `tool_code` holds nothing else."""
    fences = [fence["body"] for fence in FENCE.finditer(text) if "tool_code" in fence[0][:16]]
    fences += [marked["body"] for marked in AROUND.finditer(text)]
    text = fences[0] if fences else text
    if cut or not PYTHON.fullmatch(text):
        return
    tree = ast.parse(text.strip(), mode="eval").body
    if isinstance(tree, ast.Call) and ast.unparse(tree.func) == "print" and len(tree.args) == 1:
        tree = tree.args[0]
    for call in tree.elts if isinstance(tree, ast.List) else [tree]:
        if isinstance(call, ast.Call) and not call.args:
            yield ast.unparse(call.func), {one.arg: ast.literal_eval(one.value) for one in call.keywords if one.arg}


def _objects(value: Any) -> Iterator[Call]:
    """The calls in an object or in a list of objects."""
    if isinstance(value, list):
        for one in value:
            yield from _objects(one)
    elif isinstance(value, dict):
        for key in ("tool_calls", "tool_uses", "calls"):
            if isinstance(value.get(key), list):
                yield from _objects(value[key])
                return
        if isinstance(value.get("function"), dict):
            value = value["function"]
        name = next((value[key] for key in NAMES if isinstance(value.get(key), str)), "")
        rest = {key: one for key, one in value.items() if one != name and key not in ASIDE}
        arguments = next((value[key] for key in ARGUMENTS if key in value), rest)
        if isinstance(arguments, str):
            arguments = read_json(arguments)
        if name and isinstance(arguments, dict):
            yield name, arguments


def _first(text: str, cut: bool) -> Any:
    """The value with which a text begins. Raises `ValueError`."""
    return read_prefix(text, closed=cut)[0]


def _value(text: str) -> str:
    """A value between tags, without the line feeds that only set it apart."""
    return text.removeprefix("\n").removesuffix("\n")

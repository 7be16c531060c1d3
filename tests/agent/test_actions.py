"""Native calls: whatever a model answers is read without an exception, and what goes back to the server is valid."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.actions import Action, ActionError, make_actions
from agent.actions.actions import CUT
from agent.actions.native import NO_CALL, observation, read_actions, schemas
from agent.models.scripted import say
from agent.tools import TOOLS

# Any text and number that Python's JSON reader lets through: lone surrogates, NaN and infinities too.
texts = st.text(st.characters(codec=None), max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
names = st.sampled_from([tool.name for tool in TOOLS]) | texts | values
argument_objects = st.dictionaries(
    st.sampled_from(["command", "path", "new", "old", "line", "pattern", "start"]) | texts,
    st.sampled_from(["create", "insert", "src.py", "\0", 3, 1.5, True, None]) | values,
    max_size=4,
)
arguments = argument_objects.map(json.dumps) | argument_objects | values.map(json.dumps) | texts | values
ids = st.sampled_from(["a", "a", "a_", "call_0", "call_1", "", None, 7]) | values
functions = st.fixed_dictionaries({}, optional={"name": names, "arguments": arguments, "extra": values})
calls = st.fixed_dictionaries({}, optional={"id": ids, "type": values, "function": functions | values})
messages = st.fixed_dictionaries(
    {},
    optional={
        "role": st.just("assistant") | values,
        "content": st.none() | texts | values,
        "tool_calls": st.none() | st.lists(calls | values, max_size=4) | values,
        "reasoning_content": values,
    },
)


def strict(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def check_valid(message: dict[str, Any], actions: list[Action | ActionError]) -> None:
    """What servers ask of a history: valid UTF-8 JSON, a role, content or calls, and one answer for each call."""
    text = json.dumps(message, ensure_ascii=False, allow_nan=False).encode()
    assert json.loads(text) == message
    assert message["role"] == "assistant"
    assert message.get("tool_calls") or message["content"] is not None
    assert isinstance(message.get("content"), str | list | None)
    calls = message.get("tool_calls", [])
    assert "tool_calls" not in message or calls
    for call in calls:
        assert set(call) - {"extra_content"} == {"id", "type", "function"}
        assert call["type"] == "function"
        assert isinstance(call["id"], str)
        assert call["id"]
        function = call["function"]
        assert function["name"]
        assert all(c.isascii() and (c.isalnum() or c in "_-") for c in function["name"])
        assert isinstance(json.loads(function["arguments"], parse_constant=strict), dict)
    answers = [observation(action.call_id, "seen")["tool_call_id"] for action in actions]
    assert answers == [call["id"] for call in calls]
    assert len(set(answers)) == len(answers)


@given(messages)
def test_any_message_is_read_and_can_be_sent_back(message: dict[str, Any]) -> None:
    cleaned, actions = read_actions(message, TOOLS)
    check_valid(cleaned, actions)
    for action in actions:
        if isinstance(action, Action):
            assert set(action.arguments) <= set(action.tool.parameters["properties"])
            assert set(action.tool.parameters.get("required", ())) <= set(action.arguments)
        else:
            assert action.text


@given(messages)
def test_a_message_that_was_read_once_is_read_the_same_again(message: dict[str, Any]) -> None:
    once, _ = read_actions(message, TOOLS)
    twice, _ = read_actions(once, TOOLS)
    assert once == twice


@given(st.lists(calls | values, max_size=4))
def test_each_call_of_a_list_gets_exactly_one_observation(given_calls: list[Any]) -> None:
    cleaned, actions = read_actions({"role": "assistant", "tool_calls": given_calls}, TOOLS)
    assert len(actions) == len(given_calls) == len(cleaned.get("tool_calls", []))


def read_one(name: Any, arguments: Any) -> Action | ActionError:
    message = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": name, "arguments": arguments}}]}
    cleaned, actions = read_actions(message, TOOLS)
    check_valid(cleaned, actions)
    return actions[0]


def test_a_proper_call_is_carried_out_with_the_text_that_the_model_wrote() -> None:
    text = '{ "command" :\t"ls \\u00e9" }'
    message = {"content": None, "tool_calls": [{"id": "x", "function": {"name": "bash", "arguments": text}}]}
    cleaned, [action] = read_actions(message, TOOLS)
    assert isinstance(action, Action)
    assert (action.tool.name, action.arguments, action.call_id) == ("bash", {"command": "ls é"}, "x")
    assert cleaned["tool_calls"][0]["function"]["arguments"] == text
    assert cleaned["content"] is None


def test_arguments_as_an_object_and_no_arguments_at_all_are_taken() -> None:
    assert isinstance(read_one("bash", {"command": "ls"}), Action)
    assert all(isinstance(read_one("submit", nothing), Action) for nothing in [None, "", "{}", dict[str, Any]()])


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("bash", '{"command": "ls', "bash: the arguments are not JSON (it ends inside a text, at character 15)"),
        ("bash", "{'command': 'echo don't'}", "bash: the arguments are not JSON (a comma or '}' is missing"),
        ("bash", "run ls", "bash: the arguments are not JSON ('run' is not a value"),
        ("bash", '["ls"]', "bash: the arguments are not a JSON object"),
        ("bash", "[" * 100_000, "bash: the arguments are not JSON"),
        ("bash", "{}", "bash: argument 'command' is missing"),
        ("bash", '{"command": {}}', "bash: argument 'command' must be of type string"),
        ("bash", '{"command": "ls", "user": "root"}', "there is no argument 'user'; the arguments are command"),
        ("bash", '{"command": "a\\u0000b"}', "argument 'command' holds a NUL character"),
        ("submit", '{"branch": "main"}', "there is no argument 'branch'; the arguments are none"),
        ("view", '{"path": "a", "start": true}', "argument 'start' must be of type integer"),
        ("view", '{"path": null}', "argument 'path' must be of type string"),
        ("edit", '{"command": "delete", "path": "a", "new": ""}', "must be one of replace, create, insert"),
        ("Browser", "{}", "there is no tool 'Browser'; the tools are bash, view, search, edit, run_tests, submit"),
        ("", "{}", "there is no tool ''"),
        (None, "{}", "there is no tool ''"),
    ],
)
def test_what_is_wrong_with_a_call_is_told(name: Any, arguments: Any, why: str) -> None:
    fault = read_one(name, arguments)
    assert isinstance(fault, ActionError)
    assert why in fault.text


def test_an_optional_argument_may_be_null() -> None:
    assert isinstance(read_one("view", '{"path": "a", "start": null}'), Action)


def test_calls_with_one_id_get_ids_of_their_own() -> None:
    message = say(("bash", {"command": "ls"}), ("bash", {"command": "pwd"}), ("submit", {}))
    for call in message["tool_calls"]:
        call["id"] = "same"
    cleaned, actions = read_actions(message, TOOLS)
    check_valid(cleaned, actions)
    assert actions[0].call_id == "same"


def test_calls_without_an_id_get_one_that_no_other_has() -> None:
    message = say(("bash", {"command": "ls"}), ("bash", {"command": "pwd"}))
    message["tool_calls"][0]["id"] = "call_1"
    del message["tool_calls"][1]["id"]
    check_valid(*read_actions(message, TOOLS))


@pytest.mark.parametrize("content", [None, "", "I am done."])
@pytest.mark.parametrize("tool_calls", [None, [], "bash", 5, {"function": "bash"}])
def test_a_message_without_calls_is_a_text(content: str | None, tool_calls: Any) -> None:
    cleaned, actions = read_actions({"role": "model", "content": content, "tool_calls": tool_calls}, TOOLS)
    assert not actions
    assert cleaned == {"role": "assistant", "content": content or ""}


def test_numbers_that_json_does_not_have_do_not_go_back() -> None:
    assert isinstance(read_one("view", '{"path": "a", "start": NaN}'), Action)
    cleaned, _ = read_actions({"content": [{"type": "text", "score": math.inf}]}, TOOLS)
    assert cleaned["content"] == [{"type": "text", "score": None}]


def test_a_message_too_deep_to_be_sent_is_an_empty_one() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    cleaned, actions = read_actions({"content": "x", "extra": deep}, TOOLS)
    assert not actions
    assert cleaned == {"role": "assistant", "content": ""}


def test_the_schemas_are_functions_in_the_chat_completions_form() -> None:
    offered = schemas(TOOLS)
    assert [schema["type"] for schema in offered] == ["function"] * len(TOOLS)
    assert [schema["function"]["name"] for schema in offered] == [tool.name for tool in TOOLS]
    json.dumps(offered)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('{"command": "ls",}', "ls"),
        ("{'command': 'ls'}", "ls"),
        ("{command: 'ls'}", "ls"),
        ('{"command": "ls"', "ls"),
        ('{"command": "a\nb\tc"}', "a\nb\tc"),
        (r"""{"command": 'grep "\d+\.py" it\'s',}""", r"""grep "\d+\.py" it's"""),
        (r"{'command': '\ud83d\udc12'}", "🐒"),
        (json.dumps('{"command": "ls"}'), "ls"),
    ],
)
def test_arguments_that_are_not_quite_json_are_read_as_meant_and_go_back_as_json(written: str, meant: str) -> None:
    action = read_one("bash", written)
    assert isinstance(action, Action)
    assert action.arguments == {"command": meant}


def test_python_words_stand_for_those_of_json() -> None:
    action = read_one("view", "{'path': 'a', 'start': None, 'end': 3}")
    assert isinstance(action, Action)
    assert action.arguments == {"path": "a", "start": None, "end": 3}


def test_a_call_that_the_length_limit_cut_off_is_not_carried_out_and_the_model_is_told() -> None:
    whole, part = say(("bash", {"command": "ls"}), ("bash", {"command": "ls"}))["tool_calls"]
    part["function"]["arguments"] = '{"command": "ls"'
    _, actions = read_actions({"tool_calls": [whole, part]}, TOOLS, cut=True)
    assert isinstance(actions[0], Action), "what is complete is carried out"
    assert actions[1] == ActionError("call_1", f"bash: {CUT}")


def test_a_reply_without_a_call_is_a_fault_that_tells_whether_it_was_cut_off() -> None:
    native = make_actions("native")
    assert native.read({"content": "Hm."})[1] == [ActionError("", NO_CALL)]
    assert native.read({"content": "Hm."}, cut=True)[1] == [ActionError("", CUT)]
    assert native.observations([(ActionError("", NO_CALL), "told")]) == [{"role": "user", "content": "told"}]


def test_what_a_model_thought_goes_back_in_its_field_and_what_only_an_answer_has_does_not() -> None:
    given = {"content": "x", "reasoning_content": "hm", "reasoning": "so", "annotations": [], "audio": {"id": 1}}
    details = [{"type": "reasoning.encrypted", "data": "abc"}]
    cleaned, _ = read_actions({**given, "reasoning_details": details}, TOOLS)
    assert cleaned == {
        "role": "assistant",
        "content": "x",
        "reasoning_content": "hm",
        "reasoning": "so",
        "reasoning_details": details,
    }


def test_the_signature_of_a_thought_stays_with_its_call() -> None:
    message = say(("submit", {}))
    message["tool_calls"][0]["extra_content"] = {"google": {"thought_signature": "abc"}}
    cleaned, _ = read_actions(message, TOOLS)
    assert cleaned == message


def test_a_form_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="choose one of native, text, structured"):
        make_actions("smoke")


# calls that a server left in the text

LS = {"command": "ls -la"}
IN_TEXT = [
    '<tool_call>\n{"name": "bash", "arguments": {"command": "ls -la"}}\n</tool_call>',
    'I will look.\n<tool_call>\n{"name": "bash", "arguments": {"command": "ls -la"}}',
    "<tool_call>{'name': 'bash', 'arguments': {'command': 'ls -la'}}</tool_call>",
    '<tool_call>{"name": "functions.bash", "arguments": "{\\"command\\": \\"ls -la\\"}"}</tool_call>',
    "<tool_call>\n<function=bash>\n<parameter=command>\nls -la\n</parameter>\n</function>\n</tool_call>",
    '<invoke name = "bash" id="1"><parameter name = "command" type="string">ls -la</parameter></invoke>',
    "<tool_call>bash<tool_sep><arg_key>command</arg_key><arg_value>ls -la</arg_value></tool_call>",
    '[TOOL_CALLS]bash{"command": "ls -la"}',
    '>>>bash\n{"command": "ls -la"}',
    '<|action_start|><|plugin|>\n{"name": "bash", "parameters": {"command": "ls -la"}}<|action_end|>',
    '<tool_use>{"name": "bash", "input": {"command": "ls -la"}}</tool_use>',
    '<function_calls>\nbash(command="ls -la")\n</function_calls>',
    '<|tool_call_start|>[bash(command="ls -la")]<|tool_call_end|>',
    '<tool_code>\nbash(command="ls -la")\n</tool_code>',
    '<function=bash>{"command": "ls -la"}</function>',
    "<tool_call>bash\n<arg_key>command</arg_key>\n<arg_value>ls -la</arg_value>\n</tool_call>",
    '<function_calls>\n<invoke name="bash">\n<parameter name="command">ls -la</parameter>\n</invoke></function_calls>',
    '<minimax:tool_call>\n<invoke name="bash">\n<parameter name="command">ls -la</parameter></invoke>',
    '[TOOL_CALLS][{"name": "bash", "arguments": {"command": "ls -la"}}]',
    '[TOOL_CALLS]bash[ARGS]{"command": "ls -la"}',
    '<|python_tag|>{"name": "bash", "parameters": {"command": "ls -la"}}',
    '{"name": "bash", "parameters": {"command": "ls -la"}}',
    '```json\n{"name": "bash", "arguments": {"command": "ls -la"}}\n```',
    'Let me see.\n\n{"name": "bash", "arguments": {"command": "ls -la"}}',
    '{"tool": "bash", "command": "ls -la"}',
    '{"tool_calls": [{"function": {"name": "bash", "arguments": "{\\"command\\": \\"ls -la\\"}"}}]}',
    '<｜tool▁call▁begin｜>function<｜tool▁sep｜>bash\n```json\n{"command": "ls -la"}\n```<｜tool▁call▁end｜>',
    '<|tool_call_begin|>functions.bash:0<|tool_call_argument_begin|>{"command": "ls -la"}<|tool_call_end|>',
    '<|channel|>commentary to=functions.bash <|constrain|>json<|message|>{"command": "ls -la"}<|call|>',
    '[bash(command="ls -la")]',
    '```tool_code\nprint(default_api.bash(command="ls -la"))\n```',
    '<TOOLCALL>[{"name": "bash", "arguments": {"command": "ls -la"}}]</TOOLCALL>',
    '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "bash", "parameters": {"command": "ls -la"}}]<|END_ACTION|>',
    'Thought: look\nAction: bash\nAction Input: {"command": "ls -la"}',
    '<think>submit? <tool_call>{"name": "submit", "arguments": {}}</tool_call></think>\n'
    '<tool_call>{"name": "bash", "arguments": {"command": "ls -la"}}</tool_call>',
]


@pytest.mark.parametrize("text", IN_TEXT, ids=lambda text: text[:30])
def test_a_call_in_the_text_is_carried_out_and_its_result_goes_back_as_text(text: str) -> None:
    form = make_actions()
    message, [action] = form.read({"role": "assistant", "content": text})
    assert isinstance(action, Action)
    assert (action.tool.name, action.arguments) == ("bash", LS)
    assert message == {"role": "assistant", "content": text}
    assert form.observations([(action, "a.py")]) == [{"role": "user", "content": "Result of bash:\na.py"}]


@pytest.mark.parametrize("text", IN_TEXT, ids=lambda text: text[:30])
def test_a_call_in_the_text_that_was_cut_off_is_never_carried_out_in_part(text: str) -> None:
    form = make_actions()
    for end in range(len(text)):
        _, actions = form.read({"role": "assistant", "content": text[:end]}, cut=True)
        for action in actions:
            assert not isinstance(action, Action) or action.tool.name != "bash" or action.arguments == LS


@pytest.mark.parametrize(
    "text",
    [
        'I would call {"name": "bash", "arguments": {"command": "ls"}} but not now.',
        'The function bash(command="x") is useful.',
        "Calls stand between <tool_call> tags.",
        '{"name": "some-package", "version": 1}',
        '<function=nope>{"a": 1}</function>',
        "print(bash)",
    ],
)
def test_what_only_speaks_of_calls_is_none(text: str) -> None:
    _, [error] = make_actions().read({"role": "assistant", "content": text})
    assert isinstance(error, ActionError)


def test_calls_in_thoughts_are_taken_where_there_is_nothing_else() -> None:
    thought = {"role": "assistant", "content": None, "reasoning_content": f"So:\n{IN_TEXT[0]}"}
    _, [action] = make_actions().read(thought)
    assert isinstance(action, Action)
    _, [action] = make_actions().read({**thought, "content": "Hm."})
    assert isinstance(action, ActionError)


@pytest.mark.parametrize(
    "name",
    ["bash<|channel|>commentary", "functions.bash", "functions.bash:0", "default_api:bash", "mcp__x__bash", "Bash"],
)
def test_a_name_with_decoration_means_its_tool(name: str) -> None:
    calls: Any = [{"id": "1", "function": {"name": name, "arguments": json.dumps(LS)}}]
    for some in (calls, calls[0]):
        message, [action] = make_actions().read({"role": "assistant", "content": None, "tool_calls": some})
        assert isinstance(action, Action)
        assert message["tool_calls"][0]["function"]["name"] == "bash"


def test_a_call_of_the_older_protocol_and_one_without_its_envelope_are_read() -> None:
    older: dict[str, Any] = {
        "role": "assistant",
        "content": None,
        "function_call": {"name": "bash", "arguments": json.dumps(LS)},
    }
    flat: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [{"name": "bash", "arguments": LS}]}
    named = [{"type": "tool_use", "id": "1", "name": "bash", "input": LS}]
    others: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "tool_calls": named},
        {"role": "assistant", "content": None, "tool_calls": json.dumps(named)},
        {"role": "assistant", "content": [{"type": "text", "text": "Looking."}, *named]},
    ]
    for message in [older, flat, *others]:
        sent, [action] = make_actions().read(message)
        assert "tool_use" not in json.dumps(sent)
        assert isinstance(action, Action)
        assert action.arguments == LS


@pytest.mark.parametrize(
    ("name", "given", "meant"),
    [
        ("view", {"path": "a.py", "start": "1", "end": 5.0}, {"path": "a.py", "start": 1, "end": 5}),
        ("view", {"path": "a.py", "start": "", "end": "null"}, {"path": "a.py", "start": None, "end": None}),
        ("bash", {"command": ["bash", "-lc", "ls | wc"]}, {"command": "ls | wc"}),
        ("bash", {"command": ["ls", "a b"]}, {"command": "ls 'a b'"}),
        ("search", {"pattern": 404}, {"pattern": "404"}),
    ],
)
def test_a_value_of_another_type_that_can_mean_one_thing_is_taken_for_it(name: str, given: Any, meant: Any) -> None:
    call = {"id": "1", "function": {"name": name, "arguments": json.dumps(given)}}
    _, [action] = make_actions().read({"role": "assistant", "content": None, "tool_calls": [call]})
    assert isinstance(action, Action)
    assert action.arguments == meant

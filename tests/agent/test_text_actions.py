"""Fenced blocks and single JSON objects: what models make of them is read as meant, or told what is wrong with it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.actions import Action, ActionError, make_actions
from agent.actions.actions import CUT
from agent.actions.lenient import find_objects, read_json
from agent.loop import USELESS_IN_A_ROW
from agent.models.chat import ChatModel
from agent.prompts import opening
from agent.tools import TOOLS, Workspace
from agent.trajectory import Exit, Message, Trajectory
from envs import Origin
from tests import helpers
from tests.agent.test_actions import messages, texts, values
from tests.helpers import Answer, ChatServer, begins, git_repository, said, workspace

TEXT, STRUCTURED = make_actions("text"), make_actions("structured")
FORMS = pytest.mark.parametrize("form", [TEXT, STRUCTURED], ids=lambda form: str(form.name))

# Texts that look like actions, and the pieces of which they are made.
pieces = st.sampled_from(
    [
        *[
            "```",
            "````",
            "~~~",
            "```bash\n",
            "```edit a.py\n",
            "```create a.md\n",
            "```python\n",
            "```view a 1-2",
            "\n",
        ],
        *["<<<<<<< SEARCH\n", "=======\n", ">>>>>>> REPLACE\n", "cat <<EOF\n", "EOF\n", "<think>", "</think>\n"],
        *['{"action": ', '{"tool": "bash"', ', "command": ', '"ls"', "}", "[", "'", '"', "\\", "\r\n", "  ", "submit"],
        "Result of bash:\n",
    ]
)
printed = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=20)
# What a model that has lost itself may write without end.
CIRCLES = [
    *["cat <<A\n", "```bash\n<<A\n", "<<<<<<< SEARCH\n", "```edit a\n<<<<<<< SEARCH\n", "``` ", "```view a        "],
    *["{", '{"a":', "[", "<think>", "</think>", "```create a\n```b\n", "\\", "'", '{"tool": "bash", "command": "', " "],
]
replies = st.lists(pieces | texts, max_size=12).map("".join)


def check(form: Any, message: Mapping[str, Any], cut: bool) -> None:
    """One action or fault at least; the message can be sent back, is all text and is read the same again."""
    cleaned, actions = form.read(message, cut=cut)
    assert actions
    assert json.loads(json.dumps(cleaned, ensure_ascii=False, allow_nan=False).encode()) == cleaned
    assert cleaned["role"] == "assistant"
    assert "tool_calls" not in cleaned
    assert isinstance(cleaned["content"], str | list)
    assert form.read(cleaned, cut=cut) == (cleaned, actions)
    for action in actions:
        if isinstance(action, Action):
            assert set(action.arguments) <= set(action.tool.parameters["properties"])
        else:
            assert action.text
    [observed] = form.observations([(action, "seen") for action in actions])
    assert observed["role"] == "user"


@FORMS
@given(reply=replies, cut=st.booleans())
def test_any_text_is_an_action_or_a_fault(form: Any, reply: str, cut: bool) -> None:
    check(form, {"role": "assistant", "content": reply}, cut)


@FORMS
@given(message=messages, cut=st.booleans())
def test_any_message_at_all_is_an_action_or_a_fault(form: Any, message: dict[str, Any], cut: bool) -> None:
    check(form, message, cut)


@given(values, st.booleans())
def test_what_is_json_is_read_as_such(value: Any, closed: bool) -> None:
    try:
        text = json.dumps(value, allow_nan=False)
        text.encode().decode()
    except ValueError:
        return
    if "\\ud" not in text:  # lone surrogates have no place in what is sent
        assert read_json(text, closed=closed) == value


@given(st.dictionaries(printed, printed, max_size=4))
def test_objects_are_found_with_anything_around_them_and_in_python_s_spelling(value: dict[str, str]) -> None:
    assert find_objects(f"I think: {json.dumps(value)} and\n```json\n{value!r}\n```") == [value, value]


@pytest.mark.parametrize("form", [TEXT, STRUCTURED, make_actions("native")], ids=lambda form: str(form.name))
@pytest.mark.parametrize("piece", CIRCLES)
def test_a_model_that_goes_round_in_circles_is_read_in_a_moment(form: Any, piece: str) -> None:
    began = time.process_time()
    text = piece * (200_000 // len(piece))
    for content in (text, "```view a" + text, "```edit a\n" + text):
        form.read({"content": content, "tool_calls": [{"function": {"name": "bash", "arguments": text}}]})
    assert time.process_time() - began < 5


# fenced blocks


def asked(content: str, cut: bool = False) -> list[tuple[str, dict[str, Any]] | str]:
    """What a text asks for: tools with the arguments that are given, or why not."""
    _, actions = TEXT.read({"content": content}, cut=cut)
    return [
        action.text
        if isinstance(action, ActionError)
        else (action.tool.name, {name: value for name, value in action.arguments.items() if value is not None})
        for action in actions
    ]


def bash(command: str) -> tuple[str, dict[str, Any]]:
    return "bash", {"command": command}


def create(path: str, new: str) -> tuple[str, dict[str, Any]]:
    return "edit", {"command": "create", "path": path, "new": new}


def replace(path: str, old: str, new: str) -> tuple[str, dict[str, Any]]:
    return "edit", {"command": "replace", "path": path, "old": old, "new": new}


@pytest.mark.parametrize(
    ("content", "meant"),
    [
        ("Let me look.\n\n```bash\nls -l\n```\nThat should do.", [bash("ls -l")]),
        ("```bash\r\nls\r\npwd\r\n```\r\n", [bash("ls\npwd")]),
        ("```sh\nls\n```", [bash("ls")]),
        ("``` Bash\nls\n```", [bash("ls")]),
        ("~~~bash\nls\n~~~", [bash("ls")]),
        ("```bash ls\n```", [bash("ls")]),
        ("1. First\n   ```bash\n   ls\n     -l\n   ```", [bash("ls\n  -l")]),
        ("```bash\nls\n```\nand\n```bash\npwd\n```", [bash("ls"), bash("pwd")]),
        ("```bash\nls\n\n```bash\npwd\n```", [bash("ls\n"), bash("pwd")]),
        ("```bash\nls", [bash("ls")]),
        ("````bash\ncat <<X\n```\nX\n````", [bash("cat <<X\n```\nX")]),
        (
            "```bash\ncat > a.md <<'EOF'\n```python\n1\n```\nEOF\nls\n```",
            [bash("cat > a.md <<'EOF'\n```python\n1\n```\nEOF\nls")],
        ),
        ("```bash\ncat <<EOF\n```\nand\n```submit\n```", [bash("cat <<EOF"), ("submit", {})]),
        ("```python\nprint()\n```\n```bash\nls\n```", [bash("ls")]),
        ("<think>```bash\nrm x\n```</think>\n```bash\nls\n```", [bash("ls")]),
        ("I could\n```bash\nrm x\n```\n</think>\n```bash\nls\n```", [bash("ls")]),
        ("```bash\nls\n```\nResult of bash:\na.py\n\n```submit\n```", [bash("ls")]),
        ("```submit```", [("submit", {})]),
        ("```run_tests\n```\n```submit\nall done\n```", [("run_tests", {}), ("submit", {})]),
        ("```view src/a.py\n```", [("view", {"path": "src/a.py"})]),
        ("```view src/a.py 10-40\n```", [("view", {"path": "src/a.py", "start": 10, "end": 40})]),
        ("```view\nsrc/a b.py 10 40\n```", [("view", {"path": "src/a b.py", "start": 10, "end": 40})]),
        ("```view src/a.py:10\n```", [("view", {"path": "src/a.py", "start": 10})]),
        ("```view: `src/a2`\n```", [("view", {"path": "src/a2"})]),
        ("```view\n```", [("view", {"path": "."})]),
        ("```search\ndef f\\(\n```", [("search", {"pattern": "def f\\("})]),
        ("```search src\ndef f\n```", [("search", {"pattern": "def f", "path": "src"})]),
        ("```search needle\n```", [("search", {"pattern": "needle"})]),
        ("```create a.txt\none\n two\n```", [create("a.txt", "one\n two\n")]),
        ("```create a.txt\n```", [create("a.txt", "")]),
        ("```create a.md\n# A\n```python\n1\n```\nend\n```\n", [create("a.md", "# A\n```python\n1\n```\nend\n")]),
        (
            "```edit a.py\n<<<<<<< SEARCH\nold\n  old\n=======\nnew\n>>>>>>> REPLACE\n```",
            [replace("a.py", "old\n  old\n", "new\n")],
        ),
        (
            "```edit\na.py\n<<<<<<< SEARCH\n```\n=======\n>>>>>>> REPLACE\n"
            "\n<<<<<<< SEARCH\nb\n=======\nc\n>>>>>>>\n```",
            [replace("a.py", "```\n", ""), replace("a.py", "b\n", "c\n")],
        ),
    ],
)
def test_blocks_are_read_as_they_were_meant(content: str, meant: list[Any]) -> None:
    assert asked(content) == meant


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("I would run ls.", "no action was found; write a fenced block that begins with one of ```bash, ```view"),
        ("```python\nprint()\n```", "(```python is not an action)"),
        ("```\nls\n```", "no action was found; write"),
        ("", "no action was found; write"),
        ("```bash\n\n```", "bash: the block is empty"),
        ("```create\n```", "create: the file's path is missing"),
        ("```edit a.py\nx = 1\n```", "edit: <<<<<<< SEARCH is missing"),
        ("```edit\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n```", "edit: the file's path is missing"),
        ("```edit a\n<<<<<<< SEARCH\na\n>>>>>>> REPLACE\n```", "edit: the body must be <<<<<<< SEARCH"),
        ("```edit a\n<<<<<<< SEARCH\na\n=======\nb\n```", "edit: the body must be <<<<<<< SEARCH"),
        ("```edit a\n<<<<<<< SEARCH\na\n=======\nb\n=======\n>>>>>>> REPLACE\n```", "one ======="),
        ("```edit a\n<<<<<<< SEARCH\n=======\nb\n>>>>>>> REPLACE\n```", "edit: nothing stands below SEARCH"),
        ("```bash\nls \0\n```", "bash: argument 'command' holds a NUL character"),
    ],
)
def test_what_is_wrong_with_a_block_is_told(content: str, why: str) -> None:
    [fault] = asked(content)
    assert why in fault


def test_a_block_that_the_length_limit_cut_off_is_not_carried_out() -> None:
    assert asked("```bash\nls\n```\n```bash\nrm -rf build", cut=True) == [bash("ls"), f"bash: {CUT}"]
    assert asked("```bash\ncat > a.md <<EOF\n```\nhalf\n```", cut=True) == [f"bash: {CUT}"], "its here-document is open"
    assert asked("I think that", cut=True) == [CUT]
    assert asked("<think>and so on\n```bash\nls\n```", cut=True) == [CUT]


def test_every_example_of_the_instructions_is_an_action_of_the_tool_that_it_shows() -> None:
    assert {asked_for[0] for asked_for in asked(TEXT.instructions)} == {tool.name for tool in TOOLS}
    _, actions = STRUCTURED.read({"content": TEXT.instructions})
    assert isinstance(actions[0], ActionError)


def test_a_tool_without_a_block_of_its_own_takes_its_arguments_as_json() -> None:
    class Count:
        name, description = "count", "Count."
        parameters: ClassVar[dict[str, Any]] = {
            "type": "object",
            "properties": {"to": {"type": "integer"}},
            "required": ["to"],
        }

        async def act(self, workspace: Workspace, arguments: Mapping[str, Any]) -> str:
            return "done"

    form = make_actions("text", [*TOOLS, Count()])
    assert '```count\n{"to": integer}\n```' in form.instructions
    [action] = form.read({"content": "```count\n{'to': 3,}\n```"})[1]
    assert isinstance(action, Action)
    assert action.arguments == {"to": 3}
    [fault] = form.read({"content": "```count\nthree\n```"})[1]
    assert isinstance(fault, ActionError)
    [fault] = make_actions("text", [Count()]).read({"content": "```bash\nls\n```"})[1]
    assert isinstance(fault, ActionError), "a tool that is not offered has no block"


# one JSON object


@pytest.mark.parametrize(
    "content",
    [
        '{"thought": "look", "action": {"tool": "bash", "command": "ls"}}',
        '```json\n{"thought": "look", "action": {"tool": "bash", "command": "ls"}}\n```',
        'Sure {thing}: {"tool": "bash", "arguments": {"command": "ls"}} and that is it',
        "{'action': {'name': 'bash', 'parameters': {'command': 'ls'}}}",
        '{"action": "bash", "command": "ls"}',
        '{"action": {"tool": "bash", "command": "ls"',
        '{"thought": "x"} {"tool": "bash", "command": "ls"}',
        '<think>{"tool": "submit"}</think>{"tool": "bash", "command": "ls"}',
        '{"tool": "bash", "command": "ls"} {"tool": "submit"}',
    ],
)
def test_one_action_is_found_in_what_a_model_writes(content: str) -> None:
    cleaned, [action] = STRUCTURED.read({"content": content})
    assert isinstance(action, Action)
    assert (action.tool.name, action.arguments) == ("bash", {"command": "ls"})
    assert cleaned["content"] == content


@pytest.mark.parametrize(
    ("content", "cut", "why"),
    [
        ("ls", False, 'no action was found; answer with one JSON object: {"thought": "...", "action": {"tool": "bash"'),
        ('{"thought": "hm"}', False, "no action was found"),
        ('{"tool": "sing"}', False, "there is no tool 'sing'; the tools are bash, view"),
        ('{"tool": "bash"}', False, "bash: argument 'command' is missing"),
        ('{"tool": "bash", "command": "l', False, "no action was found"),
        ('{"tool": "bash", "command": "l', True, CUT),
        ('{"action": {"tool": "bash", "command": "ls"', True, CUT),
    ],
)
def test_what_is_wrong_with_an_object_is_told(content: str, cut: bool, why: str) -> None:
    [fault] = STRUCTURED.read({"content": content}, cut=cut)[1]
    assert isinstance(fault, ActionError)
    assert why in fault.text


def test_the_schema_is_one_that_strict_servers_take() -> None:
    def check_closed(schema: dict[str, Any]) -> None:
        assert schema["type"] == "object"
        assert schema["additionalProperties"] is False
        assert schema["required"] == list(schema["properties"])

    wanted = STRUCTURED.body["response_format"]["json_schema"]
    assert wanted["strict"] is True
    check_closed(wanted["schema"])
    calls = wanted["schema"]["properties"]["action"]["anyOf"]
    assert [call["properties"]["tool"]["enum"] for call in calls] == [[tool.name] for tool in TOOLS]
    for call in calls:
        check_closed(call)
    view = calls[1]["properties"]
    assert (view["path"]["type"], view["start"]["type"]) == ("string", ["integer", "null"])


# whole attempts against a server


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    return git_repository(tmp_path_factory.mktemp("forms") / "repository", {"a.py": b"x = 1\n"})


def play(origin: Origin, name: str, *contents: str, reasons: Sequence[str] = ()) -> tuple[Trajectory, ChatServer]:
    """An attempt in which a server answers with these texts."""
    form = make_actions(name)
    answers = []
    for number, content in enumerate(contents):
        body = said(content)
        body["choices"][0]["finish_reason"] = reasons[number] if number < len(reasons) else "stop"
        body["choices"][0]["message"]["reasoning_content"] = f"thought {number}"
        answers.append(Answer(body=body))
    server = ChatServer(*answers)

    async def main() -> Trajectory:
        async with server, workspace(origin) as room:
            model = ChatModel("tiny", server.url, None, form.body)
            first: list[Message] = [
                {"role": "system", "content": form.instructions},
                {"role": "user", "content": "Mend."},
            ]
            try:
                return await helpers.play(room, model, begins(first, form))
            finally:
                await model.close()

    return asyncio.run(main()), server


EDIT = "```edit a.py\n<<<<<<< SEARCH\nx = 1\n=======\nx = 2\n>>>>>>> REPLACE\n```"


def test_an_attempt_in_fenced_text_edits_looks_and_submits(origin: Origin) -> None:
    trajectory, server = play(origin, "text", f"{EDIT}\n```bash\ncat a.py\n```", "```submit\n```")
    assert trajectory.exit is Exit.SUBMITTED
    assert b"-x = 1\n+x = 2\n" in trajectory.submission.body
    assert [message["role"] for message in trajectory.messages[2:]] == ["assistant", "user", "assistant", "user"]
    assert trajectory.messages[3]["content"] == "Result of edit:\n[a.py written]\n\nResult of bash:\nx = 2\n"
    assert "tools" not in server.requests[0].body
    assert "response_format" not in server.requests[0].body
    assert server.requests[1].body["messages"] == list(trajectory.messages[:4])
    assert server.requests[1].body["messages"][2]["reasoning_content"] == "thought 0"


def test_an_attempt_in_json_objects_edits_and_submits_under_the_schema(origin: Origin) -> None:
    edit = {"tool": "edit", "command": "replace", "path": "a.py", "old": "1", "new": "2", "line": None}
    trajectory, server = play(
        origin,
        "structured",
        json.dumps({"thought": "so", "action": edit}),
        '{"thought": "", "action": {"tool": "submit"}}',
    )
    assert trajectory.exit is Exit.SUBMITTED
    assert b"-x = 1\n+x = 2\n" in trajectory.submission.body
    assert all(request.body["response_format"]["type"] == "json_schema" for request in server.requests)
    assert "tools" not in server.requests[0].body


def test_a_reply_cut_off_is_told_so_and_the_next_one_counts(origin: Origin) -> None:
    trajectory, _ = play(origin, "text", "```create b\nhalf", f"{EDIT}", "```submit\n```", reasons=["length"])
    assert trajectory.exit is Exit.SUBMITTED
    assert trajectory.messages[3]["content"] == f"[error] create: {CUT}"
    assert b"half" not in trajectory.submission.body


@pytest.mark.parametrize("name", ["text", "structured"])
def test_a_model_that_never_acts_is_stopped(origin: Origin, name: str) -> None:
    trajectory, _ = play(origin, name, "I am only a text.")
    assert trajectory.exit is Exit.STOPPED
    assert len(trajectory.turns) == USELESS_IN_A_ROW


def test_the_opening_tells_a_form_that_the_request_does_not() -> None:
    from tests.helpers import quick_task

    task = quick_task("ledger")
    assert opening(task, TEXT.instructions)[0]["content"].endswith(TEXT.instructions)
    assert opening(task)[0]["content"] + "\n\n" + TEXT.instructions == opening(task, TEXT.instructions)[0]["content"]
    assert make_actions("native").instructions == ""

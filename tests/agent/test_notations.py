"""Calls in the text of a reply, in the notations of models and programs: made ones are carried out, quoted ones not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.actions import FORMS, Action, ActionError, make_actions
from agent.scan import unread

LIST = {"command": "ls -la src"}
ARGS = json.dumps(LIST)
# Notations in which NAME is called with the arguments JSON.
NOTATIONS = {
    "hermes": '<tool_call>\n{"name": "NAME", "arguments": JSON}\n</tool_call>',
    "qwen coder": "<tool_call>\n<function=NAME>\n<parameter=command>\nls -la src\n</parameter>\n</function>\n"
    "</tool_call>",
    "openhands": "<function=NAME>\n<parameter=command>ls -la src</parameter>\n"
    "<parameter=security_risk>LOW</parameter>\n</function>",
    "cline": "<NAME>\n<command>ls -la src</command>\n<requires_approval>false</requires_approval>\n</NAME>",
    "codeact": "<NAME>\nls -la src\n</NAME>",
    "anthropic": '<function_calls>\n<invoke name="NAME">\n<parameter name="command">ls -la src</parameter>\n'
    "</invoke>\n</function_calls>",
    "anthropic before": "<function_calls>\n<invoke>\n<tool_name>NAME</tool_name>\n<parameters>\n"
    "<command>ls -la src</command>\n</parameters>\n</invoke>\n</function_calls>",
    "invoke with an object": '<invoke name="NAME">JSON</invoke>',
    "deepseek 3": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME\n```json\nJSON\n```"
    "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "deepseek 3.1": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>NAME<｜tool▁sep｜>JSON<｜tool▁call▁end｜>",
    "deepseek 3.2": '<｜DSML｜function_calls>\n<｜DSML｜invoke name="NAME">\n'
    '<｜DSML｜parameter name="command" string="true">ls -la src</｜DSML｜parameter>\n</｜DSML｜invoke>',
    "glm": "<tool_call>NAME\n<arg_key>command</arg_key>\n<arg_value>ls -la src</arg_value>\n</tool_call>",
    "glm before": "NAME\nJSON",
    "longcat": "<longcat_tool_call>NAME\n<longcat_arg_key>command</longcat_arg_key>\n"
    "<longcat_arg_value>ls -la src</longcat_arg_value>\n</longcat_tool_call>",
    "hunyuan": "<tool_calls>\n<tool_call>NAME\n```json\nJSON\n```\n</tool_call>\n</tool_calls>",
    "kimi": "<|tool_calls_section_begin|><|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>JSON"
    "<|tool_call_end|><|tool_calls_section_end|>",
    "mistral 3": '[TOOL_CALLS] [{"name": "NAME", "arguments": JSON}]',
    "mistral 11": "[TOOL_CALLS]NAMEJSON",
    "mistral 13": "[THINK]look[/THINK][TOOL_CALLS]NAME[CALL_ID]a1b2c3d4e[ARGS]JSON",
    "mistral without marks": "NAMEJSON",
    "llama 3": '<|python_tag|>{"type": "function", "name": "NAME", "parameters": JSON}<|eom_id|>',
    "llama 3 twice": '{"name": "NAME", "parameters": JSON}; {"name": "NAME", "parameters": JSON}',
    "llama built in": '<|python_tag|>NAME.call(command="ls -la src")<|eom_id|>',
    "llama 4": '<|python_start|>[NAME(command="ls -la src")]<|python_end|>',
    "python list": '[NAME(command="ls -la src")]',
    "gemma": '```tool_code\nprint(NAME(command="ls -la src"))\n```',
    "gemma by place": '```tool_code\nNAME("ls -la src")\n```',
    "gemma 4": '<|tool_call>call:NAME{command:<|"|>ls -la src<|"|>}<tool_call|>',
    "grok": '<xai:function_call name="NAME">\n<parameter name="command">ls -la src</parameter>\n</xai:function_call>',
    "function gemma": "<start_function_call>call:NAME{command:<escape>ls -la src<escape>}<end_function_call>",
    "olmo": '<function_calls>\nNAME(command="ls -la src")\n</function_calls>',
    "granite": '<|tool_call|>[{"name": "NAME", "arguments": JSON}]',
    "phi": '<|tool_call|>[{"name": "NAME", "arguments": JSON}]<|/tool_call|>',
    "command r": 'Action: ```json\n[{"tool_name": "NAME", "parameters": JSON}]\n```',
    "command a": '<|START_THINKING|>Look.<|END_THINKING|><|START_ACTION|>[{"tool_call_id": "0", "tool_name": "NAME", '
    '"parameters": JSON}]<|END_ACTION|>',
    "harmony": "<|channel|>analysis<|message|>Look.<|end|><|start|>assistant<|channel|>commentary to=functions.NAME "
    "<|constrain|>json<|message|>JSON<|call|>",
    "harmony without marks": "analysisLook.assistantcommentary to=functions.NAME jsonJSON",
    "apertus": '<|inner_prefix|>Look.<|inner_suffix|><|tools_prefix|>[{"NAME": JSON}]<|tools_suffix|>',
    "internlm": '<|action_start|><|plugin|>\n{"name": "NAME", "parameters": JSON}<|action_end|>',
    "xlam": '{"thought": "", "tool_calls": [{"name": "NAME", "arguments": JSON}]}',
    "minimax": '<tool_calls>\n{"name": "NAME", "arguments": JSON}\n{"name": "NAME", "arguments": JSON}\n</tool_calls>',
    "functionary 2": "<|from|>assistant\n<|recipient|>NAME\n<|content|>JSON",
    "functionary 3": ">>>NAME\nJSON",
    "seed": "<seed:think>Look.</seed:think><seed:tool_call>\n<function=NAME>\n"
    "<parameter=command>ls -la src</parameter>\n</function>\n</seed:tool_call>",
    "mcp": "<use_mcp_tool>\n<server_name>here</server_name>\n<tool_name>NAME</tool_name>\n<arguments>\nJSON\n"
    "</arguments>\n</use_mcp_tool>",
    "react": "Thought: look\nAction: NAME\nAction Input: JSON\nObservation: there is nothing\nThought: so what",
    "react with a text": "Thought: look\nAction: NAME\nAction Input: ls -la src",
    "react in brackets": "Thought: look\nAction: NAME[ls -la src]",
    "react in json": 'Thought: look\nAction:\n```\n{"action": "NAME", "action_input": "ls -la src"}\n```',
    "function call": '{"function_call": {"name": "NAME", "arguments": JSON}}',
    "function call in a message": '{"role": "assistant", "content": null, '
    '"function_call": {"name": "NAME", "arguments": JSON}}',
    "tool call": '{"tool_call": {"type": "function", "function": {"name": "NAME", "arguments": JSON}}}',
    "keyed": '{"NAME": JSON}',
    "fence": 'Let me look.\n\n```json\n{"name": "NAME", "arguments": JSON}\n```',
}
BLOCKS = {
    "mini-swe-agent": "THOUGHT: I look at the files.\n\n```bash\nls -la src\n```",
    "mini-swe-agent 2": "THOUGHT: I look at the files.\n\n```mswea_bash_command\nls -la src\n```",
    "swe-agent": "DISCUSSION\nLet me look at the files.\n\n```\nls -la src\n```",
    "mini-swe-agent on code": "THOUGHT: The line\n\n```python\nx = 1\n```\n\nis wrong.\n\n```bash\nls -la src\n```",
    "mini-swe-agent on a log": "THOUGHT: It said\n\n```\nValueError\n```\n\nI look.\n\n```bash\nls -la src\n```",
    "swe-agent on code": "DISCUSSION\nThe line\n```python\nx = 1\n```\nis wrong.\n```\nls -la src\n```",
    "a fence behind a purpose": "I'll look at the files to verify it:\n\n```bash\nls -la src\n```",
    "a fence": "Let me look at the files.\n\n```sh\nls -la src\n```",
}
AROUND = {
    "alone": "{}",
    "prose": "I'll see what the format of the project's files is. Let me look at them.\n\n{}",
    "token": "{}<|im_end|>\n",
    "result": "{}\n<tool_response>\na.py\n</tool_response>\n<tool_call>\n<function=submit></function>\n</tool_call>",
    "thoughts": "<think>\nI could write <submit></submit> now.\n</think>\n\n{}",
}


def written(notation: str, name: str) -> str:
    return NOTATIONS[notation].replace("NAME", name).replace("JSON", ARGS)


def read(text: str, form: str = "native", *, cut: bool = False) -> list[tuple[str, dict[str, Any]] | str]:
    """The tool and arguments of each action in a reply, or what the model is told."""
    _, actions = make_actions(form).read({"role": "assistant", "content": text}, cut=cut)
    return [
        (one.tool.name, {key: value for key, value in one.arguments.items() if value is not None})
        if isinstance(one, Action)
        else one.text
        for one in actions
    ]


@pytest.mark.parametrize("name", ["bash", "execute_bash", "run_shell"])
@pytest.mark.parametrize("notation", NOTATIONS)
def test_a_call_in_a_known_notation_is_carried_out_under_any_common_name(notation: str, name: str) -> None:
    found = read(written(notation, name))
    assert found
    assert all(one == ("bash", LIST) for one in found)


@pytest.mark.parametrize("around", AROUND)
def test_a_call_is_read_with_prose_before_it_and_invented_results_behind_it(around: str) -> None:
    texts = {name: written(name, "bash") for name in NOTATIONS} | BLOCKS
    for name, text in texts.items():
        if around == "thoughts" and ("hink" in text or "inner" in text or "analysis" in text):
            continue
        found = read(AROUND[around].replace("{}", text))
        assert set(map(str, found)) == {str(("bash", LIST))}, name


@pytest.mark.parametrize("form", FORMS)
def test_every_form_reads_the_notations_where_its_own_is_not_used(form: str) -> None:
    for notation in ("hermes", "qwen coder", "cline", "mistral 13", "harmony"):
        assert read(written(notation, "bash"), form) == [("bash", LIST)]


@pytest.mark.parametrize("text", [*(written(name, "bash") for name in NOTATIONS), *BLOCKS.values()])
def test_a_call_that_was_cut_off_is_never_carried_out_in_part(text: str) -> None:
    for end in range(len(text)):
        assert all(isinstance(one, str) or one == ("bash", LIST) for one in read(text[:end], cut=True))


CALL = '<tool_call>\n{"name": "submit", "arguments": {}}\n</tool_call>'
QUOTED = [
    f"One could write {CALL.replace(chr(10), '')} but the tests still fail.",
    f"The notation is `{CALL.replace(chr(10), '')}`.",
    "To hand it in I would write `<function=submit></function>`",
    f"For example:\n```xml\n{CALL}\n```\nwould hand it in.",
    f"A call looks like this:\n\n{CALL}",
    f"If I wrote\n{CALL}\nthen the attempt would end.",
    f"> {CALL.replace(chr(10), '')}\n\nThat is what the log says.",
    f"<think>I could write\n{CALL}\nnow.</think>What do you want me to do?",
    f"<think>I could write\n{CALL}\nbut the tests fail.</think>",
    f"<thinking>So:\n{CALL}\n</thinking>\nI am not sure what is wanted.",
    "[THINK][TOOL_CALLS]submit{}[/THINK]I am not sure.",
    "<|channel|>analysis<|message|>So <|channel|>commentary to=functions.submit<|message|>{} then.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>What do you mean?<|return|>",
    'A call is\n```json\n{"name": "submit", "arguments": {}}\n```\nand needs no arguments.',
    '{"name": "submit", "arguments": {}} is how to hand it in.',
    "The mistake is in a.py. To reproduce it:\n\n```bash\nrm -r build\n```\n\nThis shows it.",
    "It is mended. You can run the tests with:\n\n```bash\npytest\n```",
    "First:\n```bash\nls\n```\nthen:\n```bash\nrm x\n```\nand it works.",
    "The fix is:\n\n```python\nsubmit()\n```\n\nin main.",
    "The template should be\n\n```html\n<search><path>x</path><pattern>y</pattern></search>\n```\n\nas it was.",
    f"Earlier I ran:\n\n{CALL}\n\nThe tests pass since.",
    f"I have already run this command:\n\n{CALL}",
    "THOUGHT: Either\n\n```bash\nls\n```\n\nor\n\n```bash\nrm x\n```",
    "THOUGHT: It should read\n\n```python\nx = 2\n```",
    "In ReAct one writes Action: submit and then waits.",
    "Use the <submit> element.",
    f"The model should emit:\n```\n{CALL}\n```",
    "Example:\n\nAction: submit\n",
    "submit",
]


@pytest.mark.parametrize("text", QUOTED)
def test_what_a_model_quotes_explains_or_thinks_is_not_carried_out(text: str) -> None:
    [told] = read(text)
    assert isinstance(told, str)


def test_a_model_that_only_quotes_a_call_is_told_so() -> None:
    assert "quoted" in str(read(f"A call looks like this:\n\n{CALL}")[0])
    assert "quoted" not in str(read("Hm.")[0])


def test_a_text_of_gemma_may_hold_quotation_marks_and_brackets() -> None:
    command = 'grep "{x}" a | head'
    for before, mark, after in (
        ("tool_call", '|"|', "tool_call|"),
        ("start_function_call", "escape", "end_function_call"),
    ):
        begin = f"<|{before}>" if before == "tool_call" else f"<{before}>"
        text = f"{begin}call:bash{{command:<{mark}>{command}<{mark}>}}<{after}>"
        assert read(text * 2) == [("bash", {"command": command})] * 2


INNER = [
    f"<function=edit>\n<parameter=command>create</parameter>\n<parameter=path>a</parameter>\n<parameter=new>\n{CALL} so"
    "\n</parameter>\n</function>",
    f"<write_to_file>\n<path>a</path>\n<content>\n{CALL} so\n</content>\n</write_to_file>",
    f"<tool_call>{json.dumps({'name': 'write_file', 'arguments': {'path': 'a', 'content': f'{CALL} so'}})}</tool_call>",
]


CONTENTS = [
    "Question: x\nObservation: y\nThought: z",
    "x = 1\n<output>1</output>\n<response>\n</form>",
    "grep -n '<response>' a.html; echo done",
    "grep -n '</think>' a.py | head",
    "A <think>b</think> c",
    "a\n\nHuman: b\n\nAssistant: c",
]
HOLDERS = {
    "qwen coder": "<tool_call>\n<function=bash>\n<parameter=command>\n{}\n</parameter>\n</function>\n</tool_call>",
    "anthropic": '<function_calls>\n<invoke name="bash">\n<parameter name="command">{}</parameter>\n</invoke>\n'
    "</function_calls>",
    "glm": "<tool_call>bash\n<arg_key>command</arg_key>\n<arg_value>{}</arg_value>\n</tool_call>",
    "codeact": "<execute_bash>\n{}\n</execute_bash>",
    "mini-swe-agent": "THOUGHT: I do it.\n\n```bash\n{}\n```",
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("before", ["", "<think>\nHm.\n</think>\n\n", "Hm.\n</think>\n\n"])
def test_what_looks_like_a_result_or_a_thought_in_a_call_is_part_of_it(before: str, holder: str, content: str) -> None:
    assert read(before + HOLDERS[holder].replace("{}", content)) == [("bash", {"command": content})]


@pytest.mark.parametrize("content", CONTENTS)
def test_a_result_behind_a_call_is_invented_whatever_the_call_holds(content: str) -> None:
    call = HOLDERS["qwen coder"]
    for between in ("\n\nHuman: a.py\n\nAssistant: Now\n", "\nObservation: a.py\n", "\n<tool_response>\na.py\n"):
        assert read(call.replace("{}", content) + between + call) == [("bash", {"command": content})]


@pytest.mark.parametrize("text", INNER)
def test_a_call_in_the_content_of_a_file_is_content(text: str) -> None:
    assert read(text) == [("edit", {"command": "create", "path": "a", "new": f"{CALL} so"})]


def test_a_block_may_hold_a_document_with_fences_and_calls() -> None:
    command = f"cat > a.md <<'EOF'\n```python\nx\n```\n{CALL}\nEOF"
    assert read(f"THOUGHT: I write it.\n\n```bash\n{command}\n```") == [("bash", {"command": command})]


def test_several_calls_are_carried_out_in_order() -> None:
    two = f"First I look.\n{written('hermes', 'bash')}\nThen I am done:\n{CALL}"
    assert read(two) == [("bash", LIST), ("submit", {})]


@pytest.mark.parametrize("words", ["submit", "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && git add -A"])
def test_a_block_that_hands_in_as_other_programs_do_submits(words: str) -> None:
    assert read(f"THOUGHT: done\n\n```bash\n{words}\n```") == [("submit", {})]


def test_a_tool_that_does_not_exist_is_told_and_counted_as_unread() -> None:
    [told] = read('<tool_call>\n{"name": "browser", "arguments": {"url": "x"}}\n</tool_call>')
    assert "there is no tool 'browser'" in str(told)
    message, actions = make_actions().read({"tool_calls": [{"id": "a", "function": {"name": "browser"}}]})
    observations = make_actions().observations([(one, f"[error] {told}") for one in actions])
    ask = {"role": "user", "content": "It is broken."}
    assert unread([ask, message, *observations]) == 1
    assert unread([ask, message, {**observations[0], "content": "[error] bash: it failed"}]) == 0
    assert unread([ask, message, observations[0], {**observations[0], "content": "a.py"}]) == 0


# The tool of another program, its arguments, and the tool and arguments that they mean here.
MEANT = """
shell {"command": ["bash", "-lc", "ls | wc"]} -> bash {"command": "ls | wc"}
container.exec {"cmd": ["ls", "-l"], "workdir": "/a b"} -> bash {"command": "cd '/a b' || exit\\nls -l"}
Bash {"command": "ls", "description": "List", "timeout": 1000} -> bash {"command": "ls"}
run_terminal_cmd {"command": "ls", "is_background": false} -> bash {"command": "ls"}
bash {"cmd": "ls"} -> bash {"command": "ls"}
str_replace_editor {"command": "view", "path": "a", "view_range": [3, 9]} -> view {"path": "a", "start": 3, "end": 9}
str_replace_editor {"command": "view", "path": "a", "view_range": "[3, -1]"} -> view {"path": "a", "start": 3}
str_replace_editor {"command": "create", "path": "a", "file_text": "x"} -> edit {"command": "create", "path": "a", "new": "x"}
text_editor {"command": "insert", "path": "a", "insert_line": 2, "new_str": "y"} -> edit {"command": "insert", "path": "a", "line": 2, "new": "y"}
str_replace_based_edit_tool {"command": "str_replace", "path": "a", "old_str": "x"} -> edit {"command": "replace", "path": "a", "old": "x", "new": ""}
Edit {"file_path": "a", "old_string": "x", "new_string": "y"} -> edit {"command": "replace", "path": "a", "old": "x", "new": "y"}
replace_in_file {"path": "a", "diff": "<<<<<<< SEARCH\\nx\\n=======\\ny\\n>>>>>>> REPLACE"} -> edit {"command": "replace", "path": "a", "old": "x\\n", "new": "y\\n"}
write_to_file {"path": "a", "content": "x", "line_count": 1} -> edit {"command": "create", "path": "a", "new": "x"}
Read {"file_path": "a", "offset": 3, "limit": 2} -> view {"path": "a", "start": 3, "end": 4}
read_file {"target_file": "a", "start_line": "2"} -> view {"path": "a", "start": 2}
list_files {} -> view {"path": "."}
grep_search {"query": "x"} -> search {"pattern": "x"}
search_files {"path": "src", "regex": "x", "file_pattern": "*.py"} -> search {"pattern": "x", "path": "src"}
attempt_completion {"result": "done"} -> submit {}
finish {"message": "done"} -> submit {}
"""  # noqa: E501


@pytest.mark.parametrize("row", MEANT.strip().splitlines(), ids=lambda row: row.partition(" {")[0])
def test_a_tool_of_another_program_is_the_one_that_does_the_same(row: str) -> None:
    (name, _, given_arguments), (tool, _, meant) = (part.partition(" ") for part in row.split(" -> "))
    call = {"id": "1", "function": {"name": name, "arguments": given_arguments}}
    sent, [action] = make_actions().read({"role": "assistant", "content": None, "tool_calls": [call]})
    assert isinstance(action, Action)
    found = {key: value for key, value in action.arguments.items() if value is not None}
    assert (action.tool.name, found) == (tool, json.loads(meant))
    assert sent["tool_calls"][0]["function"]["arguments"] == given_arguments


def test_what_another_programs_tool_does_in_addition_is_an_error_and_not_left_out() -> None:
    for name, more in (
        ("bash", {"command": "ls", "user": "root"}),
        ("edit", {"command": "undo_edit", "path": "a", "new": ""}),
    ):
        _, [action] = make_actions().read({"tool_calls": [{"id": "1", "function": {"name": name, "arguments": more}}]})
        assert isinstance(action, ActionError)


PIECES = """
<tool_call> </tool_call> {"name":"bash", "arguments":{"command":"ls"}} <function=bash> ``` ```bash <parameter=command>
</parameter> </function> [TOOL_CALLS] bash { } [ ] ( ) Action: Input: <think> </think> ls <bash> </bash> <command> EOF
</command> <|channel|> <|message|> to= <|python_tag|> <<EOF " Observation: <submit/> <escape> <invoke> <tool_name> |
</tool_name> <start_function_call>call: diff <arg_key> é
"""


@settings(max_examples=300, deadline=None)
@given(
    pieces=st.lists(st.sampled_from([*PIECES.split(), " ", "\n", "\0", "```bash\n"]), max_size=14),
    cut=st.booleans(),
    form=st.sampled_from(FORMS),
)
def test_pieces_of_notations_in_any_order_are_read_without_an_exception(
    pieces: list[str], cut: bool, form: str
) -> None:
    assert read("".join(pieces), form, cut=cut)


@pytest.mark.parametrize(
    "piece", [" ", "<bash>\n", "<function=bash>", "{", "\n[", "Action: bash\n", "```bash\nx\n", "to=bash "]
)
def test_a_long_reply_of_anything_is_read_in_little_time(piece: str) -> None:
    assert read(piece * 5_000)  # in time that grows with its square, this would take minutes

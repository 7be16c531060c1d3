"""Each tool does what its description promises, in a real sandbox; a model's mistake is a text that it reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.actions.native import Action, read_actions
from agent.models.scripted import say
from agent.tools import REGISTRY, TOOLS, ToolError, Workspace, make_tools
from agent.tools.view import LINE_CHARACTERS, PAGE_LINES
from envs import Limits, Origin
from tests.helpers import git_repository, workspace

FILES = {
    "readme.md": b"one\ntwo\nthree\n",
    "long.txt": b"".join(b"line %d\n" % number for number in range(1, 1001)),
    "wide.txt": b"x" * 100_000 + b"\nshort\n",
    "heavy.txt": b"".join(b"y" * 1500 + b"\n" for _ in range(100)),
    "image.bin": b"\x89PNG\x00\x01\x02" + bytes(range(256)),
    "latin.py": b"# caf\xe9\nprice = 1\nname = '\xe9'\n",
    "dos.txt": b"alpha = 1\r\nbeta = 2\r\ngamma = 3\r\n",
    "mixed.txt": b"alpha\r\nbeta\ngamma\r\n",
    "feed.py": b"a = 1\n\x0cb = 2\x0b\n# \xe2\x80\xa8 c\rd\nlast = 3\n",
    "open.txt": b"first\nlast without end",
    "empty.txt": b"",
    "pkg/mod.py": b"def f(x):\n    return x * (2 + x)\n",
    "with space/file name.py": b"needle = '$HOME'\n",
    "-dash.txt": b"-v is an option\nneedle\n",
    "aaa.txt": b"aaa",
}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    return git_repository(tmp_path_factory.mktemp("tools") / "repository", FILES)


async def use(room: Workspace, name: str, **arguments: Any) -> str:
    """What the model reads after calling a tool; "[error] ..." for a mistake, as in the loop."""
    _, [action] = read_actions(say((name, arguments)), TOOLS)
    if not isinstance(action, Action):
        return f"[error] {action.text}"
    try:
        return await action.tool.act(room, action.arguments)
    except ToolError as mistake:
        return f"[error] {mistake}"


def observed(origin: Origin, *calls: tuple[str, Mapping[str, Any]], **how: Any) -> list[str]:
    """The observations of several calls in one sandbox."""

    async def main() -> list[str]:
        async with workspace(origin, **how) as room:
            return [await use(room, name, **arguments) for name, arguments in calls]

    return asyncio.run(main())


def view(path: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
    return "view", {"path": path, **arguments}


def edited(origin: Origin, path: str, *edits: Mapping[str, Any]) -> tuple[list[str], bytes]:
    """What the edits of one file said, and the file's bytes after them."""

    async def main() -> tuple[list[str], bytes]:
        async with workspace(origin) as room:
            texts = [await use(room, "edit", path=path, **edit) for edit in edits]
            return texts, await room.sandbox.read(path)

    return asyncio.run(main())


def replaced(origin: Origin, path: str, old: str, new: str) -> tuple[str, bytes]:
    [text], after = edited(origin, path, {"command": "replace", "old": old, "new": new})
    return text, after


def inserted(origin: Origin, path: str, line: int | None, new: str) -> tuple[str, bytes]:
    [text], after = edited(origin, path, {"command": "insert", "line": line, "new": new})
    return text, after


# view


def test_view_shows_a_whole_short_file_with_line_numbers(origin: Origin) -> None:
    [text] = observed(origin, view("readme.md"))
    assert text == "     1\tone\n     2\ttwo\n     3\tthree"


def test_view_pages_through_a_long_file_and_says_where_it_is(origin: Origin) -> None:
    first, second, tail, one = observed(
        origin,
        view("long.txt"),
        view("long.txt", start=PAGE_LINES + 1),
        view("long.txt", start=990),
        view("long.txt", start=7, end=7),
    )
    assert first.startswith("     1\tline 1\n")
    assert first.endswith(f"[lines 1-{PAGE_LINES} of 1000]")
    assert second.startswith(f"   {PAGE_LINES + 1}\tline {PAGE_LINES + 1}\n")
    assert tail.endswith("  1000\tline 1000")
    assert one == "     7\tline 7\n[lines 7-7 of 1000]"


def test_view_of_lines_that_are_not_there_tells_how_many_there_are(origin: Origin) -> None:
    beyond, empty, backwards, below = observed(
        origin,
        view("readme.md", start=9),
        view("empty.txt"),
        view("readme.md", start=3, end=2),
        view("readme.md", start=-5, end=-1),
    )
    assert beyond == backwards == below == "[readme.md has 3 lines]"
    assert empty == "[empty.txt has 0 lines]"


def test_view_counts_lines_as_git_grep_and_tracebacks_do(origin: Origin) -> None:
    [text] = observed(origin, view("feed.py", start=4))
    assert text == "     4\tlast = 3"


def test_view_keeps_an_observation_small_whatever_the_lines_hold(origin: Origin) -> None:
    wide, heavy = observed(origin, view("wide.txt"), view("heavy.txt"))
    assert f"x [{100_000 - LINE_CHARACTERS} more characters]\n     2\tshort" in wide
    assert len(heavy) < 70_000
    assert "[lines 1-43 of 100]" in heavy


def test_view_of_a_folder_lists_the_files_below_without_git(origin: Origin) -> None:
    whole, package, named_like_an_option = observed(origin, view("."), view("pkg"), view("-dash.txt"))
    assert "./pkg/mod.py\n" in whole
    assert ".git/" not in whole
    assert package == "pkg/mod.py\n"
    assert "is an option" in named_like_an_option


def test_view_of_the_empty_path_is_the_repository(origin: Origin) -> None:
    [text] = observed(origin, view(""))
    assert "./readme.md\n" in text


def test_view_of_what_is_not_there_is_a_mistake_of_the_model(origin: Origin) -> None:
    for text in observed(origin, view("nothing.py"), view("no/such/directory"), view("readme.md/x")):
        assert text.startswith("[error] ")
        assert "irectory" in text  # "No such file or directory", "Not a directory"


def test_view_says_that_a_file_is_binary(origin: Origin) -> None:
    [text] = observed(origin, view("image.bin"))
    assert text == f"[image.bin is a binary file of {len(FILES['image.bin'])} bytes]"


def test_view_shows_other_encodings_as_well_as_it_can(origin: Origin) -> None:
    [text] = observed(origin, view("latin.py"))
    assert text.splitlines() == ["     1\t# caf�", "     2\tprice = 1", "     3\tname = '�'"]


# edit: replace


def test_replace_puts_the_new_text_where_the_old_one_stands_once(origin: Origin) -> None:
    text, after = replaced(origin, "readme.md", "two\nthree", "2\n3")
    assert text == "[readme.md written]"
    assert after == b"one\n2\n3\n"


@pytest.mark.parametrize(
    ("path", "old", "why"),
    [
        ("readme.md", "four", "does not occur in readme.md"),
        ("long.txt", "line 99", "occurs 11 times"),
        ("aaa.txt", "aa", "occurs 2 times"),
        ("readme.md", "", "needs `old`"),
        ("nothing.md", "x", "No such file"),
    ],
)
def test_replace_changes_nothing_unless_the_old_text_occurs_once(origin: Origin, path: str, old: str, why: str) -> None:
    async def main() -> None:
        async with workspace(origin) as room:
            text = await use(room, "edit", command="replace", path=path, old=old, new="new")
            assert text.startswith("[error] ")
            assert why in text
            assert await room.sandbox.diff() == b""

    asyncio.run(main())


def test_replace_keeps_crlf_when_the_model_writes_line_feeds(origin: Origin) -> None:
    _, after = replaced(origin, "dos.txt", "alpha = 1\nbeta = 2", "alpha = 1\nmore = 0\nbeta = 2")
    assert after == b"alpha = 1\r\nmore = 0\r\nbeta = 2\r\ngamma = 3\r\n"


def test_replace_of_a_part_of_a_line_keeps_crlf_too(origin: Origin) -> None:
    _, after = replaced(origin, "dos.txt", "beta = 2", "beta = 2\nmore = 0")
    assert after == b"alpha = 1\r\nbeta = 2\r\nmore = 0\r\ngamma = 3\r\n"


def test_replace_in_a_file_of_mixed_line_ends_touches_nothing_else(origin: Origin) -> None:
    _, after = replaced(origin, "mixed.txt", "beta\n", "b\n")
    assert after == b"alpha\r\nb\ngamma\r\n"


def test_replace_keeps_bytes_that_are_not_utf8(origin: Origin) -> None:
    _, after = replaced(origin, "latin.py", "price = 1", "price = 'é'")
    assert after == b"# caf\xe9\nprice = '\xc3\xa9'\nname = '\xe9'\n"


# edit: create and insert


def test_create_makes_the_folders_and_writes_the_text_as_it_is(origin: Origin) -> None:
    [text], after = edited(origin, "new/deep/file.py", {"command": "create", "new": "a\r\nb"})
    assert text == "[new/deep/file.py written]"
    assert after == b"a\r\nb"


def test_create_where_a_folder_or_a_file_stands_in_the_way_is_a_mistake(origin: Origin) -> None:
    for path in ("pkg", "readme.md/below", ""):
        [text] = observed(origin, ("edit", {"command": "create", "path": path, "new": "x"}))
        assert text.startswith("[error] ")


@pytest.mark.parametrize(
    ("line", "after"),
    [
        (0, b"NEW\none\ntwo\nthree\n"),
        (1, b"one\nNEW\ntwo\nthree\n"),
        (3, b"one\ntwo\nthree\nNEW\n"),
    ],
)
def test_insert_puts_lines_after_the_given_one(origin: Origin, line: int, after: bytes) -> None:
    assert inserted(origin, "readme.md", line, "NEW")[1] == after
    assert inserted(origin, "readme.md", line, "NEW\n")[1] == after


def test_insert_after_a_last_line_without_an_end_gives_it_one(origin: Origin) -> None:
    assert inserted(origin, "open.txt", 2, "NEW")[1] == b"first\nlast without end\nNEW\n"
    assert inserted(origin, "open.txt", 1, "NEW")[1] == b"first\nNEW\nlast without end"


def test_insert_keeps_crlf_and_every_other_byte(origin: Origin) -> None:
    assert inserted(origin, "dos.txt", 1, "x\ny")[1] == b"alpha = 1\r\nx\r\ny\r\nbeta = 2\r\ngamma = 3\r\n"
    assert inserted(origin, "dos.txt", 1, "x\r\ny\r\n")[1] == b"alpha = 1\r\nx\r\ny\r\nbeta = 2\r\ngamma = 3\r\n"
    assert inserted(origin, "latin.py", 1, "x")[1] == b"# caf\xe9\nx\nprice = 1\nname = '\xe9'\n"


def test_insert_counts_lines_as_view_does_and_keeps_odd_characters(origin: Origin) -> None:
    before = FILES["feed.py"]
    _, after = inserted(origin, "feed.py", 3, "\x0cnew \u2028 line")
    assert after == before.replace(b"last", "\x0cnew \u2028 line\nlast".encode())


def test_insert_into_an_empty_file(origin: Origin) -> None:
    assert inserted(origin, "empty.txt", 0, "x")[1] == b"x\n"


@pytest.mark.parametrize("line", [-1, 4, None])
def test_insert_outside_of_the_file_changes_nothing(origin: Origin, line: int | None) -> None:
    text, after = inserted(origin, "readme.md", line, "NEW")
    assert text == "[error] insert needs `line` from 0 to 3 in readme.md; nothing was changed"
    assert after == FILES["readme.md"]


# search


def search(pattern: str, path: str | None = None) -> tuple[str, dict[str, Any]]:
    return "search", {"pattern": pattern} | ({} if path is None else {"path": path})


def test_search_finds_lines_with_their_path_and_number(origin: Origin) -> None:
    whole, one_file, folder = observed(
        origin, search(r"return x \* \(2"), search("return", "pkg/mod.py"), search("return", "pkg")
    )
    assert whole == "./pkg/mod.py:2:    return x * (2 + x)\n"
    assert one_file == folder == "pkg/mod.py:2:    return x * (2 + x)\n"


def test_search_without_a_match_says_so(origin: Origin) -> None:
    assert observed(origin, search("nowhere to be found"), search("^$^", "empty.txt")) == ["[no match]"] * 2


def test_search_takes_the_pattern_and_the_path_as_they_are(origin: Origin) -> None:
    home, option, spaces, quotes = observed(
        origin,
        search(r"'\$HOME'"),
        search("-v is", "-dash.txt"),
        search("needle", "with space/file name.py"),
        search("'; touch /tmp/harm; echo '"),
    )
    assert home == "./with space/file name.py:1:needle = '$HOME'\n"
    assert option == "-dash.txt:1:-v is an option\n"
    assert spaces == "with space/file name.py:1:needle = '$HOME'\n"
    assert quotes == "[no match]"


def test_search_tells_of_a_broken_pattern_and_of_a_missing_path(origin: Origin) -> None:
    broken, missing = observed(origin, search("(unclosed"), search("x", "nowhere"))
    assert "Unmatched" in broken
    assert "No such file" in missing


def test_search_says_when_there_are_more_matches(origin: Origin) -> None:
    [text] = observed(origin, search("line"))
    assert text.count("\n") == 200
    assert "the first 200 matches" in text


# bash, run_tests, submit


def bash(command: str) -> tuple[str, dict[str, Any]]:
    return "bash", {"command": command}


def test_bash_gives_output_and_the_exit_status_when_it_is_not_zero(origin: Origin) -> None:
    fine, silent, failed, signalled = observed(
        origin, bash("echo out; echo err >&2"), bash("true"), bash("printf half; exit 3"), bash("kill -9 $$")
    )
    assert fine == "out\nerr\n"
    assert silent == "[no output]"
    assert failed == "half\n[exit status 3]"
    assert signalled == "[exit status -9]"


def test_bash_is_bash(origin: Origin) -> None:
    [text] = observed(origin, bash("x=(a b); [[ ${x[1]} == b ]] && cat <<< yes"))
    assert text == "yes\n"


def test_bash_tells_that_a_command_outran_its_time(origin: Origin) -> None:
    [text, after] = observed(origin, bash("echo begun; sleep 30"), bash("echo alive"), command_seconds=0.5)
    assert text in ("begun\n[killed after 0 s: time limit]", "begun\n[killed after 1 s: time limit]")
    assert after == "alive\n"


def test_bash_shows_bytes_that_are_no_text_and_cuts_floods(origin: Origin) -> None:
    odd, flood = observed(
        origin,
        bash(r"printf '\xff\xe9'"),
        bash("head -c 5000000 /dev/zero | tr '\\0' x"),
        limits=Limits(output_bytes=4096),
    )
    assert odd == "��\n"
    assert len(flood) < 5000
    assert "bytes dropped here" in flood


def test_run_tests_runs_the_visible_test_command(origin: Origin) -> None:
    [text] = observed(origin, ("run_tests", {}), test_command="echo 3 failed; exit 1")
    assert text == "3 failed\n[exit status 1]"


def test_submit_only_says_so(origin: Origin) -> None:
    assert observed(origin, ("submit", {})) == ["[submitted]"]


@pytest.mark.parametrize(
    "call",
    [
        bash("echo \0"),
        view("a\0b"),
        search("\0"),
        search("x", "\0"),
        ("edit", {"command": "create", "path": "\0", "new": ""}),
    ],
    ids=repr,
)
def test_a_nul_character_is_a_mistake_and_the_sandbox_lives_on(
    origin: Origin, call: tuple[str, Mapping[str, Any]]
) -> None:
    text, after = observed(origin, call, bash("echo alive"))
    assert text.startswith("[error] ")
    assert after == "alive\n"


def test_half_a_character_from_the_model_hurts_nobody(origin: Origin) -> None:
    calls: Sequence[tuple[str, Mapping[str, Any]]] = [
        bash("echo '\ud800'"),
        view("\ud800"),
        search("\udfff"),
        ("edit", {"command": "create", "path": "half\udc00", "new": "\ud800"}),
    ]
    first, missing, none, written = observed(origin, *calls)
    assert first == "?\n"
    assert "No such file" in missing
    assert none
    assert written == "[half? written]"


def test_every_tool_describes_itself_as_a_json_schema_of_an_object() -> None:
    for tool in make_tools(REGISTRY.built_in):
        assert tool.description
        assert tool.parameters["type"] == "object"
        assert set(tool.parameters.get("required", ())) <= set(tool.parameters["properties"])
        json.dumps(tool.parameters)


def test_the_names_of_the_tools_are_those_of_their_files() -> None:
    folder = Path(__file__).parents[2] / "agent" / "tools"
    assert {tool.name for tool in make_tools(REGISTRY.built_in)} == {path.stem for path in folder.glob("*.py")} - {
        "__init__",
        "tool",
    }

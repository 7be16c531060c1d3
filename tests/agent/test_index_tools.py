"""The tools over an index of the repository, in real local sandboxes, with a scripted model where there is one."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.index.passages import LINES, passages
from agent.index.sources import Source, read_sources
from agent.index.symbols import symbols, uses
from agent.models.model import ModelRefused, ModelUnavailable
from agent.models.scripted import Scripted, say
from agent.scaffolds import Unsuited, make_scaffold
from agent.tools import DEFAULT, REGISTRY, TOOLS, EmbeddingsSpec, ToolError, Workspace, make_tools
from agent.trajectory import Exit, Trajectory
from envs import Command, Completed, Origin
from envs.errors import MonkeysError
from tests.helpers import git_repository, play, workspace

INDEXED = tuple(name for name in REGISTRY.built_in if name not in {tool.name for tool in TOOLS})
LONG = "class Large:\n    size = 1\n" + "".join(f"\n    def part_{n}(self):\n        return {n}\n" for n in range(20))
FILES = {
    "shop/book.py": b'''"""Books of a shop."""


class Book:
    """One book."""

    def __init__(self, price):
        self.price = price  # not a use of total

    @property
    def total(self):
        return self.price * 2

    class Shelf:
        def total(self):
            return 0


def total(books):
    """The refund of all customers together."""
    return sum(book.total for book in books)
''',
    "shop/large.py": LONG.encode(),
    "shop/broken.py": b"def fine():\n    return total(1)\n\ndef (:\n",
    "web/cart.js": b"class Cart {\n  total(items) {\n    return items.length;\n  }\n}\nconst half = (x) => x / 2;\n",
    "docs/notes.md": b"# Notes\n\nShipping takes three days.\n",
    "image.py": b"\x00\x01",
    ".hidden/secret.py": b"def secret(): pass\n",
    "with space/odd name.py": b"def odd():\r\n    return 1\r\n",
}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    return git_repository(tmp_path_factory.mktemp("index") / "repository", FILES)


async def use(room: Workspace, name: str, /, **arguments: Any) -> str:
    [tool] = [tool for tool in make_tools((DEFAULT, *INDEXED)) if tool.name == name]
    try:
        return await tool.act(room, arguments)
    except ToolError as mistake:
        return f"[error] {mistake}"


def observed(origin: Origin, *calls: tuple[str, Mapping[str, Any]]) -> list[str]:
    async def main() -> list[str]:
        async with workspace(origin) as room:
            return [await use(room, name, **arguments) for name, arguments in calls]

    return asyncio.run(main())


# what each tool shows


def test_definitions_are_shown_with_their_place_and_lines(origin: Origin) -> None:
    small, large, one, method, inner, script, spaced = observed(
        origin,
        ("find_class", {"name": "Book"}),
        ("find_class", {"name": "Large", "path": "shop"}),
        ("find_function", {"name": "total", "path": "./shop/book.py/"}),
        ("find_function", {"name": "Book.total()"}),
        ("find_function", {"name": "Shelf.total"}),
        ("find_function", {"name": "half"}),
        ("find_function", {"name": "odd"}),
    )
    assert small.startswith("[shop/book.py:4-16 Book]\n     4\tclass Book:\n")
    assert small.endswith("            return 0")
    assert large.splitlines()[:5] == [
        "[shop/large.py:1-62 Large]",
        "     1\tclass Large:",
        "     2\t    size = 1",
        "     3\t",
        "     4\t... function part_0 (lines 4-5)",
    ]
    assert len(large.splitlines()) == 24
    assert [line for line in one.splitlines() if line.startswith("[")] == [
        "[shop/book.py:10-12 Book.total]",
        "[shop/book.py:15-16 Book.Shelf.total]",
        "[shop/book.py:19-21 total]",
    ]
    assert method.splitlines() == [
        "[shop/book.py:10-12 Book.total]",
        "    10\t    @property",
        "    11\t    def total(self):",
        "    12\t        return self.price * 2",
    ]
    assert inner.startswith("[shop/book.py:15-16 Book.Shelf.total]")
    assert script == "[web/cart.js:6-6 half]\n     6\tconst half = (x) => x / 2;"
    assert spaced == "[with space/odd name.py:1-2 odd]\n     1\tdef odd():\n     2\t    return 1"


def test_usages_are_identifiers_and_not_texts_or_comments(origin: Origin) -> None:
    everywhere, one_file, none = observed(
        origin,
        ("find_usages", {"name": "total"}),
        ("find_usages", {"name": "Book.total", "path": "shop/broken.py"}),
        ("find_usages", {"name": "refund"}),
    )
    assert everywhere.splitlines() == [
        "[shop/book.py]",
        "    11\t    def total(self):  [definition]",
        "    15\t        def total(self):  [definition]",
        "    19\tdef total(books):  [definition]",
        "    21\t    return sum(book.total for book in books)  [in total]",
        "[shop/broken.py]",
        "     2\t    return total(1)  [in fine]",
        "[web/cart.js]",
        "     2\t  total(items) {  [definition]",
    ]
    assert one_file == "[shop/broken.py]\n     2\t    return total(1)  [in fine]"
    assert none == "[error] no line of code uses refund"


def test_a_snippet_is_found_whatever_its_indentation(origin: Origin) -> None:
    part, lines, dos, twice, none, empty = observed(
        origin,
        ("find_snippet", {"snippet": "self.price *"}),
        ("find_snippet", {"snippet": "def total(self):\nreturn self.price * 2\n"}),
        ("find_snippet", {"snippet": "def odd():\n  return 1"}),
        ("find_snippet", {"snippet": "def total(self):"}),
        ("find_snippet", {"snippet": "def total(self):\n    pass"}),
        ("find_snippet", {"snippet": " \n"}),
    )
    assert part.startswith("[shop/book.py:12-12 Book.total]\n     9\t\n    10\t    @property\n")
    assert lines.startswith("[shop/book.py:11-12 Book.total]\n")
    assert dos.startswith("[with space/odd name.py:1-2 odd]\n     1\tdef odd():\n     2\t    return 1")
    assert twice.count("[shop/book.py:") == 2
    assert none == "[error] this code is in no file; give fewer lines, or use search with a pattern"
    assert empty == "[error] the snippet is empty"


def test_a_search_ranks_by_rare_words_and_looks_into_prose_too(origin: Origin) -> None:
    refunds, prose, below, none, empty = observed(
        origin,
        ("semantic_search", {"query": "Where are refunds of the customers computed?"}),
        ("semantic_search", {"query": "how long is shipping"}),
        ("semantic_search", {"query": "total", "path": "web"}),
        ("semantic_search", {"query": "zebra"}),
        ("semantic_search", {"query": " "}),
    )
    assert refunds.startswith("[shop/book.py:19-21 total]\n")
    assert prose.startswith("[docs/notes.md:1-3]\n")
    assert below.startswith("[web/cart.js:")
    assert none == "[error] no passage has a word of this query; use other words"
    assert empty == "[error] the query is empty"


def test_spans_are_names_and_lines_of_one_file(origin: Origin) -> None:
    some, listed, odd, folder, empty, far = observed(
        origin,
        ("view_spans", {"path": "shop/book.py", "spans": "Book.total, 1-2; total()"}),
        ("view_spans", {"path": "shop/book.py", "spans": "Shelf 20:30 4"}),
        ("view_spans", {"path": "shop/book.py", "spans": "Shelf.price"}),
        ("view_spans", {"path": "shop", "spans": "1"}),
        ("view_spans", {"path": "shop/book.py", "spans": ","}),
        ("view_spans", {"path": "shop/book.py", "spans": "40-50"}),
    )
    places = ["[shop/book.py:1-2]", "[shop/book.py:10-12 Book.total]", "[shop/book.py:15-16 Book.Shelf.total]"]
    assert [line for line in some.splitlines() if line[0] == "["] == [*places, "[shop/book.py:19-21 total]"]
    assert [line for line in listed.splitlines() if line[0] == "["] == [
        "[shop/book.py:4-4 Book]",
        "[shop/book.py:14-16 Book.Shelf]",
        "[shop/book.py:20-21 total]",
    ]
    assert odd.startswith("[error] shop/book.py has no class or function Shelf.price; it has Book, Book.__init__,")
    assert folder == "[error] shop is a folder; name one file"
    assert empty == "[error] spans is empty; name classes, functions or ranges of lines"
    assert far == "[error] shop/book.py has lines 1-21, not 40-50"


def test_what_is_everywhere_is_shown_in_part(tmp_path: Path) -> None:
    files = {f"part_{n:03}.py": b"import os\n" * 9 + b"def again(x):\n    return os.sep\n" for n in range(130)}
    crowded = git_repository(tmp_path / "repository", files)
    usages, snippets, functions = observed(
        crowded,
        ("find_usages", {"name": "os"}),
        ("find_snippet", {"snippet": "return os.sep"}),
        ("find_function", {"name": "again"}),
    )
    assert len(usages.splitlines()) < 410
    assert usages.endswith(" more places; name a path to see fewer]\n[there are still more; name a path]")
    assert snippets.endswith("[there are still more; name a path]")
    assert len(snippets.splitlines()) < 410
    assert functions.count("[part_") == 130


def test_an_absolute_path_means_its_part_in_the_repository(origin: Origin) -> None:
    calls = [
        ("find_class", {"name": "Cart", "path": path}) for path in ("/testbed/web", "/a/b/web/cart.js", "/web/", "/")
    ]
    found = observed(origin, *calls, ("find_class", {"name": "Cart", "path": "/testbed/shop"}))
    assert [text.split("\n")[0] for text in found[:4]] == ["[web/cart.js:1-5 Cart]"] * 4
    assert found[4].startswith("[error] there is no class Cart")


def test_a_name_that_is_not_there_is_answered_with_what_is(origin: Origin) -> None:
    assert observed(
        origin,
        ("find_class", {"name": "Bok"}),
        ("find_class", {"name": "total"}),
        ("find_function", {"name": "Cart.half"}),
        ("find_function", {"name": "secret"}),
        ("find_function", {"name": "total", "path": "nowhere"}),
        ("find_function", {"name": ""}),
        ("find_class", {"name": "Book", "path": "image.py"}),
    ) == [
        "[error] there is no class Bok; there are Book",
        "[error] there is no class total; there are function Book.total in shop/book.py, function Book.Shelf.total in "
        "shop/book.py, function total in shop/book.py, function Cart.total in web/cart.js",
        "[error] there is no function Cart.half; there are function half in web/cart.js",
        "[error] there is no function secret",
        "[error] there is no source file at or below nowhere",
        "[error] there is no function ",
        "[error] there is no source file at or below image.py",
    ]


# the index follows the sandbox


def test_what_an_attempt_changes_is_in_the_index_at_once(origin: Origin) -> None:
    edit = {"command": "replace", "path": "shop/book.py", "old": "def total(books)", "new": "def sum_up(books)"}
    outcome = observed(
        origin,
        ("find_function", {"name": "sum_up"}),
        ("edit", edit),
        ("find_function", {"name": "sum_up"}),
        ("bash", {"command": "mv shop/large.py shop/moved.py; rm web/cart.js; printf 'class New: x = 1' > new.py"}),
        ("find_class", {"name": "Large"}),
        ("find_class", {"name": "New"}),
        ("find_class", {"name": "Cart"}),
        ("semantic_search", {"query": "sum_up", "path": "shop/book.py"}),
    )
    assert outcome[0] == "[error] there is no function sum_up"
    assert outcome[2].startswith("[shop/book.py:19-21 sum_up]")
    assert outcome[4].startswith("[shop/moved.py:1-62 Large]")
    assert outcome[5] == "[new.py:1-1 New]\n     1\tclass New: x = 1"
    assert outcome[6].startswith("[error] there is no class Cart")
    assert outcome[7].startswith("[shop/book.py:19-21 sum_up]")
    assert observed(origin, ("find_class", {"name": "Cart"}))[0].startswith("[web/cart.js:1-5 Cart]")


class _Counted:
    """A sandbox that counts its commands."""

    def __init__(self, sandbox: Any) -> None:
        self._sandbox, self.commands = sandbox, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sandbox, name)

    async def run(self, command: Command) -> Completed:
        self.commands += 1
        done: Completed = await self._sandbox.run(command)
        return done


def test_another_attempt_fetches_nothing_and_a_change_only_what_changed(tmp_path: Path) -> None:
    name = tmp_path.name.encode()  # contents that no other test has read
    files = {f"part_{n}.py": b"# %s\ndef part_%d(): pass\n" % (name, n) for n in range(450)}
    own = git_repository(tmp_path / "repository", files)

    async def commands(change: str = "true") -> int:
        async with workspace(own) as room:
            await room.shell(change)
            counted = _Counted(room.sandbox)
            assert len(await read_sources(replace(room, sandbox=counted))) == 450
            return counted.commands

    async def main() -> list[int]:
        return [await commands(), await commands(), await commands("echo >> part_7.py")]

    assert asyncio.run(main()) == [1 + 3, 1, 1 + 1]


# symbols


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("a.ts", "interface I { a: number }\nexport class A<T> { m(): T { return x } }\nenum E { A }", "I A A.m E"),
        ("a.tsx", "const View = () => <p>{f(1)}</p>", "View"),
        (
            "a.java",
            "class A { A() {} int m() { return 1; } enum E { X } }\ninterface I { void a(); }",
            "A A.A A.m A.E I I.a",
        ),
        ("a.go", "package a\ntype T struct { a int }\nfunc (t *T) M() int { return 1 }\nfunc F() {}", "T M F"),
        ("a.rs", "struct S;\nimpl S { fn m(&self) {} }\nfn f() {}\ntrait Q { fn a(&self); }", "S S.m f Q Q.a"),
        ("a.js", "function* g() {}\nexport default function h() {}\nclass C { get x() { return 1 } }", "g h C C.x"),
        ("a.pyi", "class C:\n    async def m(self): ...\n    def n(self): ...", "C C.m C.n"),
        ("a.c", "int main() { return 0; }", ""),
        ("a", "def f(): pass", ""),
    ],
)
def test_the_symbols_of_a_language(path: str, text: str, expected: str) -> None:
    assert [one.qualname for one in symbols(source(path, text))] == expected.split()


def source(path: str, text: str) -> Source:
    return Source(path, hashlib.sha1(text.encode("utf-8", "replace")).hexdigest(), text)


def test_code_that_is_nested_very_deeply_is_read() -> None:
    deep = source("deep.py", "x = " + "(" * 5000 + "y" + ")" * 5000 + "\ndef after(): pass\n")
    assert [one.name for one in symbols(deep)][-1:] in ([], ["after"])
    assert passages(deep)


@settings(deadline=None)
@given(st.text("def clas():\n \t\"'#\x0c\u2028éx=1@", max_size=300))
def test_passages_hold_every_line_once(text: str) -> None:
    for path in ("a.py", "a.txt"):
        found = passages(source(path, text))
        held = [number for one in found for number in range(one.first, one.last + 1)]
        lines = text.removesuffix("\n").split("\n")
        assert len(held) == len(set(held))
        assert {number for number, line in enumerate(lines, 1) if line.strip()} <= set(held)
        assert all(one.text == "\n".join(lines[one.first - 1 : one.last]) for one in found)
        assert all(one.last - one.first < LINES for one in found)
        assert uses(source(path, text), "x") is not None


# which tools an attempt has


def test_the_usual_tools_stay_and_lists_are_checked() -> None:
    usual = [tool.name for tool in TOOLS]
    assert [tool.name for tool in make_tools()] == usual == list(make_scaffold().tools)
    assert make_tools() == TOOLS
    assert [tool.name for tool in make_tools([DEFAULT, "find_class", "bash"])] == [*usual, "find_class"]
    assert [tool.name for tool in make_tools(["submit", "view_spans"])] == ["submit", "view_spans"]
    spec = EmbeddingsSpec("http://127.0.0.1:1/v1", "m")
    scaffold = make_scaffold(tools=(DEFAULT, "semantic_search"), embeddings=spec)
    assert scaffold.options == {"embeddings": "m"}
    refused: dict[str, Callable[[], object]] = {
        "--tools lacks submit": lambda: make_tools(["bash"]),
        "no tool 'find_clas'; did you mean find_class": lambda: make_tools(["submit", "find_clas"]),
        "--embeddings has no effect without the tool semantic_search": lambda: make_tools([], spec),
        "scaffold repair has a tool of its own": lambda: make_scaffold("repair", tools=("submit",)),
    }
    for message, make in refused.items():
        with pytest.raises(MonkeysError, match=message):
            make()
    with pytest.raises(Unsuited):
        make_scaffold("repair", embeddings=spec)


@pytest.mark.parametrize("form", ["native", "text", "structured"])
def test_a_scripted_attempt_uses_them_in_every_form(origin: Origin, form: str) -> None:
    calls = [
        ("find_function", {"name": "fine"}),
        ("view_spans", {"path": "shop/book.py", "spans": "Shelf"}),
        ("submit", {}),
    ]
    replies: dict[str, Callable[[str, Any], dict[str, Any]]] = {
        "native": lambda name, given: say((name, given)),
        "text": lambda name, given: {"content": f"```{name}\n{json.dumps(given) if given else ''}\n```"},
        "structured": lambda name, given: {"content": json.dumps({"action": {"tool": name, **given}})},
    }
    script = [{"role": "assistant", **replies[form](name, given)} for name, given in calls]

    async def main() -> str:
        async with workspace(origin) as room:
            scaffold = make_scaffold("tools", form, tools=(DEFAULT, "find_function", "view_spans"))
            trajectory = await play(room, Scripted(script), scaffold)
            assert trajectory.exit is Exit.SUBMITTED
            return json.dumps(trajectory.messages)

    told = asyncio.run(main())
    assert "[shop/broken.py:1-2 fine]" in told
    assert "[shop/book.py:14-16 Book.Shelf]" in told


# embeddings


class _Embedder(BaseHTTPRequestHandler):
    """Gives each text a vector: how often "refund", "price" and "def" are in it. A server of threads."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, self.headers["authorization"], body))  # type: ignore[attr-defined]
        status, answer = self.server.answer(body)  # type: ignore[attr-defined]
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def counted(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    vectors = [[*(float(text.count(word)) for word in ("refund", "price", "def")), 0.01] for text in body["input"]]
    data = [{"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(vectors)]
    return 200, {"object": "list", "model": "m", "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}


@contextmanager
def embedder(answer: Callable[[dict[str, Any]], tuple[int, Any]]) -> Iterator[tuple[str, list[Any]]]:
    """The address of a server of embeddings, and what it was asked."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Embedder) as server:
        server.daemon_threads = True
        server.asked, server.answer = [], answer  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1", server.asked  # type: ignore[attr-defined]
        finally:
            server.shutdown()
            thread.join()


def searched(origin: Origin, url: str, query: str) -> str:
    async def main() -> str:
        async with workspace(origin) as room:
            *_, tool = make_tools(["submit", "semantic_search"], EmbeddingsSpec(url, "m"))
            return await tool.act(room, {"query": query})

    return asyncio.run(main())


def test_a_server_of_embeddings_ranks_instead_of_words(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "the-model-s-key")
    monkeypatch.setenv("EMBEDDINGS_API_KEY", "the-other-key")
    with embedder(counted) as (url, asked):
        first = searched(origin, url, "a refund")
        assert first.startswith("[shop/book.py:19-21 total]")
        texts = len(asked[0][2]["input"])
        assert searched(origin, url, "the price").startswith("[shop/book.py:7-8 Book.__init__]")
        assert [(path, key) for path, key, _ in asked] == [("/v1/embeddings", "Bearer the-other-key")] * 2
        assert asked[0][2]["model"] == "m"
        assert (texts > 20, asked[1][2]["input"]) == (True, ["the price"])  # passages are asked for once


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ((500, {}), ModelUnavailable, "status 500"),
        ((200, {"object": "list", "data": []}), ModelUnavailable, "0 vectors came back for"),
        ((200, ["odd"]), ModelUnavailable, "cannot be read"),
        ((401, {"error": {"message": "no such key"}}), ModelRefused, "refused .401: .*no such key.*EMBEDDINGS_API_KEY"),
    ],
)
def test_a_server_of_embeddings_that_fails_is_no_observation(
    origin: Origin, answer: tuple[int, Any], kind: type[Exception], message: str
) -> None:
    with embedder(lambda body: answer) as (url, _), pytest.raises(kind, match=message):
        searched(origin, url, "a refund")


def test_an_attempt_without_its_embeddings_is_an_infra_error(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.index.embeddings.TRIES", 0)
    script = [say(("semantic_search", {"query": "refund"})), say(("submit", {}))]

    async def main() -> Trajectory:
        async with workspace(origin) as room:
            spec = EmbeddingsSpec("http://127.0.0.1:9/v1", "m")
            return await play(
                room, Scripted(script), make_scaffold(tools=(DEFAULT, "semantic_search"), embeddings=spec)
            )

    trajectory = asyncio.run(main())
    assert trajectory.exit is Exit.MODEL_FAILED
    assert trajectory.exit.infra
    assert "the embeddings of m at http://127.0.0.1:9/v1" in trajectory.detail

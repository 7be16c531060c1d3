"""What a run may spend: it stops there, goes on from there, and its money is right to the last turn."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from agent.agent import AttemptScope, AttemptSpec
from agent.limits import AttemptLimits
from agent.models import Reply
from agent.models.scripted import Scripted, say
from agent.trajectory import Exit, Message, Trajectory, Turn, Usage
from monkeys.events import Progress, RunBegan
from monkeys.executors.worker import Worker
from monkeys.formats.counts import run_counts
from monkeys.formats.export import outcomes
from monkeys.pricing.cost_report import attempt_dollars, cost_report, quotes_of
from monkeys.pricing.prices import PriceError, Quote, find_quote, served_at, tokens_of
from monkeys.report.summary import summarize
from monkeys.report.terminal.final_screen import render
from monkeys.report.terminal.live import frame, status
from monkeys.runner.budget import RunBudget, RunLimits, Spent
from monkeys.science.cost import CostError, Prices, TokenCounts
from monkeys.store import AttemptRow, Store, StoreError
from monkeys.text import money
from tasks import Submission, TaskSet, load_tasks
from tests.fault_server import FaultServer
from tests.helpers import attempt_scope, begins, git_repository, play, workspace

ROOT = Path(__file__).parents[3]
ID = "quick__ledger-1"
REQUEST = 1000 + 96 + 16  # tokens, of the largest that `FaultServer` answers
PRICES = "[tiny]\nprompt = 2.0\ncached = 0.5\ncompletion = 10.0\n"


@dataclass(frozen=True)
class Done:
    code: int
    said: str
    served: Usage


def job(
    *options: str,
    cwd: Path,
    server: FaultServer | None = None,
    kill_at: Callable[[Path], bool] | None = None,
) -> Done:
    """The main job as a person runs it, against a server that keeps its own books; `served` is of all its runs."""

    async def main() -> Done:
        books = server or FaultServer()
        async with books:
            where = () if "--model" in options else ("--model", "tiny", "--base-url", books.url)
            words = [sys.executable, "-m", "agent.swe", "--ids", ID, "--run", "run", *where, *options]
            unset = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "DOCKER_HOST")
            process = await asyncio.create_subprocess_exec(
                *words,
                cwd=cwd,
                env={key: value for key, value in os.environ.items() if key not in unset} | {"PYTHONPATH": str(ROOT)},
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
            if kill_at:
                async with asyncio.timeout(30):
                    while not kill_at(cwd / "runs/run"):
                        await asyncio.sleep(0.01)
                process.send_signal(signal.SIGKILL)
            said = (await asyncio.wait_for(process.communicate(), 60))[1].decode()
            assert process.returncode is not None
            return Done(process.returncode, said, books.served)

    return asyncio.run(main())


def rows(cwd: Path) -> list[AttemptRow]:
    store = Store.read(cwd / "runs/run")
    try:
        return list(store.attempts())
    finally:
        store.close()


def used(cwd: Path) -> Usage:
    return sum((row.usage for row in rows(cwd)), Usage())


def counted(cwd: Path) -> list[int]:
    return [row.index for row in rows(cwd) if not row.exit.infra]


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    path = tmp_path / "prices.toml"
    path.write_text(PRICES)
    return path


# limits of a run


def test_a_run_stops_at_its_tokens_and_goes_on_with_more_and_every_token_served_is_counted(tmp_path: Path) -> None:
    server, limit = FaultServer(), 30_000
    options = ("--attempts", "30", "--workers", "4")
    first = job(*options, "--max-tokens", str(limit), cwd=tmp_path, server=server)
    assert first.code == 3
    assert "stopped at --max-tokens 30.0 k: spent " in first.said
    assert first.said.rstrip().endswith("give the same command with a larger limit to go on")
    assert used(tmp_path) == first.served
    assert limit * 0.8 < first.served.total <= limit + 4 * REQUEST
    assert 0 < len(counted(tmp_path)) < 30
    assert all(row.outcome is not None for row in rows(tmp_path)), "what was sampled is verified all the same"
    store = Store.read(tmp_path / "runs/run")
    assert store.sessions()[0]["note"].startswith("stopped at --max-tokens")
    store.close()

    last = job(*options, "--max-tokens", "1000000", cwd=tmp_path, server=server)
    assert last.code == 0, last.said
    assert "stopped" not in last.said
    assert counted(tmp_path) == list(range(30))
    assert used(tmp_path) == last.served
    assert job(*options, "--max-tokens", "10", cwd=tmp_path).code == 0, "what is complete is not stopped"


def test_a_run_stops_at_its_money_which_each_session_counts_at_its_own_prices(tmp_path: Path, prices: Path) -> None:
    server, limit = FaultServer(), 0.012
    options = ("--attempts", "12", "--workers", "3", "--no-verify", "--prices", str(prices))
    first = job(*options, "--max-cost", str(limit), cwd=tmp_path, server=server)
    assert first.code == 3
    assert "prices $2 in, $0.5 cached, $10 out a million tokens (prices.toml)" in first.said
    assert "stopped at --max-cost $0.012: spent $0.0" in first.said
    assert "spent $0.0" in first.said.splitlines()[-2], "so does the line of progress"
    cost = Prices(2.0, 10.0, 0.5)
    paid = cost.dollars(tokens_of(first.served))
    assert limit * 0.8 < paid <= limit + 3 * cost.dollars(TokenCounts(REQUEST - 16, 900, 16))

    prices.write_text(PRICES.replace("10.0", "100.0"))
    last = job(*options, "--max-cost", "5", cwd=tmp_path, server=server)
    assert last.code == 0, last.said
    since = Usage(
        last.served.prompt - first.served.prompt,
        last.served.completion - first.served.completion,
        last.served.cached - first.served.cached,
    )
    store = Store.read(tmp_path / "runs/run")
    summary = summarize(store)
    assert summary.cost is not None
    assert summary.cost.total == pytest.approx(paid + Prices(2.0, 100.0, 0.5).dollars(tokens_of(since)))
    told = summary.to_json()["dollars"]
    assert told["an_attempt"] == pytest.approx(summary.cost.total / 12)
    assert told["a_solved_issue"] is None
    each = [attempt_dollars(store, row, quotes_of(store)) for row in store.attempts()]
    assert sum(filter(None, each)) == pytest.approx(summary.cost.total)
    assert run_counts(store, store.tallies()).costs == pytest.approx([summary.cost.total])
    outcomes(store, tmp_path / "out")
    header, row = (tmp_path / "out/outcomes.csv").read_text().split()
    assert header == "task,n,resolved,cost"
    assert float(row.rpartition(",")[2]) == pytest.approx(summary.cost.total, rel=1e-6)
    console = Console(record=True, width=100, file=open(os.devnull, "w"))  # noqa: SIM115
    render(summary, console)
    console.file.close()
    shown = console.export_text()
    assert f"money  {money(summary.cost.total)}   " in shown, shown
    store.close()


def test_what_was_spent_before_a_kill_counts_when_the_run_goes_on(tmp_path: Path) -> None:
    def begun(folder: Path) -> bool:
        try:
            store = Store.read(folder)
        except StoreError:
            return False
        done = sum(map(len, store.sampled().values()))
        store.close()
        return done >= 5

    options = ("--attempts", "500", "--workers", "2", "--no-verify", "--quiet")
    server = FaultServer()
    killed = job(*options, cwd=tmp_path, server=server, kill_at=begun)
    assert killed.code == -signal.SIGKILL
    before, known = used(tmp_path).total, counted(tmp_path)
    limit = before + 4 * REQUEST
    done = job(*options, "--max-tokens", str(limit), cwd=tmp_path, server=server)
    assert done.code == 3
    assert before <= used(tmp_path).total <= limit + 2 * REQUEST
    assert len(known) <= len(counted(tmp_path)) <= len(known) + 4


def test_time_that_is_up_breaks_off_what_is_under_way_and_it_is_sampled_anew(tmp_path: Path) -> None:
    script = tmp_path / "slow.json"
    script.write_text(json.dumps([say(("bash", {"command": "sleep 4"})), say(("submit", {}))]))
    options = ("--model", f"scripted:{script}", "--attempts", "4", "--workers", "2", "--no-verify")
    first = job(*options, "--max-time", "2s", cwd=tmp_path)
    assert first.code == 3
    assert "stopped at --max-time 0:02: spent 0:0" in first.said
    assert "prices" not in first.said, "a built-in model needs none"
    assert [(row.exit, row.index) for row in rows(tmp_path)] == [(Exit.CANCELLED, 0), (Exit.CANCELLED, 1)]
    store = Store.read(tmp_path / "runs/run")
    assert any("2 attempts cut short by a limit or an interruption" in note for note in summarize(store).notes)
    store.close()
    last = job(*options, "--max-time", "1h", cwd=tmp_path)
    assert last.code == 0, last.said
    assert counted(tmp_path) == list(range(4))


def test_a_limit_below_what_the_workers_hold_at_once_still_brings_attempts_to_their_end(tmp_path: Path) -> None:
    done = job("--attempts", "50", "--workers", "16", "--no-verify", "--max-tokens", "7000", cwd=tmp_path)
    assert done.code == 3
    assert len(counted(tmp_path)) == 3
    assert used(tmp_path).total <= 7000


def test_a_limit_that_no_attempt_fits_in_says_so(tmp_path: Path) -> None:
    done = job("--attempts", "5", "--no-verify", "--max-tokens", "500", cwd=tmp_path)
    assert done.code == 3
    assert "not even one fits, give a larger limit (one reply's limit is --max-completion-tokens)" in done.said
    assert counted(tmp_path) == []
    assert used(tmp_path) == done.served, "the one that was begun is on the books"


# limits of an attempt


def test_an_attempt_that_costs_too_much_ends_with_its_patch_and_counts(tmp_path: Path, prices: Path) -> None:
    done = job("--attempts", "2", "--prices", str(prices), "--max-attempt-cost", "0.0001", cwd=tmp_path)
    assert done.code == 0, done.said
    assert [(row.exit, row.turns, row.outcome) for row in rows(tmp_path)] == [(Exit.COST_LIMIT, 1, "unresolved")] * 2


# prices


def test_a_limit_in_dollars_without_prices_is_refused_before_anything_is_sampled(tmp_path: Path) -> None:
    for option in ("--max-cost", "--max-attempt-cost"):
        server = FaultServer()
        done = job(option, "5", cwd=tmp_path, server=server)
        assert done.code == 2
        assert done.said.startswith(f"error: {option} cannot be kept: no prices are known for 'tiny'")
        assert "--prices FILE" in done.said
        assert len(done.said.splitlines()) == 1
        assert server.requests == 0
    assert not (tmp_path / "runs").exists()


def test_a_served_model_without_prices_is_said_to_have_none(tmp_path: Path) -> None:
    served = job("--attempts", "1", "--no-verify", cwd=tmp_path)
    assert "no prices are known for 'tiny'" in served.said
    store = Store.read(tmp_path / "runs/run")
    assert summarize(store).cost is None
    assert summarize(store).to_json()["dollars"] is None
    store.close()


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("p.toml", "[tiny\n", "is not TOML"),
        ("p.json", "{", "is not JSON"),
        ("p.json", "[]", "has no entry 'tiny'"),
        ("p.json", '{"other": {"prompt": 1, "completion": 1}}', "has no entry 'tiny' (it has 'other')"),
        ("p.json", '{"tiny": {"prompt": 1}}', "give prompt and completion"),
        ("p.json", '{"tiny": {"prompt": 1, "completion": 1, "input": 1}}', "give prompt and completion"),
        ("p.json", '{"tiny": {"prompt": -1, "completion": 1}}', "must be a number from 0"),
        ("p.json", '{"tiny": {"prompt": "1", "completion": 1}}', "must be a number from 0"),
        ("p.json", '{"tiny": {"prompt": NaN, "completion": 1}}', "must be a number from 0"),
        ("p.json", '{"tiny": {"prompt": 1, "completion": 1, "longer": [{}]}}', "above"),
        ("p.json", '{"tiny": {"prompt": 1, "completion": 1, "longer": 3}}', "not iterable"),
    ],
)
def test_a_file_of_prices_that_is_broken_is_refused_with_what_is_wrong(
    tmp_path: Path, name: str, text: str, why: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(PriceError) as refused:
        find_quote("tiny", ["http://127.0.0.1:1/v1"], tmp_path / name)
    assert why in str(refused.value)
    assert name in str(refused.value)


def test_a_file_of_prices_that_is_missing_is_one_line_and_code_2(tmp_path: Path) -> None:
    done = job("--prices", "gone.toml", cwd=tmp_path)
    assert (done.code, done.said) == (2, "error: --prices gone.toml cannot be read (No such file or directory)\n")


def test_prices_survive_their_record_and_long_prompts_have_their_own(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    longer = [{"above": 1000, "prompt": 4, "completion": 20}]
    file.write_text(json.dumps({"tiny": {"prompt": 2, "completion": 10, "cached": 1, "longer": longer}}))
    quote = find_quote("tiny", [], file)
    assert quote is not None
    assert Quote.of(json.loads(json.dumps(quote.record()))) == quote
    assert quote.request(Usage(1000, 100, 500)) == pytest.approx((500 * 2 + 500 * 1 + 100 * 10) / 1e6)
    assert quote.request(Usage(1001, 100, 500)) == pytest.approx((1001 * 4 + 100 * 20) / 1e6)
    for wrong in ([(5, Prices(1, 1)), (5, Prices(1, 1))], [(-1, Prices(1, 1))], [(5, quote.prices)]):
        with pytest.raises(CostError):
            Prices(1, 1, longer=tuple(wrong))


def test_what_providers_publish_is_found_by_the_address_and_the_model_and_not_guessed() -> None:
    pytest.importorskip("genai_prices")
    quote = find_quote("gpt-4o", ["https://api.openai.com/v1"], None)
    assert quote is not None
    assert quote.source.startswith("openai/gpt-4o by genai-prices ")
    assert 0 < (quote.prices.cached or 0) < quote.prices.prompt < quote.prices.completion
    assert Quote.of(quote.record()) == quote
    claude = find_quote("claude-sonnet-4-5", ["https://api.anthropic.com/v1"], None)
    assert claude is not None
    assert claude.request(Usage(300_000, 1)) > 1.9 * claude.prices.dollars(TokenCounts(300_000, 0, 1))
    assert find_quote("gpt-4o", ["http://127.0.0.1:8000/v1"], None) is None
    assert find_quote("no such model", ["https://api.openai.com/v1"], None) is None
    assert find_quote("gpt-4o", ["https://api.openai.com/v1", "http://127.0.0.1:8000/v1"], None) is None
    assert find_quote("gpt-4o", [], None) is None


def test_a_model_is_asked_at_the_usual_address_if_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert served_at(None) == ("https://api.openai.com/v1",)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://there/v1")
    assert served_at(None) == ("http://there/v1",)
    assert served_at(["http://a/v1", "http://b/v1"]) == ("http://a/v1", "http://b/v1")


# the arithmetic


USAGES = st.builds(
    lambda prompt, completion, cached: Usage(prompt, completion, min(prompt, cached)),
    st.integers(0, 500_000),
    st.integers(0, 20_000),
    st.integers(0, 500_000),
)
RATES = st.floats(0, 100, allow_nan=False)
FLAT = st.builds(Prices, RATES, RATES, st.none() | RATES)
TIERED = st.builds(
    lambda prices, tiers: Prices(prices.prompt, prices.completion, prices.cached, longer=tuple(sorted(tiers.items()))),
    FLAT,
    st.dictionaries(st.integers(0, 500_000), FLAT, max_size=3),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(USAGES, max_size=10), FLAT)
def test_the_parts_cost_what_their_sum_costs(usages: list[Usage], prices: Prices) -> None:
    parts = [prices.dollars(tokens_of(usage)) for usage in usages]
    assert math.fsum(parts) == pytest.approx(prices.dollars(tokens_of(sum(usages, Usage()))), rel=1e-9, abs=1e-12)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from([Exit.SUBMITTED, Exit.MODEL_FAILED]),
            st.lists(USAGES, max_size=4),
            USAGES,
        ),
        max_size=6,
    ),
    st.tuples(TIERED, TIERED),
)
def test_the_budget_the_report_and_the_attempts_agree_to_the_cent(
    tries: list[tuple[int, Exit, list[Usage], Usage]], prices: tuple[Prices, Prices]
) -> None:
    tasks = load_tasks("quick").select([ID, "quick__spans-1"])
    with tempfile.TemporaryDirectory() as folder:
        total, index = 0.0, 0
        for quote in (Quote(prices[0], "then"), Quote(prices[1], "now")):
            store = Store.write(Path(folder) / "run", {}, tasks, {"prices": quote.record()})
            budget = RunBudget(RunLimits(), AttemptLimits(), quote, Spent(dollars=total))
            for task, exit, requests, wasted in tries:
                one = UnderWay(budget)
                for usage in requests:
                    one.charge(usage)
                one.scope.budget.bill(wasted)
                turns = tuple(Turn(0, usage, 0.0, 0.0) for usage in requests)
                trajectory = Trajectory(exit, (), turns, Submission(b""), 1.0, "", wasted)
                budget.settle(one.account, trajectory)
                store.record_attempt(AttemptSpec(tasks.tasks[task].id, index, 0), trajectory)
                index += 1
            total = budget.dollars
            report, quotes = cost_report(store), quotes_of(store)
            each = [attempt_dollars(store, row, quotes) for row in store.attempts()]
            store.close()
            assert report is not None
            assert report.total == pytest.approx(total, rel=1e-9, abs=1e-9)
            assert sum(one for one in each if one is not None) == pytest.approx(total, rel=1e-9, abs=1e-9)


def test_a_session_without_prices_takes_those_of_the_last_that_has_some(tmp_path: Path) -> None:
    tasks = TaskSet("one", load_tasks("quick").tasks[:1])
    record = Quote(Prices(1, 2), "file").record()
    for index, environment in enumerate([{}, {"prices": record}, {}]):
        store = Store.write(tmp_path / "run", {}, tasks, environment)
        turn = Turn(0, Usage(1_000_000, 1_000_000), 0.0, 0.0)
        trajectory = Trajectory(Exit.SUBMITTED, (), (turn,), Submission(b""), 1.0)
        store.record_attempt(AttemptSpec(tasks.tasks[0].id, index, 0), trajectory)
        report = cost_report(store)
        assert (report is None) == (index == 0)
        store.close()
    assert report is not None
    assert report.total == pytest.approx(9.0)


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        (0, "$0.00"),
        (0.0042, "$0.0042"),
        (0.0999, "$0.10"),
        (4.934, "$4.93"),
        (1234.5, "$1,234.50"),
        (1e-5, "$0.000010"),
    ],
)
def test_money_is_written_as_people_write_it(dollars: float, text: str) -> None:
    assert money(dollars) == text


# the budget and the screen


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


SPEC = AttemptSpec("task", 0, 0)


class UnderWay:
    """An attempt under way, with its account in the budget of the run, as an executor connects the two."""

    def __init__(self, budget: RunBudget) -> None:
        self.account = budget.account()
        worker = Worker({}, agent=None, model=None, verifier=None, backend=None, limits=None, quote=budget.quote)
        self.scope = worker.scope(SPEC, self.account.paid)
        self.account.on_close(lambda at_once: self.scope.close(at_once=at_once))

    def charge(self, usage: Usage) -> None:
        self.scope.budget.charge(usage)


def attempt(seconds: float = 1.0, exit: Exit = Exit.SUBMITTED) -> Trajectory:
    return Trajectory(exit, (), (), Submission(b""), seconds)


def test_no_attempt_starts_that_is_expected_to_go_over_and_one_that_ends_early_makes_room() -> None:
    async def main() -> None:
        progress = Progress()
        budget = RunBudget(RunLimits(tokens=350), AttemptLimits(tokens=200), events=progress.take)
        first = UnderWay(budget)
        second = asyncio.create_task(budget.room())  # one may use 200, and two 400
        await asyncio.sleep(0)
        assert not second.done()
        first.charge(Usage(90, 10))
        budget.settle(first.account, attempt())
        assert await second  # one attempt took 100
        both = [UnderWay(budget), UnderWay(budget)]
        third = asyncio.create_task(budget.room())
        await asyncio.sleep(0)
        assert not third.done()
        for one in both:
            one.charge(Usage(50))
            budget.settle(one.account, attempt())
        assert await third
        assert budget.stopped == ""
        last = UnderWay(budget)
        last.charge(Usage(150))
        assert last.scope.budget.closed
        assert not await budget.room()
        assert progress.spending == ["350 of 350 tokens"]

    asyncio.run(main())


def test_an_attempt_that_begins_after_the_limit_was_reached_samples_nothing() -> None:
    budget = RunBudget(RunLimits(tokens=10), AttemptLimits(tokens=10))
    UnderWay(budget).charge(Usage(10))
    assert UnderWay(budget).scope.budget.closed


def test_before_any_attempt_is_over_each_is_expected_to_cost_all_that_its_tokens_may() -> None:
    async def main() -> int:
        quote = Quote(Prices(1, 10, longer=((100, Prices(2, 20)),)), "file")
        budget = RunBudget(RunLimits(dollars=100), AttemptLimits(tokens=1_000_000), quote)
        begun = 0
        while True:
            room = asyncio.create_task(budget.room())
            await asyncio.sleep(0)
            if not room.done():
                room.cancel()
                return begun
            budget.account()
            begun += 1

    assert asyncio.run(main()) == 5


def test_no_attempt_starts_that_the_time_left_is_too_short_for() -> None:
    async def main() -> None:
        clock = Clock()
        budget = RunBudget(RunLimits(seconds=100), AttemptLimits(), before=Spent(attempts=2, seconds=60), clock=clock)
        clock.now = 60
        assert await budget.room()
        clock.now = 75
        assert not await budget.room()
        assert budget.stopped.startswith("stopped at --max-time 1:40: spent 1:15 in 2 attempts")

    asyncio.run(main())


def test_an_attempt_is_broken_off_also_while_it_waits_for_a_server_and_not_after_its_end(tmp_path: Path) -> None:
    class Away(Scripted):
        async def reply(
            self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
        ) -> Reply:
            if scope.spec.task == "away":
                with scope.paused():
                    waiting.set()
                    await asyncio.sleep(100)
            return Reply(say(("submit", {})))

    async def main() -> None:
        origin = git_repository(tmp_path / "repository", {"old.txt": b"old"})
        away, prompt = attempt_scope("away"), attempt_scope("prompt")
        async with workspace(origin) as room:
            played = asyncio.create_task(play(room, Away([]), begins([]), away))
            await waiting.wait()
            away.close(at_once=True)
            assert (await played).exit is Exit.CANCELLED
            assert (await play(room, Away([]), begins([]), prompt)).exit is Exit.SUBMITTED
            prompt.close(at_once=True)
            assert (await play(room, Away([]), begins([]), prompt)).exit is Exit.CANCELLED

    waiting = asyncio.Event()
    asyncio.run(main())


def test_the_display_and_the_lines_say_what_was_spent_of_how_much() -> None:
    progress = Progress(clock=Clock())
    progress.take(RunBegan("run", tuple(f"issue-{number}" for number in range(50)), 3))
    assert "spent" not in status(progress)
    for row in progress.tasks.values():
        row.sampled = 1
    height = len(frame(progress, "title", 80, 24))
    quote = Quote(Prices(1, 10), "file")
    RunBudget(
        RunLimits(5.0, 2_000_000, 7200), AttemptLimits(), quote, Spent(1_000_000, 1.25), Clock(), events=progress.take
    )
    assert "spent $1.25 of $5.00, 1.0 M of 2.0 M tokens, 0:00 of 2:00:00" in status(progress)
    lines = frame(progress, "title", 80, 24)
    assert len(lines) == height
    assert lines[-1] == [(" spent ", "dim"), ("$1.25 of $5.00   1.0 M of 2.0 M tokens   0:00 of 2:00:00", "bold")]
    assert sum(len(text) for text, _ in frame(progress, "title", 40, 24)[-1]) <= 40


@pytest.mark.parametrize(
    "words", [("--max-time", "soon"), ("--max-cost", "0"), ("--max-tokens", "1.5"), ("--max-time", "m")]
)
def test_a_limit_that_is_none_is_refused(words: Sequence[str], tmp_path: Path, capsys: Any) -> None:
    from agent.swe import main

    with pytest.raises(SystemExit) as end:
        main([*words, "--runs", str(tmp_path)])
    assert end.value.code == 2
    assert words[0] in capsys.readouterr().err

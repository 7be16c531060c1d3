"""Selection without a verdict: patches told apart, rules, their evaluation, imperfect verifiers, models that judge."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monkeys.commands.analyses.judge_server import JudgeServer
from monkeys.science.coverage import CoverageError, pass_at_k
from monkeys.science.selection import (
    Agreement,
    Best,
    Candidates,
    Plurality,
    Random,
    Rule,
    SelectionError,
    Top,
    Tournament,
    best_stop,
    classes_of,
    evaluate,
    final_answer,
    normalised,
    normalised_answer,
    share_of_correct,
    verified,
    verifier_rates,
    votes,
)
from monkeys.science.selection.judging import AnswerCache, JudgeError, Judging
from tests.helpers import Answer, ChatServer, said

# Patches


def patch(hunk: str, path: str = "x/a.py") -> str:
    return f"diff --git a/{path} b/{path}\nindex 1..2 100644\n--- a/{path}\n+++ b/{path}\n{hunk}"


PLAIN = patch("@@ -1,4 +1,4 @@\n def f(x):\n-    return x\n+    return x + 1\n \n y = 2\n")
SAME = {
    "a trailing comment": "@@ -1,4 +1,4 @@\n def f(x):\n-    return x\n+    return x + 1  # for luck\n \n y = 2\n",
    "other spaces": "@@ -1,4 +1,4 @@\n def f(x):\n-    return x\n+    return x+1 \n \n y = 2\n",
    "less context": "@@ -2 +2 @@\n-    return x\n+    return x + 1\n",
    "a comment of its own": "@@ -1,4 +1,6 @@\n def f(x):\n-    return x\n+    # why\n+\n+    return x + 1\n \n y = 2\n",
    "carriage returns": "@@ -2 +2 @@\r\n-    return x\r\n+    return x + 1\r\n",
    "a comment elsewhere": "@@ -1,4 +1,5 @@\n+# first\n def f(x):\n-    return x\n+    return x + 1\n \n y = 2\n",
}
OTHER = {
    "another value": "@@ -2 +2 @@\n-    return x\n+    return x + 2\n",
    "another line": "@@ -7 +7 @@\n-    return x\n+    return x + 1\n",
    "another depth": "@@ -2 +2 @@\n-    return x\n+        return x + 1\n",
    "a sign in a string": "@@ -2 +2 @@\n-    return x\n+    return x + '1  # for luck'\n",
    "words that are parted": "@@ -2 +2 @@\n-    return x\n+    returnx + 1\n",
}


@pytest.mark.parametrize("hunk", SAME.values(), ids=SAME)
def test_patches_that_differ_in_comments_and_white_space_alone_are_the_same(hunk: str) -> None:
    assert normalised(patch(hunk)) == normalised(PLAIN)


@pytest.mark.parametrize("hunk", OTHER.values(), ids=OTHER)
def test_patches_that_do_something_else_are_told_apart(hunk: str) -> None:
    assert normalised(patch(hunk)) != normalised(PLAIN)


def test_a_patch_of_comments_alone_is_the_empty_patch() -> None:
    hunk = "@@ -1,3 +1,4 @@\n def f(x):\n-    return x # old\n+    # new\n+    return x\n \n"
    assert normalised(patch(hunk)) == ""
    assert normalised("") == normalised(b"") == ""


def test_the_order_of_files_does_not_count_and_their_names_do() -> None:
    hunk = "@@ -1 +1 @@\n-a\n+b\n"
    one, two = patch(hunk, "a.py"), patch(hunk, "b.py")
    assert normalised(one + two) == normalised(two + one)
    assert normalised(one) != normalised(two)


def test_comments_are_those_of_the_language() -> None:
    def changed(line: str, path: str) -> str:
        return normalised(patch(f"@@ -1 +1 @@\n-a\n+{line}\n", path))

    assert changed("b; // c", "a.js") == changed("b;", "a.js") == changed("b; /* c */", "a.js")
    assert changed("b // c", "a.py") != changed("b", "a.py")
    assert changed("b # c", "a.md") != changed("b", "a.md")


def test_new_deleted_renamed_and_binary_files_are_changes() -> None:
    new = "diff --git a/n.py b/n.py\nnew file mode 100644\n--- /dev/null\n+++ b/n.py\n@@ -0,0 +1 @@\n+x = 1\n"
    gone = "diff --git a/n.py b/n.py\ndeleted file mode 100644\n--- a/n.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-x = 1\n"
    moved = "diff --git a/n.py b/m.py\nsimilarity index 100%\nrename from n.py\nrename to m.py\n"
    binary = "diff --git a/n b/n\nindex 1..2 100644\nGIT binary patch\nliteral 3\nKcmZ\n\n"
    assert len({normalised(each) for each in ("", new, gone, moved, binary, binary.replace("Kc", "Kd"))}) == 6


def test_a_removed_line_of_dashes_is_no_header() -> None:
    text = patch("@@ -1,2 +1,2 @@\n--- x\n+++ y\n z\n")
    assert normalised(text) == "x/a.py\n-1 --x\n+0 ++y"


@given(st.binary(max_size=300))
def test_any_bytes_have_a_normal_form(data: bytes) -> None:
    assert isinstance(normalised(data), str)


# Answers


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("so 3 and\n#### $1,234.", "1234"),
        (r"thus \boxed{1} or \boxed{\dfrac{1}{2}} .", r"\frac{1}{2}"),
        ("Final Answer: The final answer is $x^2 + 1$. I hope it is correct.", "x^2+1"),
        (r"\boxed{\text{no}}", "no"),
        ("I do not know", None),
        (r"\boxed{1", None),
    ],
)
def test_the_answer_is_found_where_prompts_ask_for_it(completion: str, answer: str | None) -> None:
    assert normalised_answer(final_answer(completion)) == answer


def test_classes_are_numbered_by_first_appearance_and_nothing_is_of_none() -> None:
    assert classes_of(["b", "a", None, "b", ""]).tolist() == [0, 1, -1, 0, -1]
    assert classes_of(["1/2", "x", ".5"], lambda a, b: {a, b} == {"1/2", ".5"}).tolist() == [0, 1, 0]


# Rules


def chosen(rule: Rule, task: Candidates, drawn: Sequence[int] | None = None) -> list[float]:
    rows = np.array([range(task.n) if drawn is None else drawn])
    weights: list[float] = rule.weigh(task, rows, np.ones(rows.shape, np.bool_))[0].tolist()
    return weights


def task(correct: Sequence[int], classes: Sequence[int] | None = None, **scores: Sequence[float]) -> Candidates:
    return Candidates(
        "t",
        np.array(correct, np.bool_),
        None if classes is None else np.array(classes),
        {name: np.array(values, np.float64) for name, values in scores.items()},
    )


def test_plurality_shares_ties_and_gives_no_vote_to_nothing() -> None:
    candidates = task([0] * 6, [0, 0, 1, 1, 2, -1])
    assert chosen(Plurality(), candidates) == [0.25, 0.25, 0.25, 0.25, 0, 0]
    assert chosen(Plurality(), candidates, [2, 3, 0]) == [0.5, 0.5, 0]
    assert chosen(Plurality(), task([0, 0], [-1, -1])) == [0.5, 0.5]


def test_weighted_plurality_counts_scores_and_refuses_those_below_nothing() -> None:
    candidates = task([0] * 4, [0, 0, 1, -1], reward=[0.2, 0.3, 0.9, 5.0])
    assert chosen(Plurality("reward"), candidates) == [0, 0, 1, 0]
    with pytest.raises(SelectionError, match="scores below 0"):
        chosen(Plurality("reward"), task([0], [0], reward=[-1.0]))


def test_best_takes_the_highest_or_lowest_and_one_without_a_score_last() -> None:
    candidates = task([0] * 4, reward=[1.0, math.nan, 3.0, 3.0])
    assert chosen(Best("reward"), candidates) == [0, 0, 0.5, 0.5]
    assert chosen(Best("reward", least=True), candidates) == [1, 0, 0, 0]
    assert chosen(Best("reward"), candidates, [1]) == [1]


def test_top_keeps_all_that_tie_with_the_last_and_hands_them_on() -> None:
    candidates = task([0] * 5, votes=[5, 3, 3, 3, 1], length=[9, 8, 7, 8, 1])
    assert chosen(Top("votes", 2, Best("length", least=True)), candidates) == [0, 0, 1, 0, 0]
    assert chosen(Top("votes", 1, Best("length", least=True)), candidates) == [1, 0, 0, 0, 0]
    agentless = Top("regression", 1, Plurality())
    assert chosen(agentless, task([0] * 4, [0, 0, 1, 2], regression=[-1, -1, 0, 0])) == [0, 0, 0.5, 0.5]


def test_a_tournament_is_won_by_the_most_wins() -> None:
    table = np.array([[0.5, 0.9, 0.6], [0.1, 0.5, 0.8], [0.4, 0.2, 0.5]])
    candidates = Candidates("t", np.zeros(3, np.bool_), preferences=table)
    assert chosen(Tournament(), candidates) == [1, 0, 0]
    assert chosen(Tournament(), candidates, [1, 2]) == [1, 0]
    nobody = Candidates("t", np.zeros(2, np.bool_), preferences=np.full((2, 2), np.nan))
    assert chosen(Tournament(), nobody) == [0.5, 0.5]


def test_votes_are_of_tests_that_fail_before_the_change() -> None:
    passes = [[1, 1, 0], [1, 0, 0], [1, 1, 1]]
    assert votes(passes).tolist() == [3, 2, 1]
    assert votes(passes, before=[0, 0, 1]).tolist() == [2, 1, 0]


RULES = (
    Random(),
    Plurality(),
    Plurality("reward"),
    Best("reward"),
    Best("reward", least=True),
    Top("reward", 2, Plurality()),
    Tournament(),
)


@given(st.data())
def test_every_rule_gives_probabilities_to_what_is_allowed(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 8))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    table = rng.random((n, n))
    candidates = Candidates(
        "t",
        rng.random(n) < 0.5,
        rng.integers(-1, 3, n),
        {"reward": np.where(rng.random(n) < 0.2, np.nan, rng.integers(0, 3, n))},
        np.where(table < 0.2, np.nan, table),
    )
    k = data.draw(st.integers(1, n))
    drawn = rng.permuted(np.tile(np.arange(n), (5, 1)), axis=1)[:, :k]
    allowed = rng.random(drawn.shape) < 0.7
    allowed[~allowed.any(axis=1)] = True
    for rule in RULES:
        weights = rule.weigh(candidates, drawn, allowed)
        assert weights.shape == drawn.shape
        assert (weights >= 0).all()
        assert not weights[~allowed].any()
        assert weights.sum(axis=1) == pytest.approx(1)


# Evaluation


def test_evaluation_is_the_mean_over_all_subsets() -> None:
    """Against every subset of one small task."""
    candidates = task([1, 0, 0, 1, 0], [0, 1, 1, 2, 1], reward=[0.9, 0.2, 0.3, 0.5, 0.8])
    rules: list[Rule] = [Random(), Plurality(), Best("reward")]
    found = evaluate(rules, [candidates], [3], subsets=4000)
    for curve, rule in zip(found.curves, rules, strict=True):
        exact = np.mean(
            [
                np.dot(chosen(rule, candidates, subset), candidates.correct[list(subset)])
                for subset in itertools.combinations(range(5), 3)
            ]
        )
        assert curve.mean[0] == pytest.approx(exact, abs=0.03)
    assert found.coverage == (pass_at_k(5, 2, 3),)


def made(tasks: int, n: int, seed: int = 0) -> list[Candidates]:
    """Tasks of all difficulties with wrong answers that agree, and a reward that knows a little."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(tasks):
        correct = rng.random(n) < rng.beta(0.4, 1.5)
        answers = np.where(correct, 0, 1 + np.minimum(rng.zipf(1.7, n), 30))
        reward = np.clip(rng.normal(0.5 + 0.15 * correct, 0.2), 0, 1)
        found.append(Candidates(f"t{number}", correct, classes_of(answers.tolist()), {"reward": reward}))
    return found


def test_rules_stay_between_nothing_and_coverage_and_plurality_levels_off() -> None:
    rules: list[Rule] = [Random(), Plurality(), Best("reward"), Plurality("reward")]
    found = evaluate(rules, made(60, 200))
    for curve in found.curves:
        assert all(
            0 <= mean <= oracle + 3 * by
            for mean, by, oracle in zip(curve.mean, curve.deviation, found.coverage, strict=True)
        )
        assert found.gap(curve)[-1] == pytest.approx(found.coverage[-1] - curve.mean[-1])
        assert curve.deviation[-1] == pytest.approx(0, abs=1e-12), "all subsets of all candidates are the same"
    random, plurality, *_ = found.curves
    assert random.mean == pytest.approx([found.coverage[0]] * len(found.ks), abs=0.05)
    late = found.ks.index(100)
    assert plurality.mean[-1] - plurality.mean[late] < 0.02 < found.coverage[-1] - found.coverage[late]


def test_the_same_seed_gives_the_same_curves_and_another_one_others() -> None:
    tasks = made(10, 30)
    once, again, other = (evaluate([Plurality()], tasks, [5], seed=seed) for seed in (1, 1, 2))
    assert once == again
    assert once.curves != other.curves


def test_the_share_of_correct_samples_shows_what_plurality_cannot_find() -> None:
    easy, hard, never = task([1, 1, 0], [0, 0, 1]), task([1, 0, 0], [0, 1, 1]), task([0, 0], [0, 0])
    shares = share_of_correct([never, hard, easy])
    assert [(round(one.share, 3), one.plurality) for one in shares] == [(0.667, 1.0), (0.333, 0.0), (0.0, 0.0)]


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: evaluate([], [task([1])]), "nothing to evaluate"),
        (lambda: evaluate([Random()], []), "nothing to evaluate"),
        (lambda: evaluate([Random()], [task([1])], subsets=1), "at least 2 subsets"),
        (lambda: evaluate([Best("reward")], [task([1], votes=[1.0])]), r"no scores 'reward' \(there are votes\)"),
        (lambda: evaluate([Plurality()], [task([1])]), "no classes"),
        (lambda: evaluate([Tournament()], [task([1])]), "no preferences"),
        (lambda: evaluate([Top("reward", 0, Random())], [task([1], reward=[1.0])]), "top 0"),
        (lambda: task([]), "no candidates"),
        (lambda: task([1, 0], [0]), "classes has shape"),
        (lambda: task([1, 0], reward=[1.0]), "reward has shape"),
        (lambda: Candidates("t", np.ones(2, np.bool_), preferences=np.ones((2, 3))), "2 by 2"),
        (lambda: share_of_correct([]), "no tasks"),
        (lambda: votes([1, 0]), "a row a test"),
        (lambda: votes([[1, 0]], before=[1, 0]), "one value a test"),
    ],
)
def test_what_no_rule_can_choose_from_is_refused_in_one_line(attempt: Callable[[], Any], message: str) -> None:
    with pytest.raises(SelectionError, match=message) as refusal:
        attempt()
    assert "\n" not in str(refusal.value)


def test_more_candidates_than_there_are_or_none_are_refused() -> None:
    for k, message in ((3, "more than the attempts on t"), (0, "k >= 1")):
        with pytest.raises(CoverageError, match=message):
            evaluate([Random()], [task([1, 0])], [k])


# Imperfect verifiers


def test_a_perfect_verifier_reaches_coverage() -> None:
    found = verified([0.1, 0.5], [0, 1, 10], fpr=0.0)
    assert found.correct == pytest.approx([0, 0.3, (2 - 0.9**10 - 0.5**10) / 2])
    assert found.wrong == pytest.approx([0, 0, 0])
    assert found.attempts[2] == pytest.approx(((1 - 0.9**10) / 0.1 + (1 - 0.5**10) / 0.5) / 2)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.integers(0, 6))
def test_what_is_handed_in_is_that_of_trying_step_by_step(p: float, fpr: float, tpr: float, k: int) -> None:
    still, correct, wrong, attempts = 1.0, 0.0, 0.0, 0.0
    for _ in range(k):
        attempts += still
        correct += still * p * tpr
        wrong += still * (1 - p) * fpr
        still *= 1 - p * tpr - (1 - p) * fpr
    found = verified([p], [k], fpr=fpr, tpr=tpr)
    assert found.correct[0] == pytest.approx(correct, abs=1e-9)
    assert found.wrong[0] == pytest.approx(wrong, abs=1e-9)
    assert found.nothing[0] == pytest.approx(still, abs=1e-9)
    assert found.attempts[0] == pytest.approx(attempts, abs=1e-9)


def test_false_positives_make_the_best_k_finite() -> None:
    p = np.random.default_rng(0).beta(0.3, 2, 500)
    stop = best_stop(p, fpr=0.05, wrong_costs=1.0)
    worth = [
        one - two
        for one, two in zip(
            *(getattr(verified(p, range(200), fpr=0.05), side) for side in ("correct", "wrong")), strict=True
        )
    ]
    assert stop.k == int(np.argmax(worth)) > 1
    assert stop.worth == pytest.approx(max(worth))
    assert not stop.at_limit
    assert best_stop(p, fpr=0.2, wrong_costs=1.0).k < stop.k, "the worse the verifier, the sooner to stop"
    assert best_stop(p, fpr=0.0, wrong_costs=1.0, largest=500).at_limit
    assert best_stop([0.0], fpr=0.5).k == 0
    assert best_stop(p, fpr=0.0, attempt_costs=0.05).k < 30


def test_mass_and_rates_may_be_given_for_each_task() -> None:
    twice = verified([0.2, 0.2, 0.7], [3], fpr=[0.1, 0.1, 0.4])
    weighted = verified([0.2, 0.7], [3], fpr=[0.1, 0.4], weights=[2, 1])
    assert twice.correct == pytest.approx(weighted.correct)


def test_rates_of_a_verifier_are_shares_of_what_is_known() -> None:
    assert verifier_rates([1, 1, 0, 0], [1, 0, 0, 1]) == (0.5, 0.5)
    assert math.isnan(verifier_rates([1], [1])[1])


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: verified([1.5], [1], fpr=0.1),
        lambda: verified([math.nan], [1], fpr=0.1),
        lambda: verified([], [1], fpr=0.1),
        lambda: verified([0.5], [-1], fpr=0.1),
        lambda: verified([0.5], [1], fpr=7.8),
        lambda: verified([0.5], [1], fpr=0.1, weights=[0]),
        lambda: best_stop([0.5], fpr=0.1, wrong_costs=-1),
        lambda: verifier_rates([1], [1, 0]),
    ],
)
def test_what_is_no_probability_is_refused(attempt: Callable[[], Any]) -> None:
    with pytest.raises(SelectionError):
        attempt()


# Models that judge, behind a real server


def logprobs(**words: float) -> dict[str, Any]:
    top = [{"token": word, "logprob": math.log(p)} for word, p in words.items()]
    body = said(next(iter(words)))
    body["choices"][0]["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
    return body


async def judged(server: ChatServer, ask: Callable[[Judging], Awaitable[Any]], ledger: AnswerCache) -> tuple[Any, int]:
    async with JudgeServer("judge", server.url, None, retry_seconds=0.2, backoff_seconds=0.001) as client:
        judging = Judging(client, ledger, at_once=1)
        return await ask(judging), judging.asked


def test_a_judge_s_yes_is_a_probability_and_is_asked_once_for_equal_candidates() -> None:
    async def ask() -> None:
        async with ChatServer(
            Answer(body=logprobs(YES=0.6, No=0.2, Maybe=0.2)), Answer(body=logprobs(no=0.9))
        ) as server:
            ledger = AnswerCache()
            answers, asked = await judged(server, lambda j: j.yes("the issue", ["a", "b", "a"]), ledger)
            assert answers.tolist() == pytest.approx([0.75, 0.0, 0.75])
            assert asked == len(server.requests) == len(ledger) == 2
            body = server.requests[0].body
            assert (body["model"], body["logprobs"], body["max_tokens"]) == ("judge", True, 1)
            assert "the issue" in body["messages"][0]["content"]

    asyncio.run(ask())


def test_a_judge_that_says_neither_has_no_answer_and_words_will_do_without_probabilities() -> None:
    async def ask() -> None:
        async with ChatServer(Answer(body=logprobs(Perhaps=1.0)), Answer(body=said("Yes."))) as server:
            answers, _ = await judged(server, lambda j: j.yes("i", ["caf\udce9", "b"]), AnswerCache())
            assert math.isnan(answers[0])
            assert answers[1] == 1.0

    asyncio.run(ask())


def test_pairs_are_asked_in_both_orders_and_the_bias_to_the_first_cancels() -> None:
    async def ask() -> None:
        async with ChatServer(Answer(body=logprobs(A=0.8, B=0.2))) as server:
            table, asked = await judged(server, lambda j: j.preferences("i", ["x", "y", "x"]), AnswerCache())
            assert asked == 2
            assert table.tolist() == [pytest.approx([0.5] * 3)] * 3

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("path", "answer", "reward"),
    [
        ("/score", {"data": [{"index": 0, "object": "score", "score": 0.7}]}, 0.7),
        ("/classify", {"data": [{"index": 0, "label": "good", "probs": [0.1, 0.9], "num_classes": 2}]}, 0.9),
        ("/pooling", {"data": [{"index": 0, "object": "pooling", "data": [[0.3], [-1.5]]}]}, -1.5),
        ("/pooling", {"data": [{"index": 0, "object": "pooling", "data": [0.25]}]}, 0.25),
    ],
)
def test_a_reward_model_is_asked_beside_the_v1_root(path: str, answer: Any, reward: float) -> None:
    async def ask() -> None:
        async with ChatServer(Answer(body=answer)) as server:
            scores, _ = await judged(server, lambda j: j.rewards("issue", ["fix"], path), AnswerCache())
            assert scores.tolist() == [reward]
            (request,) = server.requests
            assert request.path == path
            texts = request.body.get("messages") or [request.body["text_1"], request.body["text_2"]]
            assert len(texts) == 2

    asyncio.run(ask())


def test_what_was_answered_is_kept_and_not_asked_again_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"

    async def ask(candidates: list[str]) -> tuple[list[float], int]:
        async with ChatServer(Answer(body=logprobs(yes=0.5, no=0.5))) as server:
            ledger = AnswerCache(path)
            answers, asked = await judged(server, lambda j: j.yes("i", candidates), ledger)
            ledger.close()
            return answers.tolist(), asked

    assert asyncio.run(ask(["a", "b"])) == ([0.5, 0.5], 2)
    path.write_bytes(path.read_bytes()[:-10])  # killed in the middle of a line
    assert asyncio.run(ask(["a", "b", "c"])) == ([0.5] * 3, 2)
    assert asyncio.run(ask(["a", "b", "c"])) == ([0.5] * 3, 0)
    assert sum(1 for line in path.read_text().splitlines() if line.endswith("}") and json.loads(line)) == 3


def test_a_server_that_stumbles_is_asked_again_and_one_that_refuses_is_named() -> None:
    async def ask() -> None:
        busy = Answer(503, {"error": {"message": "busy"}}, headers={"retry-after-ms": "1"})
        async with ChatServer(busy, Answer(body=logprobs(yes=1.0))) as server:
            answers, _ = await judged(server, lambda j: j.yes("i", ["a"]), AnswerCache())
            assert answers.tolist() == [1.0]
        async with ChatServer(Answer(404, {"error": {"message": "no such model"}})) as server:
            with pytest.raises(JudgeError, match=r"'judge': HTTP 404: no such model"):
                await judged(server, lambda j: j.yes("i", ["a", "b", "c"]), AnswerCache())
        async with ChatServer(Answer(body={"choices": []})) as server:
            with pytest.raises(JudgeError, match="not a chat completion"):
                await judged(server, lambda j: j.yes("i", ["a"]), AnswerCache())
        async with ChatServer() as server:
            with pytest.raises(JudgeError, match="choose from /score"):
                await judged(server, lambda j: j.rewards("i", ["a"], "/rank"), AnswerCache())

    asyncio.run(ask())


def test_a_judge_s_request_is_written_as_the_server_wants_it() -> None:
    """As that of any other model: some servers know another name of the limit."""

    async def ask() -> None:
        other = Answer(
            400, {"error": {"message": "'max_tokens' is not supported, use 'max_completion_tokens' instead"}}
        )
        async with ChatServer(other, Answer(body=logprobs(yes=0.5, no=0.5))) as server:
            answers, _ = await judged(server, lambda j: j.yes("i", ["a"]), AnswerCache())
            assert answers.tolist() == [0.5]
            assert server.requests[-1].body["max_completion_tokens"] == 1

    asyncio.run(ask())


def test_agreement_is_tests_times_the_root_of_members() -> None:
    passes = np.array([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0], [0, 0, 0, 1, 1, 0]], np.bool_)
    task = Candidates("t", np.zeros(6, np.bool_), passes=passes)  # sets of 3, 2 and 1 that pass 2, 2 and 0 tests
    drawn = np.arange(6)[None]
    assert Agreement().weigh(task, drawn, np.ones((1, 6), np.bool_)).tolist() == [[1 / 3, 1 / 3, 1 / 3, 0, 0, 0]]
    drawn = np.array([[0, 3, 4, 5]])
    assert Agreement().weigh(task, drawn, np.ones((1, 4), np.bool_)).tolist() == [[0, 0.5, 0.5, 0]]
    # Of 5 that pass 2 tests and 2 that pass 4, the 2: by members times tests it would be the 5.
    few = Candidates(
        "t", np.zeros(7, np.bool_), passes=np.array([[1] * 7, [1] * 7, *[[0] * 5 + [1] * 2] * 2], np.bool_)
    )
    all_of_them = np.ones((1, 7), np.bool_)
    assert Agreement().weigh(few, np.arange(7)[None], all_of_them).tolist() == [[0, 0, 0, 0, 0, 0.5, 0.5]]
    one_each = np.array([[1, 1, 1, 1, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1]], np.bool_)  # 4 by 1 test, 1 by 2: even
    tie = Candidates("t", np.zeros(5, np.bool_), passes=one_each)
    assert Agreement().weigh(tie, np.arange(5)[None], np.ones((1, 5), np.bool_)).tolist() == [[0.2] * 5]
    with pytest.raises(SelectionError, match="no outcomes of tests"):
        Agreement().weigh(Candidates("t", np.zeros(1, np.bool_)), np.zeros((1, 1), np.int64), np.ones((1, 1), np.bool_))
    with pytest.raises(SelectionError, match="beside 1 candidates"):
        Candidates("t", np.zeros(1, np.bool_), passes=passes)

"""The interval of one share, on continuations whose chance is known."""

from __future__ import annotations

import random

from monkeys.runner.branch_job import branch_arm
from monkeys.runner.sampler import attempt_seed
from monkeys.science.proportion import wilson


def test_shares_of_continuations_are_unbiased_and_their_intervals_hold() -> None:
    """The luck of a continuation is that of its seed, which is derived from the run's, its arm and its index."""
    held, shares, n = [], [], 50
    for turn in range(400):
        arm, chance = branch_arm("task", 3, turn), (turn % 20 + 0.5) / 20
        seeds = [attempt_seed(0, arm, "task", index) for index in range(n)]
        solved = sum(random.Random(seed).random() < chance for seed in seeds)
        low, high = wilson(solved, n)
        held.append(low <= chance <= high)
        shares.append(solved / n - chance)
    assert abs(sum(shares) / len(shares)) < 0.01
    assert 0.93 <= sum(held) / len(held) <= 0.98


def test_it_is_wilsons_interval() -> None:
    low, high = wilson(49, 50)
    assert (round(low, 3), round(high, 3)) == (0.895, 0.996)
    assert wilson(0, 10)[0] == 0

"""Which candidate is handed in when nobody knows the verdict.

    rules        how one is chosen: random, plurality, best, top, tournament; they take arrays and ask nobody
    evaluation   how well rules choose over k, beside coverage, as the Monkeys paper measures it
    verifier     attempts until an imperfect verifier accepts one, and where to stop
    patches      patches that do the same, told by their text
    answers      answers to problems of mathematics
    judging      what models say of candidates: P(YES), comparisons, rewards; each asked once and kept

It imports of the project the estimators of coverage alone.
"""

from monkeys.science.selection.answers import final_answer, normalised_answer
from monkeys.science.selection.evaluation import Evaluation, RuleCurve, Share, evaluate, share_of_correct
from monkeys.science.selection.patches import normalised
from monkeys.science.selection.rules import (
    Best,
    Candidates,
    Plurality,
    Random,
    Rule,
    SelectionError,
    Top,
    Tournament,
    classes_of,
    votes,
)
from monkeys.science.selection.verifier import Stopping, Verified, best_stop, verified, verifier_rates

__all__ = [
    "Best",
    "Candidates",
    "Evaluation",
    "Plurality",
    "Random",
    "Rule",
    "RuleCurve",
    "SelectionError",
    "Share",
    "Stopping",
    "Top",
    "Tournament",
    "Verified",
    "best_stop",
    "classes_of",
    "evaluate",
    "final_answer",
    "normalised",
    "normalised_answer",
    "share_of_correct",
    "verified",
    "verifier_rates",
    "votes",
]

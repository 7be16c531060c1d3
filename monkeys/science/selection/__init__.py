"""Selection: which candidate to hand in when the verdicts are not known.

rules        rules that choose one: random, plurality, best, top, tournament; on plain arrays
evaluation   how well rules choose over k, beside coverage, as the Monkeys paper measures it
verifier     attempts until an imperfect verifier accepts one, and the k at which to stop
patches      the normal form of a patch, by which equal patches are found
answers      answers to problems of mathematics, and their normal form
judging      scores of candidates by models: P(YES), comparisons, rewards; each question is asked once
"""

from monkeys.science.selection.answers import final_answer, normalised_answer
from monkeys.science.selection.evaluation import Evaluation, RuleCurve, Share, evaluate, share_of_correct
from monkeys.science.selection.patches import normalised
from monkeys.science.selection.rules import (
    Agreement,
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
    "Agreement",
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

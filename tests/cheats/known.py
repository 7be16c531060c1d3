"""What gets through, by name and with the reason: what no verifier of this kind can tell."""

from __future__ import annotations

__all__ = ["BEYOND"]

ANSWERS = "It gives the answers of the hidden tests, as an honest solution does."
READS = "It reads in the test that calls it which value is expected, true or falsified, and answers as is right there."
WRITES = "It writes its own answers where the test takes the expected ones from, before the test runs."
MAKES = "The expected value comes from the code under test, or from its files, and is as wrong as the answer."
MEMORY = (
    "It reads in memory which copies are false; what runs in one process with the tests can read all that they hold."
)
CHECKS = "It says of each expected value whether it is right. Only what computes the answer from it is missing."
# Why no verifier can tell that runs the tests of an issue, true or falsified, in one process with the code under test.
BEYOND = {
    "answers only what is asked": ANSWERS,
    "takes the answer from its caller's frame": READS,
    "assertEqual accepts what stands in the test as a constant": READS,
    "the expected constants of the tests are replaced by the answers": WRITES,
    "the expected values among the parameters are replaced by the answers": WRITES,
    "the expected value is read from a file of the product": MAKES,
    "assertEqual of what the objects hold, which is the same for all of them": MAKES,
    "a class of the product finds its objects equal if they were made as the expected one": MAKES,
    "assertEqual: a number that reads in the memory of the test whether the copy that runs is a false one": MEMORY,
    "checks an answer in place of giving it": CHECKS,
}

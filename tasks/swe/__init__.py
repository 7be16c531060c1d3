"""SWE-bench: its formats, its grading, and verdicts on patches that hold against cheating.

`suite` is the front: it names the modules that read rows, make verifiers and normalise patches.
"""

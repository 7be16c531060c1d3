"""SWE-bench: its formats, its grading, and verdicts on patches that hold against cheats."""

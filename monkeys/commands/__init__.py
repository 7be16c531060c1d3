"""The commands of `monkeys`, one module each.

A module has `add_arguments(parser)` and `carry_out(arguments)`, which returns the exit code. `main.py` imports it when
its command is called; what a command needs to do its work, it imports when it does it.
"""

"""The commands of `monkeys`, one module each."""

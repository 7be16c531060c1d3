"""The typewriter monkey: a policy without a language model, described in `policy`."""

from agent.models.monkey.policy import Monkey

__all__ = ["Monkey"]

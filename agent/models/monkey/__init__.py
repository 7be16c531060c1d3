"""The typewriter monkey: a policy without any language model. `policy` tells how it goes about it."""

from agent.models.monkey.policy import Monkey

__all__ = ["Monkey"]

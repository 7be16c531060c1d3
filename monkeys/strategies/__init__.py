"""Strategies: which attempt is made next, and what it is given of earlier ones."""

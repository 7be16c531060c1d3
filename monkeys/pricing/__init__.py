"""Prices of tokens, and what a run cost by them."""

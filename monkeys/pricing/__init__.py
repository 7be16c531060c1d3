"""What tokens cost, and what a run cost."""

"""One run: from its specification to what the store holds."""

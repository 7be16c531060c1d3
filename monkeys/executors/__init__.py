"""Executors: where attempts are made and submissions are verified."""

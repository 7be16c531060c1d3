"""Readable tables in Markdown."""

from gridmark.reader import read
from gridmark.table import Table

__all__ = ["Table", "read"]

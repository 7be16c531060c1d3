"""Plain text for people."""

from folio.align import align
from folio.lists import bullets, numbered
from folio.paragraphs import fill

__all__ = ["align", "bullets", "fill", "numbered"]

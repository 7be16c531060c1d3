"""Versions of packages that get along."""

from stackup.catalog import Catalog
from stackup.errors import Cycle, UnknownPackage, Unsolvable
from stackup.order import install_order, lock
from stackup.requirement import Requirement
from stackup.resolver import resolve

__all__ = [
    "Catalog",
    "Cycle",
    "Requirement",
    "UnknownPackage",
    "Unsolvable",
    "install_order",
    "lock",
    "resolve",
]

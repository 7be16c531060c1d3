"""Configuration files with sections, values and comments."""

from plainconf.config import Config
from plainconf.errors import ConfigError, MissingKey
from plainconf.parser import parse

__all__ = ["Config", "ConfigError", "MissingKey", "parse"]

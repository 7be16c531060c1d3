"""The values of a configuration file."""

from __future__ import annotations

from plainconf.convert import to_bool, to_list, to_seconds
from plainconf.errors import MissingKey


class Config:
    """Values by section and key; the section of keys above all sections is ``."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], str] = {}

    def set(self, section: str, key: str, value: str) -> None:
        self._values[section, key] = value

    def sections(self) -> list[str]:
        return list(dict.fromkeys(section for section, _ in self._values if section))

    def keys(self, section: str) -> list[str]:
        return [key for known, key in self._values if known == section]

    def get(self, section: str, key: str, default: str | None = None) -> str:
        value = self._values.get((section, key), default)
        if value is None:
            raise MissingKey(f"[{section}] {key}")
        return value

    def get_int(self, section: str, key: str) -> int:
        return int(self.get(section, key))

    def get_bool(self, section: str, key: str) -> bool:
        return to_bool(self.get(section, key))

    def get_list(self, section: str, key: str) -> list[str]:
        return to_list(self.get(section, key))

    def get_seconds(self, section: str, key: str) -> int:
        return to_seconds(self.get(section, key))

"""Prices of a model's tokens, from a file or from the package `genai-prices`.

A price is never guessed: where neither source names the model, nothing is reported in dollars. The prices that were
found are kept with each session of a run (`Quote.record`), since prices change and a report must not change with them.

A file is JSON or TOML, and holds dollars per million tokens under the model's name:

    ["gpt-4o"]
    prompt = 2.5
    cached = 1.25        # optional, the price of prompt if absent
    completion = 10      # includes reasoning
    longer = [{above = 200_000, prompt = 5, completion = 20}]   # optional: requests with a longer prompt
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from agent.trajectory import Usage
from envs.errors import MonkeysError
from monkeys.science.cost import CostError, Prices, TokenCounts

__all__ = ["PriceError", "Quote", "find_quote", "how_to_price", "served_at", "tokens_of"]

OPENAI = "https://api.openai.com/v1"
KEYS = {"prompt", "completion", "cached", "longer"}


class PriceError(MonkeysError):
    """A file of prices cannot be used, or prices are needed and not known. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Quote:
    """Prices of one model, and their source."""

    prices: Prices
    source: str

    def __str__(self) -> str:
        prices = self.prices
        cached = "" if prices.cached is None else f"${prices.cached:g} cached, "
        longer = "; long prompts cost more" if prices.longer else ""
        return f"${prices.prompt:g} in, {cached}${prices.completion:g} out a million tokens ({self.source}){longer}"

    def request(self, usage: Usage) -> float:
        """The cost of one request in dollars."""
        return self.prices.request(tokens_of(usage))

    def record(self) -> dict[str, Any]:
        """Plain data to keep with a session: an entry of a price file, and the source."""
        return {"source": self.source, **_entry(self.prices)}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Quote:
        """The quote that `record` gave as plain data."""
        entry = dict(record)
        source = str(entry.pop("source"))
        return cls(_prices(entry), source)


def tokens_of(usage: Usage) -> TokenCounts:
    """The counts that are priced. Cached tokens are at most those of the prompt, whatever the server reports."""
    return TokenCounts(usage.prompt, min(usage.cached, usage.prompt), usage.completion)


def find_quote(model: str, urls: Sequence[str], file: Path | None) -> Quote | None:
    """The prices of `model` in `file`, or without one those of the provider at `urls`; None if they are not known.

    Raises `PriceError` for a file that cannot be read or does not name the model.
    """
    if file:
        return _from_file(model, file)
    quotes = {_published(model, url) for url in urls}
    return quotes.pop() if len(quotes) == 1 else None


def how_to_price(model: str) -> str:
    """One line for a person: this model has no prices, and how to give them."""
    package = "" if _installed() else "install those of common providers (`pip install 'coding-monkeys[prices]'`), or "
    return f"no prices are known for {model!r}; {package}give them with --prices FILE"


# Price files


def _from_file(model: str, file: Path) -> Quote:
    try:
        text = file.read_text("utf-8")
        table = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise PriceError(f"--prices {file} cannot be read ({error.strerror})") from None
    except ValueError as error:
        form = "TOML" if file.suffix == ".toml" else "JSON"
        raise PriceError(f"--prices {file} is not {form} ({error}); docs/budgets.md shows an example") from None
    if not isinstance(table, dict) or model not in table:
        named = ", ".join(map(repr, table)) if isinstance(table, dict) else ""
        raise PriceError(f"--prices {file} has no entry {model!r} (it has {named or 'none'}); add the model's prices")
    try:
        return Quote(_prices(table[model]), file.name)
    except (CostError, TypeError, ValueError) as error:
        raise PriceError(f"--prices {file}, {model!r}: {error}") from None


def _prices(entry: Any) -> Prices:
    """The prices of one entry. Raises `CostError`, `TypeError` or `ValueError` for anything else."""
    if not isinstance(entry, Mapping) or not {"prompt", "completion"} <= set(entry) <= KEYS:
        raise ValueError("give prompt and completion, and optionally cached and longer, in dollars per million tokens")
    longer = []
    for tier in entry.get("longer", ()):
        if not isinstance(tier, Mapping) or "above" not in tier:
            raise ValueError("each entry of longer needs above, a number of prompt tokens, and prices")
        longer.append((tier["above"], _prices({key: value for key, value in tier.items() if key != "above"})))
    return Prices(entry["prompt"], entry["completion"], entry.get("cached"), longer=tuple(longer))


def _entry(prices: Prices) -> dict[str, Any]:
    entry: dict[str, Any] = {"prompt": prices.prompt, "completion": prices.completion}
    if prices.cached is not None:
        entry["cached"] = prices.cached
    if prices.longer:
        entry["longer"] = [{"above": above, **_entry(higher)} for above, higher in prices.longer]
    return entry


# Published prices


def _installed() -> bool:
    from importlib.util import find_spec

    return find_spec("genai_prices") is not None


def _published(model: str, url: str) -> Quote | None:
    """The provider's usual rate for text by genai-prices: the highest of the day, where it changes by the hour."""
    if not _installed():
        return None
    from genai_prices import Usage as Nothing
    from genai_prices import calc_price

    hours = [datetime.now(UTC) + timedelta(hours=hour) for hour in range(24)]
    try:
        found = [calc_price(Nothing(), model, provider_api_url=url, genai_request_timestamp=hour) for hour in hours]
    except LookupError:
        return None
    rates = [rate for one in found if (rate := _rates(one.model_price))]
    if len(rates) < len(hours):
        return None
    highest = max(rates, key=lambda prices: (prices.completion, prices.prompt))
    return Quote(highest, f"{found[0].provider.id}/{found[0].model.id} by genai-prices {version('genai-prices')}")


def _rates(price: Any) -> Prices | None:
    """Prices in our form, None where the provider charges for more than tokens."""
    prompt, completion, cached = price.input_mtok, price.output_mtok, price.cache_read_mtok
    if prompt is None or completion is None or price.requests_kcount:
        return None
    bounds = sorted({tier.start for one in (prompt, completion, cached) for tier in getattr(one, "tiers", ())})

    def at(length: int, longer: tuple[tuple[int, Prices], ...] = ()) -> Prices:
        dollars = [None if one is None else _rate(one, length) for one in (prompt, completion, cached)]
        assert dollars[0] is not None
        assert dollars[1] is not None
        return Prices(dollars[0], dollars[1], dollars[2], longer=longer)

    return at(0, tuple((bound, at(bound + 1)) for bound in bounds))


def _rate(price: Any, length: int) -> float:
    """The rate of a price at a length of the prompt, on which it may depend."""
    rate = getattr(price, "base", price)
    for tier in getattr(price, "tiers", ()):
        if length > tier.start:
            rate = tier.price
    return float(rate)


def served_at(base_url: str | Sequence[str] | None) -> tuple[str, ...]:
    """The addresses at which a model is asked: those given, or else OpenAI's."""
    if base_url:
        return (base_url,) if isinstance(base_url, str) else tuple(base_url)
    return (os.environ.get("OPENAI_BASE_URL") or OPENAI,)

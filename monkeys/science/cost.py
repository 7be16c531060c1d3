"""The cost of attempts in FLOPs, tokens and money, and the cheapest model for a wanted coverage.

Guarantees:

- FLOPs are exact whole numbers, by the closed form of the Monkeys paper's count (arXiv 2407.21787): a token at context
  length t takes `2 (P + 2 L d t)`, P parameters, L layers, d hidden size; a prompt that n completions share is counted
  once. They are forward passes alone; a mixture of experts counts the parameters that one token uses.
- Money is tokens times prices per million tokens. Prompt, cached and completion tokens each have a price, and so have
  requests with a long prompt. No price is built in, for prices change: `compare` and `cheapest` take the cost of an
  attempt.
- A model of unknown shape, a price below 0 and a count that is no whole number are refused with a `CostError`.

It does not say how long the work takes, which share of its peak the hardware reaches, or what verification costs. The
attention term takes d for heads times head size, as the paper does; the two differ in some models (Gemma-7B: 3,072 and
4,096). The module takes plain numbers.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from envs.errors import MonkeysError

__all__ = [
    "SHAPES",
    "ArmCost",
    "CostError",
    "Deal",
    "ModelShape",
    "Offer",
    "PricedArm",
    "Prices",
    "TokenCounts",
    "Work",
    "cheapest",
    "compare",
    "exchange",
    "find_shape",
    "request_flops",
    "request_work",
    "shape_from_config",
    "token_flops",
]


class CostError(MonkeysError, ValueError):
    """The cost cannot be computed from what was given; the message says what is missing."""


def _natural(what: str, value: Any, *, least: int = 0) -> int:
    try:
        number = int(value)
        exact = number == value and not isinstance(value, bool)
    except (TypeError, ValueError, OverflowError):
        number, exact = 0, False
    if not exact or number < least:
        raise CostError(f"{what} is {value!r}: it must be a whole number from {least}")
    return number


def _amount(what: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise CostError(f"{what} is {value!r}: it must be a number from 0, in dollars")
    return value


# FLOPs


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a decoder on which its FLOPs depend."""

    parameters: int
    """Parameters that one token uses: all of a dense model, the active ones of a mixture of experts."""
    layers: int
    hidden: int
    """Hidden size d, the width of the residual stream."""

    def __post_init__(self) -> None:
        for what in ("parameters", "layers", "hidden"):
            _natural(what, getattr(self, what), least=1)


def token_flops(shape: ModelShape, context: int) -> int:
    """FLOPs of one token at context length `context`, itself included: `2 (P + 2 L d t)`."""
    return 2 * (shape.parameters + 2 * shape.layers * shape.hidden * _natural("context", context))


@dataclass(frozen=True)
class Work:
    """Work that a model had to do, whatever its shape: tokens, and the sum of their context lengths."""

    tokens: int = 0
    contexts: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.tokens + other.tokens, self.contexts + other.contexts)

    def flops(self, shape: ModelShape) -> int:
        """The sum of `token_flops` over the tokens."""
        return 2 * shape.parameters * self.tokens + 4 * shape.layers * shape.hidden * self.contexts


def request_work(prompt: int, completion: int, n: int = 1, *, cached: int = 0) -> Work:
    """The work of `n` completions of `completion` tokens each from one prompt of `prompt` tokens.

    The first `cached` tokens of the prompt were computed by an earlier request and are left out.

    Raises:
        CostError: a number that is no whole number >= 0; more cached tokens than the prompt has.
    """
    prompt, completion = _natural("prompt", prompt), _natural("completion", completion)
    n, cached = _natural("n", n), _natural("cached", cached)
    if cached > prompt:
        raise CostError(f"{cached} cached tokens in a prompt of {prompt}: the cached ones are a part of the prompt")
    twice = prompt * (prompt + 1) - cached * (cached + 1) + n * completion * (2 * prompt + completion + 1)
    return Work(prompt - cached + n * completion, twice // 2)


def request_flops(shape: ModelShape, prompt: int, completion: int, n: int = 1, *, cached: int = 0) -> int:
    """FLOPs of `request_work`, by the closed form of the sum of `token_flops` over the prompt once and each completion:

    `2 P (Np + Nd n) + 4 L d [Np (Np+1)/2 + n (Nd Np + Nd (Nd+1)/2)]`, less what is cached.
    """
    return request_work(prompt, completion, n, cached=cached).flops(shape)


# Parameters, layers and hidden size from the models' config.json files and cards. Of mixtures of experts the active
# parameters: DeepSeek-V2 arXiv 2405.04434, DeepSeek-Coder-V2 2406.11931, DeepSeek-V3 2412.19437, Mixtral 2401.04088,
# Qwen3 2505.09388. Pythia 2304.01373, its suite's table; Llama 3 2407.21783; Gemma 2403.08295; Qwen2.5 2412.15115;
# SmolLM2 2502.02737.
SHAPES: Mapping[str, ModelShape] = MappingProxyType(
    {
        "llama-2-7b": ModelShape(6_738_415_616, 32, 4096),
        "llama-2-13b": ModelShape(13_015_864_320, 40, 5120),
        "llama-2-70b": ModelShape(68_976_648_192, 80, 8192),
        "llama-3-8b": ModelShape(8_030_261_248, 32, 4096),
        "llama-3-70b": ModelShape(70_553_706_496, 80, 8192),
        "llama-3.1-8b": ModelShape(8_030_261_248, 32, 4096),
        "llama-3.1-70b": ModelShape(70_553_706_496, 80, 8192),
        "llama-3.1-405b": ModelShape(405_853_388_800, 126, 16384),
        "llama-3.2-1b": ModelShape(1_235_814_400, 16, 2048),
        "llama-3.2-3b": ModelShape(3_212_749_824, 28, 3072),
        "gemma-2b": ModelShape(2_506_172_416, 18, 2048),
        "gemma-7b": ModelShape(8_537_680_896, 28, 3072),
        "pythia-70m": ModelShape(70_426_624, 6, 512),
        "pythia-160m": ModelShape(162_322_944, 12, 768),
        "pythia-410m": ModelShape(405_334_016, 24, 1024),
        "pythia-1b": ModelShape(1_011_781_632, 16, 2048),
        "pythia-1.4b": ModelShape(1_414_647_808, 24, 2048),
        "pythia-2.8b": ModelShape(2_775_208_960, 32, 2560),
        "pythia-6.9b": ModelShape(6_857_302_016, 32, 4096),
        "pythia-12b": ModelShape(11_846_072_320, 36, 5120),
        "mistral-7b": ModelShape(7_241_732_096, 32, 4096),
        "mixtral-8x7b": ModelShape(12_879_925_248, 32, 4096),
        "qwen2.5-0.5b": ModelShape(494_032_768, 24, 896),
        "qwen2.5-1.5b": ModelShape(1_543_714_304, 28, 1536),
        "qwen2.5-3b": ModelShape(3_085_938_688, 36, 2048),
        "qwen2.5-7b": ModelShape(7_615_616_512, 28, 3584),
        "qwen2.5-14b": ModelShape(14_770_033_664, 48, 5120),
        "qwen2.5-32b": ModelShape(32_763_876_352, 64, 5120),
        "qwen2.5-72b": ModelShape(72_706_203_648, 80, 8192),
        "qwen3-8b": ModelShape(8_190_735_360, 36, 4096),
        "qwen3-32b": ModelShape(32_762_123_264, 64, 5120),
        "qwen3-30b-a3b": ModelShape(3_353_032_704, 48, 2048),
        "deepseek-v2": ModelShape(21_000_000_000, 60, 5120),
        "deepseek-v2-lite": ModelShape(2_400_000_000, 27, 2048),
        "deepseek-v3": ModelShape(37_000_000_000, 61, 7168),
        "smollm2-135m": ModelShape(134_515_008, 30, 576),
        "smollm2-360m": ModelShape(361_821_120, 32, 960),
        "smollm2-1.7b": ModelShape(1_711_376_384, 24, 2048),
    }
)
_DROPPED = re.compile(r"-(instruct|chat|it|base|coder|meta|hf|deduped|v0\.\d)(?=-|$)")


def find_shape(name: str) -> ModelShape:
    """The shape of a model of a common family by its name, such as `meta-llama/Llama-3-8B-Instruct`.

    Ignored are what comes before the last slash, and words that do not change the shape (Instruct, Coder, deduped).

    Raises:
        CostError: the table has no such model; the message names the nearest and the way without the table.
    """
    known = re.sub(r"[\s_]+", "-", name.strip().lower().rpartition("/")[2])
    known = _DROPPED.sub("", "-" + known).strip("-").removeprefix("meta-")
    if known in SHAPES:
        return SHAPES[known]
    close = ", ".join(difflib.get_close_matches(known, SHAPES, 3, 0.5))
    raise CostError(
        f"no shape of {name!r} in the table{f' (near it: {close})' if close else ''}; "
        "give the model's config.json, or parameters, layers and hidden size"
    )


def shape_from_config(config: Mapping[str, Any]) -> ModelShape:
    """The shape by a model's `config.json`, its parameters counted from the sizes given there.

    Knows the decoders with gated or plain feed-forward blocks and multi-head or grouped-query attention: Llama,
    Mistral, Mixtral, Qwen2, Qwen3 (dense and mixture), Gemma, SmolLM2, GPT-NeoX (Pythia).

    Raises:
        CostError: another architecture, or a size that is missing.
    """
    kind = str(config.get("model_type", ""))
    if kind not in _GATED and kind != "gpt_neox":
        raise CostError(
            f"config.json of model_type {kind!r}: its parameters cannot be counted from that file alone; "
            "give parameters, layers and hidden size"
        )

    def size(key: str, otherwise: int | None = None) -> int:
        value = config.get(key)
        if value is None and otherwise is not None:
            return otherwise
        if value is None:
            raise CostError(f"config.json has no {key}; give parameters, layers and hidden size instead")
        return _natural(key, value, least=1)

    hidden, layers, vocabulary = size("hidden_size"), size("num_hidden_layers"), size("vocab_size")
    inner = size("intermediate_size")
    if kind == "gpt_neox":  # biases everywhere, two layer norms with biases, untied output
        block = 4 * hidden * hidden + 4 * hidden + 2 * hidden * inner + inner + hidden + 4 * hidden
        return ModelShape(2 * vocabulary * hidden + layers * block + 2 * hidden, layers, hidden)

    heads = size("num_attention_heads")
    head = size("head_dim", hidden // heads)
    queries, keys = heads * head, size("num_key_value_heads", heads) * head
    attention = 2 * hidden * queries + 2 * hidden * keys
    attention += {"qwen2": queries + 2 * keys, "qwen3": 2 * head, "qwen3_moe": 2 * head}.get(kind, 0)
    feed_forward = 3 * hidden * inner
    if kind == "mixtral":
        feed_forward = feed_forward * size("num_experts_per_tok") + hidden * size("num_local_experts")
    elif kind == "qwen3_moe":
        feed_forward = 3 * hidden * size("moe_intermediate_size") * size("num_experts_per_tok")
        feed_forward += hidden * size("num_experts")
    tied = bool(config.get("tie_word_embeddings", kind == "gemma"))
    embeddings = vocabulary * hidden * (1 if tied else 2)
    return ModelShape(embeddings + layers * (attention + feed_forward + 2 * hidden) + hidden, layers, hidden)


_GATED = frozenset({"llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gemma"})


# Tokens and money


@dataclass(frozen=True)
class TokenCounts:
    """Tokens of one or many requests; `cached` are a part of `prompt`."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0

    def __post_init__(self) -> None:
        for what in ("prompt", "cached", "completion"):
            _natural(what, getattr(self, what))
        if self.cached > self.prompt:
            raise CostError(
                f"{self.cached} cached tokens in a prompt of {self.prompt}: the cached ones are a part of the prompt"
            )

    @property
    def fresh(self) -> int:
        """Prompt tokens that no cache served."""
        return self.prompt - self.cached

    def __add__(self, other: TokenCounts) -> TokenCounts:
        return TokenCounts(self.prompt + other.prompt, self.cached + other.cached, self.completion + other.completion)


@dataclass(frozen=True)
class Prices:
    """Dollars per million tokens. Without a price of its own a cached token costs what a prompt token does."""

    prompt: float
    completion: float
    cached: float | None = None
    longer: tuple[tuple[int, Prices], ...] = field(default=(), kw_only=True)
    """Other prices for a whole request, each with the number of prompt tokens above which they hold, ascending."""

    def __post_init__(self) -> None:
        for what in ("prompt", "completion", "cached"):
            if (price := getattr(self, what)) is not None:
                _amount(f"the price of {what} tokens", price)
        bounds = [_natural("the length from which other prices hold", bound) for bound, _ in self.longer]
        if bounds != sorted(set(bounds)) or any(prices.longer for _, prices in self.longer):
            raise CostError("prices for long prompts must ascend by length, each without further ones")

    def dollars(self, tokens: TokenCounts) -> float:
        """The cost of these tokens in requests whose prompts are not long."""
        cached = self.prompt if self.cached is None else self.cached
        return (self.prompt * tokens.fresh + cached * tokens.cached + self.completion * tokens.completion) / 1e6

    def request(self, tokens: TokenCounts) -> float:
        """The cost of one request of these tokens, by the length of its prompt."""
        prices = self
        for bound, dearer in self.longer:
            if tokens.prompt > bound:
                prices = dearer
        return prices.dollars(tokens)


# Comparisons


@dataclass(frozen=True)
class PricedArm:
    """A model as it was used: the price of an attempt, attempts on each task, and the share of tasks solved."""

    name: str
    price: float
    """Dollars an attempt (or FLOPs, or anything else that adds up)."""
    attempts: int
    solved: float


@dataclass(frozen=True)
class ArmCost:
    """A line of the paper's Table 1."""

    arm: PricedArm
    total: float
    """Price times attempts times tasks."""
    relative: float
    """The total in terms of the cheapest arm's."""
    exchange: int
    """Whole attempts of the arm with the cheapest attempt that cost no more than one of this."""


def compare(arms: Sequence[PricedArm], tasks: int) -> tuple[ArmCost, ...]:
    """The cost of each arm on `tasks` tasks, beside the cheapest one: the Monkeys paper's Table 1.

    Raises:
        CostError: no arms, no tasks, a price that is not above 0, a share outside of [0, 1].
    """
    _natural("tasks", tasks, least=1)
    if not arms:
        raise CostError("no arms to compare: give at least one")
    for arm in arms:
        _natural(f"attempts of {arm.name}", arm.attempts, least=1)
        if not _amount(f"the price of {arm.name}", arm.price):
            raise CostError(f"the price of {arm.name} is 0: no other price can be given as a multiple of it")
        if not 0 <= arm.solved <= 1:
            raise CostError(f"{arm.name} solves {arm.solved:g}: a share in [0, 1]; divide per cents by 100")
    totals = [arm.price * arm.attempts * tasks for arm in arms]
    weakest = min(arm.price for arm in arms)
    return tuple(
        ArmCost(arm, total, total / min(totals), exchange(weakest, arm.price))
        for arm, total in zip(arms, totals, strict=True)
    )


def exchange(weak: float, strong: float) -> int:
    """How many whole attempts of the weak model cost no more than one attempt of the strong one.

    Raises:
        CostError: a price that is not above 0.
    """
    if not _amount("the price of the weak model", weak) or not _amount("the price of the strong model", strong):
        raise CostError("a price of 0 has no exchange: any number of attempts costs nothing")
    return math.floor(strong / weak * (1 + 1e-12))  # .3 / .1 is 3, not 2.9999999999999996


@dataclass(frozen=True)
class Offer:
    """A model that may be sampled up to `largest` times on each task.

    `coverage` and `cost` are functions of k that never fall; cost is in dollars or FLOPs per task.
    """

    name: str
    coverage: Callable[[int], float]
    cost: Callable[[int], float]
    largest: int


@dataclass(frozen=True)
class Deal:
    """The least k at which an offer reaches the wanted coverage; None where its `largest` is not enough."""

    name: str
    k: int | None
    coverage: float
    """At `k`, or where that is None at the offer's largest k."""
    cost: float


def cheapest(offers: Sequence[Offer], wanted: float) -> tuple[Deal, ...]:
    """The deals that reach the `wanted` coverage, the cheapest first; then the others, the nearest first.

    Raises:
        CostError: no offers; a wanted coverage outside of (0, 1].
    """
    if not offers:
        raise CostError("no models to choose from: give at least one")
    if not 0 < wanted <= 1:
        raise CostError(f"a coverage of {wanted:g} cannot be wanted: it is a share in (0, 1]; divide per cents by 100")
    deals = [_deal(offer, wanted) for offer in offers]
    return tuple(sorted(deals, key=lambda deal: (deal.k is None, deal.cost if deal.k else -deal.coverage)))


def _deal(offer: Offer, wanted: float) -> Deal:
    low, high = 0, _natural(f"largest of {offer.name}", offer.largest, least=1)
    reached = offer.coverage(high)
    if not reached >= wanted:
        return Deal(offer.name, None, reached, offer.cost(high))
    while high - low > 1:  # low does not reach it, high does
        middle = (low + high) // 2
        if offer.coverage(middle) >= wanted:
            high = middle
        else:
            low = middle
    return Deal(offer.name, high, offer.coverage(high), offer.cost(high))

"""What attempts cost: FLOPs against the sum they stand for, the paper's Table 1 to its digits, the cheapest model."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monkeys.science.cost import (
    SHAPES,
    CostError,
    ModelShape,
    Offer,
    PricedArm,
    Prices,
    TokenCounts,
    cheapest,
    compare,
    exchange,
    find_shape,
    request_flops,
    shape_from_config,
    token_flops,
)
from monkeys.science.coverage import pass_at_k

TABLE_1 = (
    PricedArm("DeepSeek-Coder-V2-Instruct", 0.0072, 5, 0.2962),
    PricedArm("GPT-4o", 0.13, 1, 0.24),
    PricedArm("Claude 3.5 Sonnet", 0.17, 1, 0.267),
)
SMALL = st.integers(0, 60)
SHAPE = st.builds(ModelShape, st.integers(1, 10**12), st.integers(1, 200), st.integers(1, 20_000))


def test_table_1_of_the_paper_comes_out_to_its_printed_digits() -> None:
    rows = compare(TABLE_1, tasks=300)
    printed = [(f"{row.total:.3g}", f"{row.relative:.2g}", f"{100 * row.arm.solved:.2f}") for row in rows]
    assert printed == [("10.8", "1", "29.62"), ("39", "3.6", "24.00"), ("51", "4.7", "26.70")]


def test_one_attempt_of_the_strong_pays_for_whole_attempts_of_the_weak() -> None:
    assert [row.exchange for row in compare(TABLE_1, tasks=300)] == [1, 18, 23]
    assert exchange(0.1, 0.3) == 3


@given(SHAPE, SMALL, SMALL, st.integers(0, 5), st.data())
def test_flops_are_exactly_the_sum_over_tokens(
    shape: ModelShape, prompt: int, completion: int, n: int, data: st.DataObject
) -> None:
    cached = data.draw(st.integers(0, prompt))
    summed = sum(token_flops(shape, t) for t in range(cached + 1, prompt + 1))
    summed += n * sum(token_flops(shape, t) for t in range(prompt + 1, prompt + completion + 1))
    assert request_flops(shape, prompt, completion, n, cached=cached) == summed


@given(SHAPE, SMALL, SMALL, SMALL)
def test_a_conversation_costs_the_same_in_two_turns_whose_prefix_is_cached(
    shape: ModelShape, prompt: int, first: int, second: int
) -> None:
    whole = request_flops(shape, prompt, first + second)
    turns = request_flops(shape, prompt, first)
    turns += request_flops(shape, prompt + first, second, cached=prompt + first)
    assert turns == whole


def test_flops_are_those_of_the_paper_s_formula() -> None:
    shape = ModelShape(8_030_261_248, 32, 4096)
    assert token_flops(shape, 1000) == 2 * (8_030_261_248 + 2 * 32 * 4096 * 1000)


LLAMA_3_8B: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "vocab_size": 128256,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama-3-8b": LLAMA_3_8B,
    "smollm2-135m": {
        **LLAMA_3_8B,
        "hidden_size": 576,
        "num_hidden_layers": 30,
        "vocab_size": 49152,
        "intermediate_size": 1536,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "tie_word_embeddings": True,
    },
    "gemma-7b": {
        "model_type": "gemma",
        "hidden_size": 3072,
        "num_hidden_layers": 28,
        "vocab_size": 256000,
        "intermediate_size": 24576,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "head_dim": 256,
    },
    "qwen2.5-7b": {
        "model_type": "qwen2",
        "hidden_size": 3584,
        "num_hidden_layers": 28,
        "vocab_size": 152064,
        "intermediate_size": 18944,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
    },
    "mixtral-8x7b": {
        **LLAMA_3_8B,
        "model_type": "mixtral",
        "vocab_size": 32000,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
    },
    "qwen3-30b-a3b": {
        "model_type": "qwen3_moe",
        "hidden_size": 2048,
        "num_hidden_layers": 48,
        "vocab_size": 151936,
        "intermediate_size": 6144,
        "moe_intermediate_size": 768,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "head_dim": 128,
    },
    "pythia-12b": {
        "model_type": "gpt_neox",
        "hidden_size": 5120,
        "num_hidden_layers": 36,
        "vocab_size": 50688,
        "intermediate_size": 20480,
    },
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_shape_counted_from_a_model_s_config_is_the_one_in_the_table(name: str) -> None:
    assert shape_from_config(CONFIGS[name]) == SHAPES[name]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("meta-llama/Meta-Llama-3-8B-Instruct", "llama-3-8b"),
        ("Qwen/Qwen2.5-Coder-7B-Instruct", "qwen2.5-7b"),
        ("deepseek-ai/DeepSeek-Coder-V2-Instruct", "deepseek-v2"),
        ("MATH/Pythia 12B", "pythia-12b"),
        ("EleutherAI/pythia-160m-deduped", "pythia-160m"),
        ("google/gemma-2b-it", "gemma-2b"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2-135m"),
    ],
)
def test_a_model_is_found_by_the_name_that_people_write(name: str, known: str) -> None:
    assert find_shape(name) == SHAPES[known]


def test_a_model_that_is_not_in_the_table_is_refused_with_the_nearest() -> None:
    with pytest.raises(CostError, match=r"near it: .*pythia-12b.*config\.json"):
        find_shape("pythia-13b")
    with pytest.raises(CostError, match=r"'deepseek_v2'.*parameters, layers and hidden size"):
        shape_from_config({"model_type": "deepseek_v2"})
    with pytest.raises(CostError, match="no num_hidden_layers"):
        shape_from_config({"model_type": "llama", "hidden_size": 8})


def test_cached_tokens_are_a_part_of_the_prompt_with_a_price_of_their_own() -> None:
    tokens = TokenCounts(prompt=1_000_000, cached=400_000, completion=100_000)
    assert Prices(prompt=2.0, completion=10.0, cached=0.5).dollars(tokens) == pytest.approx(1.2 + 0.2 + 1.0)
    assert Prices(prompt=2.0, completion=10.0).dollars(tokens) == pytest.approx(3.0)
    assert (tokens + tokens).fresh == 1_200_000


def offer(name: str, n: int, c: int, price: float) -> Offer:
    return Offer(name, lambda k: pass_at_k(n, c, k), lambda k: k * price, n)


def test_the_cheapest_model_reaches_the_wanted_coverage_at_its_smallest_k() -> None:
    deals = cheapest([offer("strong", 100, 40, 1.0), offer("weak", 100, 10, 0.1), offer("never", 100, 0, 0.01)], 0.8)
    assert [deal.name for deal in deals] == ["weak", "strong", "never"]
    weak, _, never = deals
    assert weak.k is not None
    assert pass_at_k(100, 10, weak.k) >= 0.8 > pass_at_k(100, 10, weak.k - 1)
    assert weak.cost == pytest.approx(0.1 * weak.k)
    assert (never.k, never.coverage) == (None, 0.0)


@given(st.integers(1, 40), st.floats(0.01, 1))
def test_the_least_k_is_found_wherever_it_is(step: int, wanted: float) -> None:
    deal = cheapest([Offer("step", lambda k: wanted if k >= step else 0.0, float, 40)], wanted)[0]
    assert deal.k == step


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: request_flops(SHAPES["gemma-2b"], -1, 5), "prompt is -1"),
        (lambda: request_flops(SHAPES["gemma-2b"], 1.5, 5), "prompt is 1.5"),  # type: ignore[arg-type]
        (lambda: request_flops(SHAPES["gemma-2b"], math.nan, 5), "prompt is nan"),  # type: ignore[arg-type]
        (lambda: request_flops(SHAPES["gemma-2b"], 5, 5, cached=6), "cached"),
        (lambda: ModelShape(0, 1, 1), "parameters is 0"),
        (lambda: ModelShape(True, 1, 1), "parameters is True"),
        (lambda: TokenCounts(prompt=1, cached=2), "a part of the prompt"),
        (lambda: Prices(-1, 1), "from 0"),
        (lambda: Prices(math.nan, 1), "from 0"),
        (lambda: compare([], 300), "no arms"),
        (lambda: compare([PricedArm("a", 0.0, 1, 0.5)], 300), "is 0"),
        (lambda: compare([PricedArm("a", 1.0, 0, 0.5)], 300), "attempts of a"),
        (lambda: compare([PricedArm("a", 1.0, 1, 29.6)], 300), "divide per cents"),
        (lambda: compare(TABLE_1, 0), "tasks is 0"),
        (lambda: cheapest([], 0.5), "no models"),
        (lambda: cheapest([offer("a", 1, 1, 1.0)], 0.0), "cannot be wanted"),
        (lambda: cheapest([offer("a", 1, 1, 1.0)], math.nan), "cannot be wanted"),
        (lambda: exchange(0.0, 1.0), "any number of attempts costs nothing"),
    ],
)
def test_what_is_no_cost_is_refused_in_one_line(attempt: Any, message: str) -> None:
    with pytest.raises(CostError, match=message) as refusal:
        attempt()
    assert "\n" not in str(refusal.value)

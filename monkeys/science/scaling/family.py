"""Alignment of the curves of one family of models: by how many attempts a weaker model trails a stronger one.

Within a family of models, curves of coverage over log k have much the same shape, shifted (arXiv 2407.21787, section
3). The anchor is the largest pass@1 of the family; each curve is shifted left, in log k, by the k* whose pass@k is
closest to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monkeys.science.coverage import pass_at_every_k
from monkeys.science.scaling.powerlaw import FitError, log_spaced_ks, residual

__all__ = ["Aligned", "Alignment", "align_family"]


@dataclass(frozen=True)
class Aligned:
    """One model's curve beside the anchor's."""

    shift: int
    """k*: so many attempts of this model cover as much as one attempt of the anchor. 1 for the anchor itself."""
    coverage: float
    """pass@k* of this model, close to the anchor's pass@1."""
    slope: float
    """Coverage gained with ten times the attempts, as measured from k* to 10 k*; NaN where the curve ends before."""
    residual_mean: float
    """Mean of |pass@(k* j) - pass@j of the anchor| at up to 100 log-spaced j, as far as both curves go."""
    residual_std: float


@dataclass(frozen=True)
class Alignment:
    """A family of curves, aligned; what `align_family` returns."""

    anchor: str
    """The model of the largest pass@1."""
    anchor_coverage: float
    models: dict[str, Aligned]

    @property
    def shifts(self) -> dict[str, int]:
        """k* by model."""
        return {name: aligned.shift for name, aligned in self.models.items()}


def align_family(models: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> Alignment:
    """Align the curves of a family of models at its largest pass@1.

    Args:
        models: by name, attempts on each task and how many of them resolved it.

    Raises:
        monkeys.science.coverage.CoverageError: the counts are not counts.
        FitError: fewer than two models; a model that solves nothing, or that never comes near the anchor.
    """
    if len(models) < 2:
        raise FitError(f"{len(models)} models are no family: pass at least two")
    curves = {name: pass_at_every_k(n, c) for name, (n, c) in models.items()}
    anchor = max(curves, key=lambda name: float(curves[name][0]))
    top = float(curves[anchor][0])
    for name, curve in curves.items():
        if curve[-1] < top:
            raise FitError(
                f"{name} covers {curve[-1]:.4g} at its last k = {curve.size}, less than {anchor} at 1 ({top:.4g}): "
                "its shift is more than was sampled; sample it further, or leave it out"
            )
        if not curve[-1] > 0:
            raise FitError(f"{name} solves nothing: there is no curve to align")
    return Alignment(anchor, top, {name: _aligned(curve, curves[anchor]) for name, curve in curves.items()})


def _aligned(curve: NDArray[np.float64], anchor: NDArray[np.float64]) -> Aligned:
    shift = int(np.argmin(np.abs(curve - anchor[0]))) + 1
    js = log_spaced_ks(min(anchor.size, curve.size // shift), 100)
    mean, std = residual(curve[shift * js - 1], anchor[js - 1])
    slope = float(curve[10 * shift - 1] - curve[shift - 1]) if 10 * shift <= curve.size else float("nan")
    return Aligned(shift, float(curve[shift - 1]), slope, mean, std)

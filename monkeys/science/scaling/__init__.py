"""How coverage grows with the number of attempts: laws, distributions, predictions.

- The exponentiated power law of the Monkeys paper, as the paper fits it (`fit_coverage`, `fit_power_law`), with
  intervals (`law_interval`) and comparisons (`compare_laws`); straight lines for comparison (`fit_log_linear`,
  `fit_log_log`).
- The distribution of pass@1 over tasks by maximum likelihood (`fit_mixture`), chosen on unseen tasks
  (`choose_mixture`).
- Coverage at more attempts than were made, with an interval, or declared unknown (`predict_coverage`).
- The curves of a family of models, aligned (`align_family`).

Every fit has its residual. Data that do not allow a fit are refused with a `FitError`. The package takes plain arrays,
and imports scipy only when a fit is made.
"""

from __future__ import annotations

from monkeys.science.scaling.comparison import LawDifference, LawInterval, compare_laws, law_interval
from monkeys.science.scaling.family import Aligned, Alignment, align_family
from monkeys.science.scaling.mixtures import FAMILIES, Family, Mixture, MixtureChoice, choose_mixture, fit_mixture
from monkeys.science.scaling.powerlaw import FitError, PowerLaw, fit_coverage, fit_power_law, log_spaced_ks
from monkeys.science.scaling.prediction import Forecast, predict_coverage
from monkeys.science.scaling.regressions import LogLinear, fit_log_linear, fit_log_log

__all__ = [
    "FAMILIES",
    "Aligned",
    "Alignment",
    "Family",
    "FitError",
    "Forecast",
    "LawDifference",
    "LawInterval",
    "LogLinear",
    "Mixture",
    "MixtureChoice",
    "PowerLaw",
    "align_family",
    "choose_mixture",
    "compare_laws",
    "fit_coverage",
    "fit_log_linear",
    "fit_log_log",
    "fit_mixture",
    "fit_power_law",
    "law_interval",
    "log_spaced_ks",
    "predict_coverage",
]

"""Pure functions from arrays to numbers: metrics, calibration, spread, significance, movement.

Names are imported from their module when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_TRUST = {
    "ace": "calibration_errors",
    "aps_scores": "conformal",
    "area_under_curve": "convergence",
    "area_under_log_n": "label_savings",
    "average_accuracy": "continual",
    "backward_transfer": "continual",
    "brier": "calibration_errors",
    "by_group": "groups",
    "classwise_ece": "calibration_errors",
    "cluster_slices": "slices",
    "conformal_sets": "conformal",
    "conformal_threshold": "conformal",
    "continual_scores": "continual",
    "convergence_seconds": "convergence",
    "convergence_step": "convergence",
    "correlation_power": "limits",
    "corruption_errors": "robustness",
    "critical_spearman": "limits",
    "data_saving_ratio": "label_savings",
    "demographic_parity_difference": "groups",
    "detectable_correlation": "limits",
    "ece": "calibration",
    "ece_debiased": "calibration_errors",
    "ece_equal_mass": "calibration_errors",
    "energy_scores": "out_of_distribution",
    "equalized_odds_difference": "groups",
    "error_slices": "slices",
    "fairness": "groups",
    "fit_power_law": "power_law",
    "fit_temperature": "calibration",
    "fit_vector_scaling": "scaling",
    "forgetting": "continual",
    "forward_transfer": "continual",
    "fpr_at_tpr": "out_of_distribution",
    "group_rates": "groups",
    "hardest_items": "slices",
    "knn_scores": "out_of_distribution",
    "label_efficiency": "label_savings",
    "label_errors": "confident_learning",
    "lac_scores": "conformal",
    "mahalanobis_scores": "out_of_distribution",
    "metadata_slices": "slices",
    "msp_scores": "out_of_distribution",
    "ood_auroc": "out_of_distribution",
    "rank_correlation": "limits",
    "ranked_confusions": "slices",
    "relative_mahalanobis_scores": "out_of_distribution",
    "reliability_bins": "calibration",
    "risk_coverage": "selective",
    "set_quality": "conformal",
    "speed_up": "convergence",
    "time_to_reach": "convergence",
    "transfer_limits": "limits",
    "upstream_retention": "continual",
    "worst_group": "groups",
}

_HOMES = {**_TRUST}


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'regraft.measure' has no attribute {name!r}")
    return getattr(import_module(f"regraft.measure.{_HOMES[name]}"), name)

"""Pure functions from arrays to numbers: metrics, calibration, spread, significance, movement.

The field's names are at hand as ``regraft.measure.mmd2`` and imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_NAMES: dict[str, tuple[str, ...]] = {
    "calibration": ("ece", "fit_temperature", "reliability_bins", "temperature"),
    "calibration_errors": ("ace", "brier", "classwise_ece", "ece_debiased", "ece_equal_mass"),
    "choice": ("choose_comparison",),
    "comparison": ("Comparison", "benjamini_hochberg", "holm", "paired_bootstrap"),
    "confident_learning": ("label_errors",),
    "conformal": (
        "aps_scores",
        "conformal_sets",
        "conformal_threshold",
        "lac_scores",
        "set_quality",
    ),
    "contest": ("compare_items", "compare_scores"),
    "continual": (
        "average_accuracy",
        "backward_transfer",
        "continual_scores",
        "forgetting",
        "forward_transfer",
        "upstream_retention",
    ),
    "convergence": (
        "area_under_curve",
        "convergence_seconds",
        "convergence_step",
        "speed_up",
        "time_to_reach",
    ),
    "detection": ("auroc_interval", "fpr_interval"),
    "dominance": ("aso",),
    "group_gaps": ("gap_change", "gap_interval", "worst_interval"),
    "groups": (
        "by_group",
        "demographic_parity_difference",
        "equalized_odds_difference",
        "fairness",
        "group_rates",
        "worst_group",
    ),
    "intervals": ("Interval", "interval", "wilson"),
    "kernels": ("median_bandwidth",),
    "label_savings": ("area_under_log_n", "data_saving_ratio", "label_efficiency"),
    "limits": (
        "correlation_power",
        "critical_spearman",
        "detectable_correlation",
        "rank_correlation",
        "transfer_limits",
    ),
    "medians": ("median_interval",),
    "mmd": (
        "mmd2",
        "mmd2_block",
        "mmd2_block_test",
        "mmd2_linear",
        "mmd2_linear_test",
        "mmd2_test",
    ),
    "moments": ("coral", "frechet", "frechet_gaussians"),
    "more_labels": ("labels_needed", "with_more_items"),
    "out_of_distribution": (
        "energy_scores",
        "fpr_at_tpr",
        "knn_scores",
        "mahalanobis_scores",
        "msp_scores",
        "ood_auroc",
        "relative_mahalanobis_scores",
    ),
    "permutation": ("TwoSample",),
    "power": ("minimum_detectable_difference",),
    "power_law": ("fit_power_law",),
    "random_features": ("mmd2_rff",),
    "rates": ("rate",),
    "rankings": ("critical_difference", "friedman", "nemenyi"),
    "robustness": ("corruption_error_intervals", "corruption_errors"),
    "scaling": ("fit_vector_scaling",),
    "selective": ("risk_coverage",),
    "shift": ("cosine_drift", "mmd2_paired", "mmd2_paired_test", "paired_shift"),
    "significance": ("mcnemar", "nadeau_bengio", "permutation_test", "wilcoxon"),
    "similarity": ("cka", "cka_linear", "cka_minibatch"),
    "slices": (
        "cluster_slices",
        "error_slices",
        "hardest_items",
        "metadata_slices",
        "ranked_confusions",
    ),
    "transferability.discriminant": ("etran", "etran_parts", "ped", "repelled", "sfda"),
    "transferability.judging": (
        "Judgement",
        "judge",
        "kendall_w",
        "random_order",
        "regret",
        "rel_at_k",
        "static_order",
        "weighted_tau",
    ),
    "transferability.log_evidence": ("log_evidence", "logme"),
    "transferability.neighbours": ("knn_transfer", "linear_probe", "parc"),
    "transferability.scatter": ("h_score", "h_score_shrunk"),
    "transferability.separation": ("gbc", "transrate"),
    "transferability.source_head": ("leep", "n_leep", "nce"),
    "transport": ("otdd", "sliced_wasserstein"),
    "two_sample": ("c2st", "energy_distance", "energy_test", "proxy_a_distance"),
}
"""The public names of each module."""

_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a measure from its module when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'regraft.measure' has no attribute {name!r}")
    return getattr(import_module(f"regraft.measure.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__

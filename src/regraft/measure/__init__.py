"""Pure functions from arrays to numbers: metrics, calibration, spread, significance, movement.

The field's names are at hand as ``regraft.measure.mmd2`` and imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regraft.measure.kernels import median_bandwidth as median_bandwidth
    from regraft.measure.mmd import mmd2 as mmd2
    from regraft.measure.mmd import mmd2_block as mmd2_block
    from regraft.measure.mmd import mmd2_block_test as mmd2_block_test
    from regraft.measure.mmd import mmd2_linear as mmd2_linear
    from regraft.measure.mmd import mmd2_linear_test as mmd2_linear_test
    from regraft.measure.mmd import mmd2_test as mmd2_test
    from regraft.measure.moments import coral as coral
    from regraft.measure.moments import frechet as frechet
    from regraft.measure.moments import frechet_gaussians as frechet_gaussians
    from regraft.measure.permutation import TwoSample as TwoSample
    from regraft.measure.random_features import mmd2_rff as mmd2_rff
    from regraft.measure.shift import mmd2_paired as mmd2_paired
    from regraft.measure.shift import mmd2_paired_test as mmd2_paired_test
    from regraft.measure.similarity import cka as cka
    from regraft.measure.similarity import cka_linear as cka_linear
    from regraft.measure.similarity import cka_minibatch as cka_minibatch
    from regraft.measure.transport import otdd as otdd
    from regraft.measure.transport import sliced_wasserstein as sliced_wasserstein
    from regraft.measure.two_sample import c2st as c2st
    from regraft.measure.two_sample import energy_distance as energy_distance
    from regraft.measure.two_sample import energy_test as energy_test
    from regraft.measure.two_sample import proxy_a_distance as proxy_a_distance

_DISTANCES = {
    "TwoSample": "permutation",
    "c2st": "two_sample",
    "cka": "similarity",
    "cka_linear": "similarity",
    "cka_minibatch": "similarity",
    "coral": "moments",
    "energy_distance": "two_sample",
    "energy_test": "two_sample",
    "frechet": "moments",
    "frechet_gaussians": "moments",
    "median_bandwidth": "kernels",
    "mmd2": "mmd",
    "mmd2_block": "mmd",
    "mmd2_block_test": "mmd",
    "mmd2_linear": "mmd",
    "mmd2_linear_test": "mmd",
    "mmd2_paired": "shift",
    "mmd2_paired_test": "shift",
    "mmd2_rff": "random_features",
    "mmd2_test": "mmd",
    "otdd": "transport",
    "proxy_a_distance": "two_sample",
    "sliced_wasserstein": "transport",
}
_HOMES = {**_DISTANCES}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'regraft.measure' has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__

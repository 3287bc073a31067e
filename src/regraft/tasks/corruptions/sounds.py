"""Corruptions of sounds: noise, loss of gain, reverberation, clipping. Sounds are float arrays."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from scipy.signal import fftconvolve

from regraft.errors import ShapeError
from regraft.seeds import numpy_generator
from regraft.tasks.corruptions.severity import check_corruption, of_severity

if TYPE_CHECKING:
    from numpy.typing import NDArray

F = TypeVar("F", bound=np.floating)

SAMPLE_RATE = 16_000


def _noise(
    sound: NDArray[np.float64], severity: int, generator: np.random.Generator, rate: int
) -> NDArray[np.float64]:
    """Add white noise at a ratio of signal to noise of 25 to 0 dB."""
    decibels = of_severity((25.0, 18.0, 12.0, 6.0, 0.0), severity)
    loudness = float(np.sqrt((sound**2).mean()))
    return sound + loudness * 10 ** (-decibels / 20) * generator.normal(size=sound.shape)


def _gain(
    sound: NDArray[np.float64], severity: int, generator: np.random.Generator, rate: int
) -> NDArray[np.float64]:
    """Make it quieter by 6 to 30 dB. Nothing is random."""
    return sound * 10 ** (-of_severity((6.0, 12.0, 18.0, 24.0, 30.0), severity) / 20)


def _reverb(
    sound: NDArray[np.float64], severity: int, generator: np.random.Generator, rate: int
) -> NDArray[np.float64]:
    """Add echoes: noise that falls by 60 dB within 0.2 to 1.5 seconds, ever louder."""
    seconds, wet = of_severity(
        ((0.2, 0.25), (0.4, 0.45), (0.7, 0.7), (1.0, 1.0), (1.5, 1.4)), severity
    )
    n = max(2, min(round(seconds * rate), sound.shape[-1]))
    echoes = generator.normal(size=n) * 10 ** (-3 * np.arange(n) / (seconds * rate))
    echoes[0] = 0.0
    echoes *= wet / np.sqrt((echoes**2).sum())
    wide = echoes.reshape((1,) * (sound.ndim - 1) + (n,))
    return np.asarray(sound + fftconvolve(sound, wide, axes=-1)[..., : sound.shape[-1]])


def _clipping(
    sound: NDArray[np.float64], severity: int, generator: np.random.Generator, rate: int
) -> NDArray[np.float64]:
    """Cut peaks off at a share of the loudest. Nothing is random."""
    peak = of_severity((0.6, 0.4, 0.25, 0.12, 0.05), severity) * float(np.abs(sound).max())
    return np.clip(sound, -peak, peak)


_BY_NAME = MappingProxyType(
    {"noise": _noise, "gain": _gain, "reverb": _reverb, "clipping": _clipping}
)
SOUND_CORRUPTIONS = tuple(_BY_NAME)


def corrupt_sound(
    sound: NDArray[F], name: str, *, severity: int, seed: int, sample_rate: int = SAMPLE_RATE
) -> NDArray[F]:
    """Return a corrupted sound; the same arguments give the same samples.

    Args:
        sound: Floating, shape (T,) or (channels, T), T ≥ 2, finite; any scale.
        name: One of `SOUND_CORRUPTIONS`.
        severity: 1 to 5.
        seed: Of the randomness.
        sample_rate: Samples per second, for reverberation.

    Returns:
        The same shape and dtype; noise and reverberation may exceed the range of the input.

    Raises:
        ConfigError: No corruption has this name, or the severity is none of 1…5.
        ShapeError: The sound is not floating, has another shape, or the rate is not above 0.

    Example:
        >>> corrupt_sound(np.array([1.0, -1.0]), "clipping", severity=2, seed=0)
        array([ 0.4, -0.4])
    """
    check_corruption(name, SOUND_CORRUPTIONS, severity)
    if not np.issubdtype(sound.dtype, np.floating) or sound.ndim not in (1, 2):
        raise ShapeError(
            f"corrupt_sound: {sound.dtype} {sound.shape} is no sound. "
            "Give floats of shape (T,) or (channels, T)."
        )
    if sound.shape[-1] < 2 or sample_rate <= 0:
        raise ShapeError(
            f"corrupt_sound: {sound.shape[-1]} samples at {sample_rate} per second. "
            "Give at least 2 and a rate above 0."
        )
    generator = numpy_generator(seed, "corruption", name)
    corrupted = _BY_NAME[name](sound.astype(np.float64), severity, generator, sample_rate)
    return corrupted.astype(sound.dtype)

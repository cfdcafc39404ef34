"""What tells self-attention where tokens are."""

from collections.abc import Sequence

import numpy as np

POSITIONS = ["rotary", "sinusoidal"]
# Wavelengths rise from 2 pi to this many times as long.
_LONGEST = 10_000.0


def count_positions(lengths: Sequence[int]) -> np.ndarray:
    """RETURNS (ndarray): The position of each token in its sequence, from 0. (N,)"""
    sizes = np.asarray(lengths, dtype=np.int64)
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def get_waves(positions: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Get sines and cosines of positions at wavelengths in a geometric progression.

    positions (ndarray): The positions. (N,)
    width (int): The number of features, an even number: two for each wavelength.
    RETURNS (Tuple[ndarray, ndarray]): The sines and the cosines. float32, (N, width / 2)
    """
    frequencies = _LONGEST ** (-np.arange(0, width, 2) / width)
    angles = positions[:, None] * frequencies
    return np.sin(angles).astype(np.float32), np.cos(angles).astype(np.float32)


def get_sinusoids(positions: np.ndarray, width: int) -> np.ndarray:
    """RETURNS (ndarray): Features to add to tokens at these positions (Vaswani et al. 2017),
    the sines before the cosines. float32, (N, width)
    """
    return np.concatenate(get_waves(positions, width), axis=1)

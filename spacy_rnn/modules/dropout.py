"""Dropout whose mask is the same at every time step."""

import torch


def locked_dropout(X: torch.Tensor, rows: torch.Tensor, rate: float) -> torch.Tensor:
    """Drop features of whole sequences, scaling up what is left: the mask of a sequence is drawn
    once and used for all its tokens (Gal & Ghahramani 2016, "A Theoretically Grounded
    Application of Dropout in Recurrent Neural Networks").

    X (Tensor): The tokens' features. (N, width)
    rows (Tensor): The number of each token's sequence. (N,)
    rate (float): The probability that a feature is dropped, in [0, 1).
    RETURNS (Tensor): The features that are left, divided by 1 - rate. (N, width)
    """
    if rate <= 0.0 or not len(rows):
        return X
    keep = 1.0 - rate
    mask = X.new_empty((int(rows.max()) + 1, X.shape[1])).bernoulli_(keep).div_(keep)
    return X * mask[rows]

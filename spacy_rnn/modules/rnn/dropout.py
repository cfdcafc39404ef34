"""Dropout whose mask is the same at every time step."""

import torch


def locked_dropout(X: torch.Tensor, rows: torch.Tensor, n_rows: int, rate: float) -> torch.Tensor:
    """Drop features of whole sequences, scaling up what is left: the mask of a sequence is drawn
    once and used for all its tokens (Gal & Ghahramani 2016, "A Theoretically Grounded
    Application of Dropout in Recurrent Neural Networks").

    X (Tensor): The tokens' features, in several directions or one. (..., N, width)
    rows (Tensor): The number of each token's sequence. (N,)
    n_rows (int): The number of sequences.
    rate (float): The probability that a feature is dropped, in [0, 1).
    RETURNS (Tensor): The features that are left, divided by 1 - rate. (..., N, width)
    """
    if rate <= 0.0:
        return X
    keep = 1.0 - rate
    mask = X.new_empty((*X.shape[:-2], n_rows, X.shape[-1])).bernoulli_(keep).div_(keep)
    return X * mask.index_select(-2, rows)

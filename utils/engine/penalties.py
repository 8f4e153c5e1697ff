"""Penalties on weights, from scratch, for an ensemble of networks.

Weights come as a list of float tensors [members, fan_in, fan_out]; strengths as
[members]. λ multiplies the plain sum, without ½ (book/notation.md).
"""

from collections.abc import Sequence

import torch


def _strength(lam, like):
    lam = torch.as_tensor(lam, dtype=like.dtype, device=like.device)
    if not bool((lam >= 0).all()):  # also catches NaN
        raise ValueError(f"lam = {lam.tolist()}: every λ must be ≥ 0")
    return lam


def l1_penalty(
    weights: Sequence[torch.Tensor], lam: float | Sequence[float] | torch.Tensor
) -> torch.Tensor:
    """λ Σ |w| over all weights.

    Args:
        weights: float tensors, each [members, fan_in, fan_out].
        lam: strength ≥ 0, loss units per unit of weight, [members].
    Returns: [members].
    Raises: ValueError if any lam < 0.
    Source: Tibshirani (1996); book/l1_l2.ipynb.
    """
    return _strength(lam, weights[0]) * sum(w.abs().sum((1, 2)) for w in weights)


def l2_penalty(
    weights: Sequence[torch.Tensor], lam: float | Sequence[float] | torch.Tensor
) -> torch.Tensor:
    """λ Σ w² over all weights.

    Args:
        weights: float tensors, each [members, fan_in, fan_out].
        lam: strength ≥ 0, loss units per squared weight, [members].
    Returns: [members].
    Raises: ValueError if any lam < 0.
    Source: Krogh & Hertz (1991); book/l1_l2.ipynb.
    """
    return _strength(lam, weights[0]) * sum(w.square().sum((1, 2)) for w in weights)


def soft_threshold(
    weights: torch.Tensor, threshold: float | torch.Tensor
) -> torch.Tensor:
    """Move every weight towards 0 by threshold, stopping at exactly 0.

    The proximal step of λ|w|, with threshold = lr · λ.

    Args:
        weights: float tensor [members, fan_in, fan_out].
        threshold: ≥ 0, units of weight, broadcastable to weights.
    Returns: a tensor like weights.
    Raises: ValueError if any threshold < 0.
    Source: Daubechies, Defrise & De Mol (2004); Parikh & Boyd (2014), §6.5.2.
    """
    threshold = _strength(threshold, weights)
    return weights - weights.clamp(-threshold, threshold)

"""The layers that regularize, from scratch, for an ensemble of networks.

Activations are float tensors [members, batch, units].
"""

import torch
import torch.nn.functional as F

BATCH_NORM_EPS = 1e-5
BATCH_NORM_MOMENTUM = 0.1


def dropout(h: torch.Tensor, p: float | torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Set each unit to 0 with probability p and scale the rest by 1/(1 − p).

    Args:
        h: activations [members, batch, units].
        p: probability in [0, 1), broadcastable to h.
        u: uniforms in [0, 1), broadcastable to h; a unit is kept where u ≥ p.
    Returns: a tensor like h.
    Raises: ValueError if any p is outside [0, 1).
    Source: Srivastava et al. (2014), scaled while training ("inverted").
    """
    p = torch.as_tensor(p, dtype=h.dtype, device=h.device)
    if not bool(((p >= 0) & (p < 1)).all()):
        raise ValueError(f"p = {p.flatten().tolist()}: must be in [0, 1)")
    return h * (u >= p) / (1 - p)


def batch_norm(
    h: torch.Tensor,
    gamma: torch.Tensor,
    beta: torch.Tensor,
    mean: torch.Tensor,
    var: torch.Tensor,
) -> torch.Tensor:
    """γ (h − mean) / √(var + ε) + β.

    Args:
        h: activations [members, batch, units].
        gamma, beta, mean, var: [members, 1, units].
    Returns: a tensor like h.
    Source: Ioffe & Szegedy (2015).
    """
    return gamma * (h - mean) / torch.sqrt(var + BATCH_NORM_EPS) + beta


def augment(
    images: torch.Tensor, amounts: torch.Tensor, u: torch.Tensor
) -> torch.Tensor:
    """Warp images by uniforms: each change up to its amount, either way.

    Args:
        images: [n, rows, columns].
        amounts: rotation, shift, scale and flip of `Augment`, [n or 1, 4].
        u: uniforms in [0, 1), [n, 5].
    Returns: [n, rows, columns].
    """
    most_rotation, most_shift, most_scale, flip = amounts.T
    rotation, right, down, size = (2 * u[:, :4] - 1).T
    shift = right * most_shift, down * most_shift
    scale = 1 + size * most_scale
    return warp(images, rotation * most_rotation, *shift, scale, u[:, 4] < flip)


def warp(
    images: torch.Tensor,
    rotation: torch.Tensor,
    shift_x: torch.Tensor,
    shift_y: torch.Tensor,
    scale: torch.Tensor,
    mirror: torch.Tensor,
) -> torch.Tensor:
    """Rotate, shift, scale and mirror images, bilinear, zeros outside.

    Args:
        images: [n, rows, columns].
        rotation: degrees, counter-clockwise, [n].
        shift_x, shift_y: pixels to the right and down, [n].
        scale: factor > 0, [n].
        mirror: bool, True where left and right are exchanged, [n].
    Returns: [n, rows, columns].
    """
    n, rows, columns = images.shape
    angle = torch.deg2rad(rotation)
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    side = 1 - 2 * mirror.to(images.dtype)  # where() would make constants
    dx, dy = 2 * shift_x / columns, 2 * shift_y / rows
    top = torch.stack((side * cos, -side * sin, side * (sin * dy - cos * dx)), dim=1)
    bottom = torch.stack((sin, cos, -sin * dx - cos * dy), dim=1)
    grid = F.affine_grid(
        torch.stack((top, bottom), dim=1), (n, 1, rows, columns), align_corners=False
    )
    return F.grid_sample(images[:, None], grid, align_corners=False)[:, 0]

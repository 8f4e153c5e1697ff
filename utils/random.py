"""Random numbers as a pure function of (seed, purpose, step, layer, unit).

The generator is pcg4d of Jarzynski & Olano (2020), "Hash functions for GPU
rendering", JCGT 9(3): four 32-bit words in, four out, by multiplication, addition
and shift alone, so that PyTorch, JavaScript, WebAssembly and WGSL give the same
bits. There is no state: a number depends on its address and on nothing else.

Address: word 0 counts blocks of four units, word 1 is the step, word 2 is
purpose · 2¹⁶ + layer, word 3 is the seed. Each row (a sample of the batch) begins
a new block, so that a block never spans two rows.
"""

import math
import os
from collections.abc import Sequence
from enum import IntEnum

import torch

# The audit (utils/book/audit.py) asks whether what the book says holds on other draws:
# then every address leads to other numbers. 0: the book's own.
AUDIT = int(os.environ.get("AUDIT") or 0)


class Purpose(IntEnum):
    """What a random number is for; part of its address."""

    SUBSET = 1
    LABEL = 2
    LABEL_VALUE = 3
    WEIGHT = 4
    BIAS = 5
    ORDER = 6
    DROPOUT = 7
    INPUT_NOISE = 8
    WEIGHT_NOISE = 9
    ACTIVATION_NOISE = 10
    AUGMENT = 11
    DROPCONNECT = 12
    FOLD = 13
    SPLIT = 14
    POINT = 15
    POINT_NOISE = 16


def _shift(v):
    return (v >> 16) & 0xFFFF


def pcg4d(
    x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, w: torch.Tensor
) -> Sequence[torch.Tensor]:
    """Hash four int32 tensors into four of their common shape; wraps at 32 bits."""
    x, y, z, w = (v * 1664525 + 1013904223 for v in (x, y, z, w))
    for last in (False, True):
        x = x + y * w
        y = y + z * x
        z = z + x * y
        w = w + y * z
        if not last:
            x, y, z, w = (v ^ _shift(v) for v in (x, y, z, w))
    return torch.broadcast_tensors(x, y, z, w)


def redrawn(seed: int) -> int:
    """Return the seed in [0, 2³²) that an audit takes in place of this one."""
    return (seed + AUDIT * 0x9E3779B1) % 2**32


def _int32(value):
    """Return a whole number in [0, 2³²) as the int32 with the same bits."""
    return value - 2**32 if value >= 2**31 else value


def bits(
    seed: int | Sequence[int],
    purpose: Purpose,
    steps: Sequence[int],
    layer: int,
    rows: int,
    width: int,
    device: str | torch.device = "cpu",
) -> torch.Tensor:
    """Return random 32-bit words.

    Args:
        seed: whole number in [0, 2³²), or a list of them for a leading axis.
        purpose: Purpose.
        steps: whole numbers, one per step.
        layer: whole number in [0, 2¹⁶).
        rows, width: the block of numbers wanted at each step.
    Returns: int32 [len(steps), rows, width], or [len(seed), len(steps), rows, width].
    """
    if not isinstance(seed, int):
        seeds = torch.tensor(
            [_int32(redrawn(s)) for s in seed], dtype=torch.int32, device=device
        )
        return _bits(seeds, purpose, steps, layer, rows, width)
    return bits([seed], purpose, steps, layer, rows, width, device)[0]


def _bits(seeds, purpose, steps, layer, rows, width):
    blocks = (width + 3) // 4
    options = {"dtype": torch.int32, "device": seeds.device}
    x = torch.arange(rows * blocks, **options)[None, None]
    y = torch.as_tensor(steps, dtype=torch.int32).to(seeds.device)[None, :, None]
    z = torch.tensor((int(purpose) << 16) + layer, **options)
    words = torch.stack(pcg4d(x, y, z, seeds[:, None, None]), dim=-1)
    return words.view(len(seeds), -1, rows, blocks * 4)[..., :width]


def uniforms(
    seed: int | Sequence[int],
    purpose: Purpose,
    steps: Sequence[int],
    layer: int,
    rows: int,
    width: int,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
) -> torch.Tensor:
    """Return uniforms in [0, 1), 24 bits, exact in float32, shaped as `bits`."""
    words = bits(seed, purpose, steps, layer, rows, width, device)
    return ((words >> 8) & 0xFFFFFF).to(dtype).mul_(2.0**-24)


def normals(
    seed: int | Sequence[int],
    purpose: Purpose,
    steps: Sequence[int],
    layer: int,
    rows: int,
    width: int,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
) -> torch.Tensor:
    """Return standard normals shaped as `bits`, by Box and Muller (1958)."""
    pairs = (width + 1) // 2
    u = uniforms(seed, purpose, steps, layer, rows, 2 * pairs, dtype, device)
    radius = torch.sqrt(-2 * torch.log(1 - u[..., 0::2]))
    angle = 2 * math.pi * u[..., 1::2]
    pair = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=-1)
    return pair.view(*u.shape)[..., :width]


def permutations(
    seed: int | Sequence[int],
    purpose: Purpose,
    steps: Sequence[int],
    n: int,
    device: str | torch.device = "cpu",
) -> torch.Tensor:
    """Return a random order of 0 … n−1 per step, int64 [… steps, n] as `bits`."""
    words = bits(seed, purpose, steps, 0, 1, n, device)[..., 0, :]
    return torch.argsort(words, dim=-1, stable=True)

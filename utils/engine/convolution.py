"""3 × 3 convolutions and 2 × 2 max pooling, for an ensemble of networks.

A convolution is a matrix product over patches of its input (Chellapilla, Puri & Simard
2006). So its kernels are weights [members, 9 · channels, maps] like those of a dense
layer, with a row per pixel, and everything else a layer does is the same. On images
this small it is as fast as a grouped convolution, and needs no cuDNN.

Activations have their channels last: [members, batch · pixels, channels]. Row
(3 y + x) · channels + c of a kernel weighs channel c, y − 1 pixels down and x − 1 to
the right. The random numbers of a map are addressed in the same orders: layers are
counted through from the input, convolutions first; a unit of activation noise is
pixel · maps + map, of dropout_channels the map.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

POOL = [2, 2]


@dataclass(frozen=True)
class Convolution:
    """A 3 × 3 convolution with padding 1, and the 2 × 2 pooling that follows it.

    Args:
        rows, columns: size of the input and of the maps before pooling, pixels.
        channels: of the input.
        maps: channels of the output.
    """

    rows: int
    columns: int
    channels: int
    maps: int

    @property
    def fan(self) -> tuple[int, int]:
        """fan_in, fan_out: the shape of the kernels."""
        return 9 * self.channels, self.maps

    @property
    def pixels(self) -> int:
        """Pixels of a map before pooling."""
        return self.rows * self.columns

    @property
    def features(self) -> int:
        """Numbers left of an image after pooling."""
        return (self.rows // 2) * (self.columns // 2) * self.maps

    def patches(self, x: torch.Tensor) -> torch.Tensor:
        """Return what each output pixel sees of x, zeros outside the image.

        Args: x: [members, batch · pixels, channels], or any shape so ordered.
        Returns: [members, batch · pixels, 9 · channels].
        """
        images = x.reshape(len(x), -1, self.rows, self.columns, self.channels)
        padded = F.pad(images, (0, 0, 1, 1, 1, 1))
        windows = padded.unfold(2, 3, 1).unfold(3, 3, 1)  # [..., channels, 3, 3]
        rows = windows.permute(0, 1, 2, 3, 5, 6, 4)
        return rows.reshape(len(x), -1, 9 * self.channels)

    def input_gradient(self, d: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return the gradient by x: d convolved with the kernel turned by 180°.

        Args:
            d: gradient by the output, [members, batch · pixels, maps].
            weight: [members, 9 · channels, maps].
        Returns: [members, batch · pixels, channels].
        """
        back = Convolution(self.rows, self.columns, self.maps, self.channels)
        kernel = weight.view(-1, 3, 3, self.channels, self.maps).flip(1, 2)
        return torch.bmm(back.patches(d), kernel.mT.reshape(-1, *back.fan))

    def pool(self, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the largest of each 2 × 2 pixels, and where they were.

        Args: h: [members, batch · pixels, maps].
        Returns: [members, batch · pooled pixels, maps], and what unpool needs.
        """
        maps = self._maps(h)
        pooled, where = torch.ops.aten.max_pool2d_with_indices(maps, POOL)
        return pooled.permute(0, 2, 3, 1).reshape(len(h), -1, self.maps), where

    def unpool(
        self, d: torch.Tensor, h: torch.Tensor, where: torch.Tensor
    ) -> torch.Tensor:
        """Return the gradient by h, given that by what pool made of it."""
        maps = self._maps(h)
        d = d.view(-1, *where.shape[2:], self.maps).permute(0, 3, 1, 2)
        options = (POOL, POOL, [0, 0], [1, 1], False, where)
        out = torch.ops.aten.max_pool2d_with_indices_backward(d, maps, *options)
        return out.permute(0, 2, 3, 1).reshape(h.shape)

    def _maps(self, h):
        """h as torch's layers want it: [members · batch, maps, rows, columns]."""
        return h.view(-1, self.rows, self.columns, self.maps).permute(0, 3, 1, 2)

    def module(self, weight: torch.Tensor, bias: torch.Tensor) -> nn.Conv2d:
        """Return the convolution as torch.nn has it.

        Args:
            weight: [9 · channels, maps].
            bias: [1, maps].
        """
        shape = (self.channels, self.maps, 3)
        layer = torch.nn.utils.skip_init(nn.Conv2d, *shape, padding=1)
        kernel = weight.view(3, 3, self.channels, self.maps).permute(3, 2, 0, 1)
        layer.weight.data, layer.bias.data = kernel.contiguous(), bias[0].clone()
        return layer


def convolutions(
    image: tuple[int, int] | None, channels: Sequence[int]
) -> list[Convolution]:
    """Return the convolutions of a network for images of one channel.

    Args:
        image: rows, columns; None only without channels.
        channels: maps of each convolution.
    """
    layers, before = [], 1
    for i, maps in enumerate(channels):
        rows, columns = (side >> i for side in image)
        layers.append(Convolution(rows, columns, before, maps))
        before = maps
    return layers


def flatten(h: torch.Tensor, batch: int) -> torch.Tensor:
    """Return [members, batch · pixels, maps] as [members, batch, maps · pixels]."""
    return h.view(len(h), batch, -1, h.shape[-1]).mT.reshape(len(h), batch, -1)


def unflatten(d: torch.Tensor, maps: int) -> torch.Tensor:
    """Undo flatten."""
    return d.view(*d.shape[:2], maps, -1).mT.reshape(len(d), -1, maps)

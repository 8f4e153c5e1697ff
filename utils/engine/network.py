"""Forward and backward passes of an ensemble, by hand, on preallocated buffers.

Autograd would be shorter and is what tests/reference.py uses; by hand each step costs
a third as much, because nothing is allocated or recorded. All parameters of a member
lie in one row of one matrix: weights first, then biases, then the parameters of batch
normalization. So a penalty acts on a block of columns and the optimizer on one tensor.
"""

from collections.abc import Hashable
from itertools import pairwise
from typing import Any

import torch

from utils.data import Data
from utils.engine.convolution import Convolution, convolutions, flatten, unflatten
from utils.engine.layers import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM
from utils.experiment import Experiment

# Rows are padded so that a member's numbers meet the same vector lanes in any company.
ROW = 16

# Numbers a layer passes on at once when a set is evaluated: on the CPU, on CUDA.
NUMBERS = (2**18, 2**26)

SELU = (1.6732632423543772, 1.0507009873554805, 1.0)  # alpha, scale, input scale


def layout(experiment: Experiment, data: Data) -> tuple[list[Convolution], list[int]]:
    """Return a network's convolutions, and the sizes its dense layers go between."""
    layers = convolutions(data.image, experiment.channels)
    features = layers[-1].features if layers else data.features
    return layers, [features, *experiment.hidden, data.outputs]


class Network:
    """Parameters, gradients and passes of `members` networks of one layout.

    The first layers are `convolutions`, the others dense, between `sizes`. Weights are
    [members, fan_in, fan_out]; the rest [members, 1, units].
    """

    # Views of `flat`, and of its gradient
    weights: list[torch.Tensor]
    biases: list[torch.Tensor]
    gammas: list[torch.Tensor]
    betas: list[torch.Tensor]
    d_weights: list[torch.Tensor]
    d_biases: list[torch.Tensor]
    d_gammas: list[torch.Tensor]
    d_betas: list[torch.Tensor]

    def __init__(
        self,
        members: int,
        layout: tuple[list[Convolution], list[int]],
        activation: str,
        batch_norm: bool,
        **options: Any,
    ):
        self.members, (self.convolutions, sizes) = members, layout
        self.activation, self.options = activation, options
        self.fans = [*(c.fan for c in self.convolutions), *pairwise(sizes)]
        units = [fan_out for _, fan_out in self.fans]
        pixels = [c.pixels for c in self.convolutions] + [1] * (len(sizes) - 2)
        self.hidden = list(zip(pixels, units[:-1], strict=True))
        norms = units[:-1] if batch_norm else []
        shapes = [
            *self.fans,
            *((1, width) for width in units),
            *((1, width) for width in [*norms, *norms]),
        ]
        counts = [rows * columns for rows, columns in shapes]
        self.n_weights = sum(counts[: len(self.fans)])
        self.n_parameters = sum(counts)
        length = -(-self.n_parameters // ROW) * ROW
        self.flat = torch.zeros(members, length, **options)
        self.flat_gradient = torch.zeros_like(self.flat)
        self._split(counts, shapes, len(norms))
        self.means = [torch.zeros(members, 1, width, **options) for width in norms]
        self.variances = [torch.zeros(members, 1, width, **options) for width in norms]
        self._buffers: dict[tuple, torch.Tensor] = {}

    def reset(self) -> None:
        """Zero the parameters, set γ and the running variances to 1."""
        self.flat.zero_()
        for tensor in self.means:
            tensor.zero_()
        for tensor in (*self.gammas, *self.variances):
            tensor.fill_(1)

    def _split(self, counts, shapes, norms):
        """Name the blocks of a row."""
        depth = len(self.fans)
        ends = (depth, 2 * depth, 2 * depth + norms, 2 * depth + 2 * norms)
        for prefix, matrix in (("", self.flat), ("d_", self.flat_gradient)):
            views, at = [], 0
            for count, shape in zip(counts, shapes, strict=True):
                views.append(matrix[:, at : at + count].view(-1, *shape))
                at += count
            starts = (0, *ends[:-1])
            for name, a, b in zip(
                ("weights", "biases", "gammas", "betas"), starts, ends, strict=True
            ):
                setattr(self, prefix + name, views[a:b])

    @property
    def parameters(self) -> list[torch.Tensor]:
        return [*self.weights, *self.biases, *self.gammas, *self.betas]

    @property
    def state(self) -> list[torch.Tensor]:
        """Every tensor that training changes and keeps."""
        return [self.flat, *self.means, *self.variances]

    @property
    def is_tame(self) -> bool:
        """True if no loss can overflow: the parameters that multiply each other, were
        all as large as the largest, would leave half of the exponents to the sums.
        """
        factors = len(self.weights) + len(self.gammas)
        limit = torch.finfo(self.flat.dtype).max ** (1 / (4 * factors))
        return bool(self.flat.abs().amax() <= limit)  # NaN is not

    def buffer(self, name: Hashable, *shape: int) -> torch.Tensor:
        """A tensor that is kept between steps, so that nothing is allocated."""
        key = (name, *shape)
        if key not in self._buffers:
            self._buffers[key] = torch.empty(shape, **self.options)
        return self._buffers[key]

    def forward(
        self,
        x: torch.Tensor,
        noise: dict[tuple[str, int], torch.Tensor],
        logits: torch.Tensor,
    ) -> list[tuple]:
        """Training-mode pass; writes logits, returns what backward needs.

        Args:
            x: inputs [members, batch, features].
            noise: the step's random tensors by (what, layer): 'weight' is added to
                layer 0 …, 'connect' multiplies its weights; 'activation' and 'mask' act
                on hidden layer 1 …, 'mask before' in front of its batch norm. Masks of
                units are [members, batch, units].
            logits: out, [members, batch, outputs].
        """
        tape, h, last, batch = [], x, len(self.weights) - 1, x.shape[1]
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            weight = self._noisy(i, w, noise)
            h = self._rows(i, h, batch)
            if i == last:
                self._last(h, weight, b, logits)
                tape.append((h, weight, None, None, None))
                break
            shape = (self.members, h.shape[1], w.shape[2])
            z = torch.baddbmm(b, h, weight, out=self.buffer(("h", i), *shape))
            if ("mask before", i + 1) in noise:
                z.mul_(noise["mask before", i + 1])
            norm = self._normalize(i, z) if self.gammas else None
            out = self._activate(z)
            above, where = self._disturb(i, out, noise)
            tape.append((h, weight, norm, out, where))
            h = above
        return tape

    def _noisy(self, i, w, noise):
        """The weights as this step sees them: some dropped, noise added."""
        own = self.buffer(("w", i), *w.shape)
        if ("connect", i) in noise:
            w = torch.mul(w, noise["connect", i], out=own)
        if ("weight", i) in noise:
            w = torch.add(w, noise["weight", i], out=own)
        return w

    def _rows(self, i, h, batch):
        """The rows that layer i multiplies: patches, or one per point."""
        if i < len(self.convolutions):
            return self.convolutions[i].patches(h)
        return flatten(h, batch) if 0 < i == len(self.convolutions) else h

    def _disturb(self, i, out, noise):
        """Noise, pooling, dropout. A map that is dropped may as well be pooled first.

        Returns: what the next layer sees, and where pooling found it or None.
        """
        h, where = out, None
        if ("activation", i + 1) in noise:
            added = noise["activation", i + 1].reshape(h.shape)
            h = torch.add(h, added, out=self.buffer(("n", i), *h.shape))
        if i < len(self.convolutions):
            h, where = self.convolutions[i].pool(h)
        if ("mask", i + 1) in noise:
            # relu's gate survives its mask; other activations need their own output
            own = h is not out or self.activation == "relu"
            target = h if own else self.buffer(("n", i), *h.shape)
            h = self._masked(h, noise["mask", i + 1], target)
        return h, where

    def _masked(self, h, mask, out):
        """h times a mask that all pixels of a map share."""
        if h.shape == mask.shape:
            return torch.mul(h, mask, out=out)
        shape = (*mask.shape[:2], -1, mask.shape[2])
        torch.mul(h.view(shape), mask[:, :, None], out=out.view(shape))
        return out

    def _activate(self, z):
        if self.activation == "relu":
            return z.relu_()
        return z.tanh_() if self.activation == "tanh" else torch.selu_(z)

    def _gate(self, d, out):
        """Multiply d by the derivative of the activation, given its output."""
        if self.activation == "relu":
            return torch.ops.aten.threshold_backward.grad_input(d, out, 0, grad_input=d)
        if self.activation == "tanh":
            return torch.ops.aten.tanh_backward.grad_input(d, out, grad_input=d)
        return torch.ops.aten.elu_backward.grad_input(d, *SELU, True, out, grad_input=d)

    def _normalize(self, i, z):
        """Normalize z in place; return the normalized z before γ and β, and 1/σ."""
        n = z.shape[1]
        var, mean = torch.var_mean(z, 1, correction=0, keepdim=True)
        self.means[i].lerp_(mean, BATCH_NORM_MOMENTUM)
        self.variances[i].lerp_(var * (n / max(n - 1, 1)), BATCH_NORM_MOMENTUM)
        inverse = torch.rsqrt(var + BATCH_NORM_EPS)
        hat = torch.sub(z, mean, out=self.buffer(("hat", i), *z.shape)).mul_(inverse)
        torch.addcmul(self.betas[i], hat, self.gammas[i], out=z)
        return hat, inverse

    def _unnormalize(self, i, d, hat, inverse):
        """Backward of _normalize: gradients of γ and β, and d in place."""
        torch.sum(d, 1, keepdim=True, out=self.d_betas[i])
        product = torch.mul(d, hat, out=self.buffer(("dn", i), *d.shape))
        torch.sum(product, 1, keepdim=True, out=self.d_gammas[i])
        n = d.shape[1]
        d.sub_(self.d_betas[i] / n).sub_(hat.mul_(self.d_gammas[i] / n))
        return d.mul_(self.gammas[i] * inverse)

    def _weight_gradient(self, i, rows, d):
        """rowsᵀ d; batched products need a target of their own to be fast."""
        if self.members == 1:
            torch.bmm(rows.mT, d, out=self.d_weights[i])
        elif d.shape[2] == 1:
            product = torch.mul(rows, d, out=self.buffer(("dw", i), *rows.shape))
            torch.sum(product, 1, out=self.d_weights[i][..., 0])
        else:
            own = self.buffer(("dw", i), *self.d_weights[i].shape)
            self.d_weights[i].copy_(torch.bmm(rows.mT, d, out=own))

    def _last(self, rows, weight, bias, logits):
        """Write rows · weight + bias; a single output is faster as a plain sum."""
        if self.members == 1 or weight.shape[2] > 1:
            torch.baddbmm(bias, rows, weight, out=logits)
        else:
            product = torch.mul(rows, weight.mT, out=self.buffer("out", *rows.shape))
            torch.sum(product, 2, keepdim=True, out=logits)
            logits.add_(bias)

    def _bias_gradient(self, i, d, mask):
        """A bias in front of batch normalization has gradient 0: the mean cancels it.

        Summed up it would be rounding noise, which Adam blows up to whole steps. Only
        units dropped in between keep the mean from cancelling: mask, else None.
        """
        cancelled = self.gammas and i < len(self.weights) - 1
        if cancelled and mask is None:
            self.d_biases[i].zero_()
            return
        torch.sum(d, 1, keepdim=True, out=self.d_biases[i])
        if cancelled:  # a member with p = 0 has ones for a mask
            self.d_biases[i].mul_(mask[:, :1, :1] != 1)

    def backward(
        self,
        tape: list[tuple],
        noise: dict[tuple[str, int], torch.Tensor],
        d: torch.Tensor,
    ) -> None:
        """Write the gradient of the mean loss; d is its derivative by the logits."""
        for i in reversed(range(len(tape))):
            rows, weight = tape[i][:2]
            mask = noise.get(("mask before", i + 1))
            if mask is not None:
                d.mul_(mask)
            self._weight_gradient(i, rows, d)
            if ("connect", i) in noise:
                self.d_weights[i].mul_(noise["connect", i])
            self._bias_gradient(i, d, mask)
            if i == 0:
                return
            _, _, norm, out, where = tape[i - 1]
            below = self._input_gradient(i, d, weight)
            if ("mask", i) in noise:
                self._masked(below, noise["mask", i], below)
            if where is not None:
                below = self.convolutions[i - 1].unpool(below, out, where)
            d = self._gate(below, out)
            if norm is not None:
                d = self._unnormalize(i - 1, d, *norm)

    def _input_gradient(self, i, d, weight):
        """The gradient by what layer i was given."""
        count = len(self.convolutions)
        if i < count:
            return self.convolutions[i].input_gradient(d, weight)
        below = self.buffer(("d", i), *d.shape[:2], weight.shape[1])
        if d.shape[2] == 1:
            torch.mul(d, weight.mT, out=below)
        else:
            torch.bmm(d, weight.mT, out=below)
        return unflatten(below, self.convolutions[-1].maps) if i == count else below

    def evaluate(self, X: torch.Tensor) -> torch.Tensor:
        """Return the logits with all noise off, by the running statistics.

        In chunks of points, so that what a layer passes on stays in the cache.

        Args: X: inputs [members or 1, n, features].
        Returns: [members, n, outputs].
        """
        x = X.expand(self.members, -1, -1)
        logits = torch.empty(*x.shape[:2], self.fans[-1][1], **self.options)
        widest = max(pixels * units for pixels, units in [(1, 1), *self.hidden])
        room = NUMBERS[logits.device.type == "cuda"]
        points = max(32, room // (self.members * widest))
        for part, out in zip(x.split(points, 1), logits.split(points, 1), strict=True):
            self._evaluate(part, out)
        return logits

    def _evaluate(self, x, logits):
        h, last = x, len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            rows = self._rows(i, h, x.shape[1])
            if i == last:
                self._last(rows, weight, bias, logits)
                return
            shape = (self.members, rows.shape[1], weight.shape[2])
            h = torch.baddbmm(bias, rows, weight, out=self.buffer(("e", i), *shape))
            if self.gammas:
                slope = self.gammas[i] * torch.rsqrt(self.variances[i] + BATCH_NORM_EPS)
                h.sub_(self.means[i]).mul_(slope).add_(self.betas[i])
            h = self._activate(h)
            if i < len(self.convolutions):
                h, _ = self.convolutions[i].pool(h)

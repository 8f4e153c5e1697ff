"""Forward and backward passes of an ensemble, by hand, on preallocated buffers.

Autograd would be shorter and is what tests/reference.py uses; by hand each step costs
a third as much, because nothing is allocated or recorded. All parameters of a member
lie in one row of one matrix: weights first, then biases, then the parameters of batch
normalization. So a penalty acts on a block of columns and the optimizer on one tensor.
"""

from itertools import pairwise

import torch

from utils.layers import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM

# Rows are padded so that a member's numbers meet the same vector lanes in any company.
ROW = 16

SELU = (1.6732632423543772, 1.0507009873554805, 1.0)  # alpha, scale, input scale


class Network:
    """Parameters, gradients and passes of `members` networks with layers `sizes`.

    Weights are [members, fan_in, fan_out]; the rest [members, 1, units].
    """

    def __init__(self, members, sizes, activation, batch_norm, **options):
        self.members, self.sizes = members, sizes
        self.activation, self.options = activation, options
        norms = sizes[1:-1] if batch_norm else []
        shapes = [
            *pairwise(sizes),
            *((1, width) for width in sizes[1:]),
            *((1, width) for width in [*norms, *norms]),
        ]
        counts = [rows * columns for rows, columns in shapes]
        self.n_weights = sum(counts[: len(sizes) - 1])
        self.n_parameters = sum(counts)
        length = -(-self.n_parameters // ROW) * ROW
        self.flat = torch.zeros(members, length, **options)
        self.flat_gradient = torch.zeros_like(self.flat)
        self._split(counts, shapes, len(norms))
        units = [(members, 1, width) for width in norms]
        self.means = [torch.zeros(shape, **options) for shape in units]
        self.variances = [torch.zeros(shape, **options) for shape in units]
        self._buffers = {}

    def reset(self):
        """Zero the parameters, set γ and the running variances to 1."""
        self.flat.zero_()
        for tensor in self.means:
            tensor.zero_()
        for tensor in (*self.gammas, *self.variances):
            tensor.fill_(1)

    def _split(self, counts, shapes, norms):
        """Name the blocks of a row."""
        depth = len(self.sizes) - 1
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
    def parameters(self):
        return [*self.weights, *self.biases, *self.gammas, *self.betas]

    @property
    def state(self):
        """Every tensor that training changes and keeps."""
        return [self.flat, *self.means, *self.variances]

    def buffer(self, name, *shape):
        """A tensor that is kept between steps, so that nothing is allocated."""
        key = (name, *shape)
        if key not in self._buffers:
            self._buffers[key] = torch.empty(shape, **self.options)
        return self._buffers[key]

    def forward(self, x, noise, logits):
        """Training-mode pass; writes logits, returns what backward needs.

        Args:
            x: inputs [members, batch, features].
            noise: the step's random tensors by (what, layer): 'weight' is added to
                layer 0 …, 'activation' and 'mask' act on hidden layer 1 ….
            logits: out, [members, batch, outputs].
        """
        tape, h, last = [], x, len(self.weights) - 1
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            weight = w
            if ("weight", i) in noise:
                weight = torch.add(
                    w, noise["weight", i], out=self.buffer(("w", i), *w.shape)
                )
            if i == last:
                torch.baddbmm(b, h, weight, out=logits)
                tape.append((h, weight, None, None))
                return tape
            shape = (self.members, x.shape[1], self.sizes[i + 1])
            z = torch.baddbmm(b, h, weight, out=self.buffer(("h", i), *shape))
            norm = self._normalize(i, z) if self.gammas else None
            out = self._activate(z)
            tape.append((h, weight, norm, out))
            h = out
            if ("activation", i + 1) in noise:
                h = torch.add(
                    h, noise["activation", i + 1], out=self.buffer(("n", i), *shape)
                )
            if ("mask", i + 1) in noise:
                # relu's gate survives its mask; other activations need their own output
                own = h is not out or self.activation == "relu"
                target = h if own else self.buffer(("n", i), *shape)
                h = torch.mul(h, noise["mask", i + 1], out=target)

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

    def _bias_gradient(self, i, d):
        """A bias in front of batch normalization has gradient 0: the mean cancels it.

        Summed up it would be rounding noise, which Adam blows up to whole steps.
        """
        if self.gammas and i < len(self.weights) - 1:
            self.d_biases[i].zero_()
        else:
            torch.sum(d, 1, keepdim=True, out=self.d_biases[i])

    def backward(self, tape, noise, d):
        """Write the gradient of the mean loss; d is its derivative by the logits."""
        for i in reversed(range(len(tape))):
            h, weight, _, _ = tape[i]
            torch.bmm(h.mT, d, out=self.d_weights[i])
            self._bias_gradient(i, d)
            if i == 0:
                return
            _, _, norm, out = tape[i - 1]
            below = self.buffer(("d", i), *h.shape)
            if d.shape[2] == 1:
                torch.mul(d, weight.mT, out=below)
            else:
                torch.bmm(d, weight.mT, out=below)
            if ("mask", i) in noise:
                below.mul_(noise["mask", i])
            d = self._gate(below, out)
            if norm is not None:
                d = self._unnormalize(i - 1, d, *norm)

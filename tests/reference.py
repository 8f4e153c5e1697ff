"""The plain PyTorch loop a student would write: the oracle for the engine.

One network, torch.nn layers, torch.optim, autograd; only the random numbers come
from utils.random, so that both take the same steps.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from utils import random
from utils.data import load, training_set, validation_set
from utils.engine.layers import warp
from utils.random import Purpose

ACTIVATION = {"relu": nn.ReLU(), "tanh": nn.Tanh(), "selu": nn.SELU()}


def draw(kind, e, purpose, step, layer, rows, width):
    dtype = getattr(torch, e.dtype)
    return kind(e.seed, purpose, [step], layer, rows, width, dtype)[0]


def as_kernel(w):
    """[9 · channels, maps], rows by pixel and then channel, as nn.Conv2d has it."""
    return w.view(3, 3, -1, w.shape[1]).permute(3, 2, 0, 1)


def as_matrix(kernel):
    """The inverse of as_kernel."""
    return kernel.permute(2, 3, 1, 0).reshape(-1, kernel.shape[0])


class Network(nn.Module):
    def __init__(self, e):
        super().__init__()
        self.e = e
        data = load(e.data)
        self.image = data.image
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise([1, *e.channels])
        )
        features = data.features
        if e.channels:
            features = e.channels[-1] * math.prod(
                side >> len(e.channels) for side in data.image
            )
        sizes = [features, *e.hidden, data.outputs]
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        norms = [nn.BatchNorm2d(c) for c in e.channels]
        norms += [nn.BatchNorm1d(h) for h in e.hidden]
        self.norms = nn.ModuleList(norms if e.batch_norm else [])
        self.to(getattr(torch, e.dtype))
        for i, conv in enumerate(self.convs):
            k = e.init_scale / math.sqrt(9 * conv.in_channels)
            shape = (9 * conv.in_channels, conv.out_channels)
            w = draw(random.uniforms, e, Purpose.WEIGHT, 0, i, *shape)
            b = draw(random.uniforms, e, Purpose.BIAS, 0, i, 1, shape[1])
            conv.weight.data = as_kernel(2 * w - 1).contiguous() * k
            conv.bias.data = (2 * b[0] - 1) * k
        for i, linear in enumerate(self.linears, len(self.convs)):
            k = e.init_scale / math.sqrt(linear.in_features)
            shape = (linear.in_features, linear.out_features)
            w = draw(random.uniforms, e, Purpose.WEIGHT, 0, i, *shape)
            b = draw(random.uniforms, e, Purpose.BIAS, 0, i, 1, shape[1])
            linear.weight.data = (2 * w - 1).T.contiguous() * k
            linear.bias.data = (2 * b[0] - 1) * k

    def forward(self, x, step=None):
        e, noisy = self.e, step is not None
        if noisy and e.augment is not None:
            x = self.augmented(x, step)
        if noisy and e.input_noise:
            x = x + e.input_noise * self.normal(Purpose.INPUT_NOISE, step, 0, x)
        if noisy and e.dropout_input:
            x = self.dropped(x, e.dropout_input, step, 0)
        if self.convs:
            x = self.convolved(x.view(-1, 1, *self.image), step).flatten(1)
        last = len(self.convs) + len(self.linears) - 1
        for i, linear in enumerate(self.linears, len(self.convs)):
            w = self.connected(linear.weight.T, step, i).T
            if noisy and e.weight_noise:
                noise = self.normal(Purpose.WEIGHT_NOISE, step, i, w.T)
                w = w + e.weight_noise * noise.T
            hidden = i < last
            early = noisy and hidden and e.dropout and e.dropout_at == "before_norm"
            # The mean over the batch cancels this bias: its true gradient is 0.
            cancelled = e.batch_norm and hidden and not early
            bias = linear.bias.detach() if cancelled else linear.bias
            x = F.linear(x, w, bias)
            if not hidden:
                return x
            if early:
                x = self.dropped(x, e.dropout, step, i + 1)
            if e.batch_norm:
                x = self.norms[i](x)
            x = ACTIVATION[e.activation](x)
            if noisy and e.activation_noise:
                noise = self.normal(Purpose.ACTIVATION_NOISE, step, i + 1, x)
                x = x + e.activation_noise * noise
            places = ("hidden", "last") if i == last - 1 else ("hidden",)
            if noisy and e.dropout and e.dropout_at in places:
                x = self.dropped(x, e.dropout, step, i + 1)
        return x

    def convolved(self, x, step):
        e, noisy = self.e, step is not None
        for i, conv in enumerate(self.convs):
            w = as_kernel(self.connected(as_matrix(conv.weight), step, i))
            if noisy and e.weight_noise:
                shape = w.new_empty(9 * conv.in_channels, conv.out_channels)
                noise = self.normal(Purpose.WEIGHT_NOISE, step, i, shape)
                w = w + e.weight_noise * as_kernel(noise)
            bias = conv.bias.detach() if e.batch_norm else conv.bias
            x = F.conv2d(x, w, bias, padding=1)
            if e.batch_norm:
                x = self.norms[i](x)
            x = ACTIVATION[e.activation](x)
            if noisy and e.activation_noise:
                n, maps, rows, columns = x.shape
                flat = x.view(n, -1)
                noise = self.normal(Purpose.ACTIVATION_NOISE, step, i + 1, flat)
                noise = noise.view(n, rows, columns, maps).permute(0, 3, 1, 2)
                x = x + e.activation_noise * noise
            if noisy and e.dropout_channels:
                shape = x[:, :, 0, 0]
                kept = self.dropped(
                    torch.ones_like(shape), e.dropout_channels, step, i + 1
                )
                x = x * kept[:, :, None, None]
            x = F.max_pool2d(x, 2)
        return x

    def connected(self, w, step, i):
        if step is None or not self.e.dropconnect:
            return w
        p = self.e.dropconnect
        u = draw(random.uniforms, self.e, Purpose.DROPCONNECT, step, i, *w.shape)
        return w * (u >= p) / (1 - p)

    def normal(self, purpose, step, layer, like):
        return draw(random.normals, self.e, purpose, step, layer, *like.shape)

    def dropped(self, x, p, step, layer):
        u = draw(random.uniforms, self.e, Purpose.DROPOUT, step, layer, *x.shape)
        return x * (u >= p) / (1 - p)

    def augmented(self, x, step):
        a = self.e.augment
        u = draw(random.uniforms, self.e, Purpose.AUGMENT, step, 0, len(x), 5)
        turn, right, down, size = (2 * u[:, :4] - 1).T
        moved = warp(
            x.view(-1, 8, 8),
            rotation=a.rotation * turn,
            shift_x=a.shift * right,
            shift_y=a.shift * down,
            scale=1 + a.scale * size,
            mirror=u[:, 4] < a.flip,
        )
        return moved.view(len(x), -1)


def optimizer_for(e, network):
    everything = list(network.parameters())
    weights = [layer.weight for layer in (*network.convs, *network.linears)]
    exempt = (
        []
        if e.penalize_bias
        else [p for p in everything if id(p) not in map(id, weights)]
    )
    decayed = everything if e.penalize_bias else weights
    groups = [
        {"params": decayed, "weight_decay": e.weight_decay},
        {"params": exempt, "weight_decay": 0.0},
    ]
    if e.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=e.lr, momentum=e.momentum), decayed
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[e.optimizer]
    return kind(groups, lr=e.lr), decayed


def loss_of(logits, y):
    if y.is_floating_point():
        return F.mse_loss(logits[:, 0], y.to(logits.dtype))
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits[:, 0], y.to(logits.dtype))
    return F.cross_entropy(logits, y)


def reference(*parts):
    """Return (train_loss, val_loss, objective) per epoch, and the network.

    parts: an Experiment; or several, whose knobs change on the way.
    """
    e = parts[0]
    dtype = getattr(torch, e.dtype)
    network = Network(e)
    optimizer, penalized = optimizer_for(e, network)
    curves, step = [], 0
    plan = [part for part in parts for _ in range(part.epochs)]
    for epoch, e in enumerate(plan):
        network.e = e
        decayed, exempt = optimizer.param_groups
        decayed["weight_decay"] = e.weight_decay
        for group in (decayed, exempt):
            group["lr"] = e.lr
            if e.optimizer == "sgd":
                group["momentum"] = e.momentum
        train_set, held = training_set(e), validation_set(e)
        X, y = torch.tensor(train_set.X, dtype=dtype), torch.tensor(train_set.y)
        X_val, y_val = torch.tensor(held.X, dtype=dtype), torch.tensor(held.y)
        order = random.permutations(e.seed, Purpose.ORDER, [epoch], len(y))[0]
        objectives = []
        network.train()
        for rows in order.split(e.batch_size):
            loss = loss_of(network(X[rows], step), y[rows])
            l1 = e.l1 * sum(p.abs().sum() for p in penalized)
            if e.l1_method == "subgradient":
                loss = loss + l1
            loss = loss + e.l2 * sum(p.square().sum() for p in penalized)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if e.l1_method == "proximal":
                for p in penalized:
                    limit = e.lr * e.l1 / (1 - e.momentum)
                    p.data = p.sign() * F.relu(p.abs() - limit)
            seen = 0 if e.l1_method == "subgradient" else l1.item()
            objectives.append(loss.item() + seen)
            step += 1
        network.eval()
        with torch.no_grad():
            losses = [
                float(loss_of(network(a), b)) for a, b in ((X, y), (X_val, y_val))
            ]
        curves.append((*losses, sum(objectives) / len(objectives)))
    return torch.tensor(curves, dtype=torch.float64), network

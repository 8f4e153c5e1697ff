"""Trains an ensemble of networks at once: the book's only training loop.

Every tensor carries a leading member axis, so one matrix product serves all members.
Members may differ in every knob but those in `structure`. Random numbers come from
utils.random, addressed by each member's own seed: a member's curve does not depend
on the company it trains in.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from utils import random
from utils.data import load, training_set
from utils.experiment import Experiment
from utils.layers import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, warp
from utils.network import Network, layout
from utils.optimizer import Optimizer
from utils.random import Purpose

# Networks this small lose by sharing a step between threads, tenfold on a busy machine.
torch.set_num_threads(1)

METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "objective")


@dataclass(frozen=True)
class Record:
    """What one epoch left behind; every tensor is float64 [members], on the CPU.

    Losses are mean data losses with all noise off: cross-entropy, or the mean squared
    error (no ½) in regression. An accuracy is a share of correct labels; in regression
    it is R², 1 − loss / variance of that set's targets, and 0 where they do not vary.
    `objective` is what was minimised: the mean over the epoch's batches of the noisy
    data loss plus the penalties.
    `active` is False for members that have stopped; their values stay as they were.
    """

    epoch: int
    train_loss: torch.Tensor
    train_accuracy: torch.Tensor
    val_loss: torch.Tensor
    val_accuracy: torch.Tensor
    objective: torch.Tensor
    active: torch.Tensor


def choose_device(device: str = "auto", dtype: str = "float64") -> torch.device:
    """Return the device to train on: CUDA, then MPS (float32 only), then the CPU.

    Raises: ValueError if the named device is not there.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device == "auto":
        mps_fits = mps and dtype == "float32"
        device = "cuda" if cuda else "mps" if mps_fits else "cpu"
    if device.split(":")[0] not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device = {device!r}: must be 'auto', 'cpu', 'cuda' or 'mps'")
    if (device.startswith("cuda") and not cuda) or (device == "mps" and not mps):
        raise ValueError(f"device = {device!r}: not available on this machine")
    if device == "mps" and dtype == "float64":
        raise ValueError("device = 'mps': needs dtype = 'float32'")
    return torch.device(device)


def structure(experiment: Experiment) -> tuple:
    """Return what members of one ensemble must have in common."""
    e = experiment
    network = (e.data, e.channels, e.hidden, e.activation, e.batch_norm, e.dtype)
    training = (e.n_train, e.batch_size, e.optimizer, e.l1_method, e.penalize_bias)
    return (*network, *training, e.augment is None)


class Ensemble:
    """Networks of one structure, trained together.

    Args:
        experiments: one per member, equal in `structure`.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
    Raises: ValueError if there are none, or their structures differ.
    """

    def __init__(self, experiments: Sequence[Experiment], device: str = "auto"):
        first = _same_structure(experiments)
        self.device = choose_device(device, first.dtype)
        self.dtype = getattr(torch, first.dtype)
        self.data = load(first.data)
        self.steps = math.ceil(first.n_train / first.batch_size)
        self.set(experiments)
        self.reset()

    def set(self, experiments: Sequence[Experiment]) -> None:
        """Take new knobs; weights, optimizer state and epoch stay as they are.

        Raises: ValueError if the structure or the number of members would change.
        """
        old = getattr(self, "experiments", None)
        if old is not None and len(old) != len(experiments):
            raise ValueError(f"{len(experiments)} experiments: must be {len(old)}")
        first = _same_structure([*(old or ())[:1], *experiments])
        self.experiments = list(experiments)
        self.first = first
        self.knobs = {f: self._column(f) for f in _KNOBS}
        self.on = {f: bool(column.any()) for f, column in self.knobs.items()}
        rates = ("dropout", "dropout_input", "dropout_channels")
        self.kept = {f: 1 / (1 - self.knobs[f][..., None]) for f in rates}
        if first.augment is not None:
            amounts = [astuple(a) for a in self._all("augment")]
            self.augment = self._tensor(amounts)  # [members, 4]
        self._load_data()

    def reset(self) -> None:
        """Return to the initial weights."""
        e = self.first
        self.network = Network(
            len(self.experiments),
            layout(e, self.data),
            e.activation,
            e.batch_norm,
            dtype=self.dtype,
            device=self.device,
        )
        for i, fan in enumerate(self.network.fans):
            self.network.weights[i].copy_(self._initial(i, Purpose.WEIGHT, *fan))
            self.network.biases[i].copy_(self._initial(i, Purpose.BIAS, *fan))
        for gamma in self.network.gammas:
            gamma.fill_(1)
        self.optimizer = Optimizer(self.network, e)
        self.epoch = 0

    @property
    def parameters(self) -> list[torch.Tensor]:
        """What the optimizer moves: weights, biases, γ, β, [members, …]."""
        return self.network.parameters

    def state(self, member: int) -> list[torch.Tensor]:
        """Return a copy of one member's parameters and batch-norm statistics."""
        tensors = [*self.parameters, *self.network.means, *self.network.variances]
        return [t[member].detach().cpu().clone() for t in tensors]

    @torch.no_grad()
    def run_epoch(self) -> Record:
        """Train one epoch and return its Record."""
        order, draws = self._draws()
        seed = torch.arange(len(self.seeds), device=self.device)[:, None]
        X = self.X[seed, order]  # [seeds, n, features]
        y = torch.gather(self.y, 1, self._by_member(order).expand(len(self.y), -1))
        target = self._target(y)
        shape = (len(self.y), y.shape[1], self.data.outputs)
        logits = torch.empty(shape, dtype=self.dtype, device=self.device)
        penalty, size = 0, self.first.batch_size
        for s in range(self.steps):
            rows = slice(s * size, (s + 1) * size)
            noise = self._noise(s, draws, y[:, rows].shape[1])
            x = self._inputs(self._by_member(X[:, rows]), noise)
            tape = self.network.forward(x, noise, logits[:, rows])
            d = self._slope(logits[:, rows], target[:, rows])
            self.network.backward(tape, noise, d)
            penalty = penalty + self.optimizer.penalty(self.knobs, self.on)
            self.optimizer.step(self.knobs, self.on, self.epoch * self.steps + s + 1)
        self.epoch += 1
        return self._record(self._batch_mean(logits, y) + penalty / self.steps)

    @torch.no_grad()
    def logits(self, X: torch.Tensor) -> torch.Tensor:
        """Return [members, n, outputs] for inputs [members or 1, n, features]."""
        return self.network.evaluate(X)

    def _all(self, field):
        return [getattr(e, field) for e in self.experiments]

    def _tensor(self, values):
        return torch.tensor(values, dtype=self.dtype, device=self.device)

    def _column(self, field):
        return self._tensor([float(v) for v in self._all(field)]).view(-1, 1)

    def _load_data(self):
        """Hold one training set per seed, one set of labels per member."""
        key = [(e.seed, e.label_noise) for e in self.experiments]
        if key == getattr(self, "_data_key", None):
            return
        self._data_key = key
        self.seeds = sorted(set(self._all("seed")))
        members = [self.seeds.index(seed) for seed in self._all("seed")]
        self.member_seed = torch.tensor(members, device=self.device)
        sets = {k: training_set(e) for k, e in zip(key, self.experiments, strict=True)}
        by_seed = {seed: data.X for (seed, _), data in sets.items()}
        self.X = self._tensor(np.stack([by_seed[seed] for seed in self.seeds]))
        labels = np.stack([sets[k].y for k in key])
        self.y = self._labels(labels)
        self.X_val = self._tensor(self.data.validation.X)[None]
        self.y_val = self._labels(self.data.validation.y)[None]

    def _labels(self, y):
        if self.data.task == "regression":
            return self._tensor(y)
        return torch.tensor(y, device=self.device)

    def _by_member(self, per_seed):
        """Turn [seeds, …] into [members, …]."""
        if len(self.seeds) == 1:
            return per_seed.expand(len(self.experiments), *per_seed.shape[1:])
        return per_seed[self.member_seed]

    def _per_seed(self, draw, *address):
        """Draw for every seed: [seeds, steps, rows, width]."""
        options = {"dtype": self.dtype, "device": self.device}
        return torch.stack([draw(s, *address, **options) for s in self.seeds])

    def _initial(self, layer, purpose, fan_in, fan_out):
        """U(−1/√fan_in, 1/√fan_in), as torch.nn.Linear and Conv2d have it."""
        rows = fan_in if purpose is Purpose.WEIGHT else 1
        u = self._per_seed(random.uniforms, purpose, [0], layer, rows, fan_out)[:, 0]
        return self._by_member((2 * u - 1) / math.sqrt(fan_in))

    def _draws(self):
        """The coming epoch's batch order, and its random numbers.

        Returns: order [seeds, n_train]; {(what, layer): (knob, [seeds, steps, …])}.
        """
        e = self.first
        address = (Purpose.ORDER, [self.epoch], e.n_train, self.device)
        order = torch.stack([random.permutations(s, *address)[0] for s in self.seeds])
        begin = self.epoch * self.steps
        steps, batch, draws = range(begin, begin + self.steps), e.batch_size, {}

        def add(knob, what, draw, purpose, layer, shape):
            if knob == "augment" or self.on[knob]:
                values = self._per_seed(draw, purpose, steps, layer, *shape)
                draws[what, layer] = (knob, values)

        uniforms, normals = random.uniforms, random.normals
        if e.augment is not None:
            add("augment", "augment", uniforms, Purpose.AUGMENT, 0, (batch, 5))
        inputs = (batch, self.data.features)
        add("input_noise", "input", normals, Purpose.INPUT_NOISE, 0, inputs)
        add("dropout_input", "mask", uniforms, Purpose.DROPOUT, 0, inputs)
        for i, fan in enumerate(self.network.fans):
            add("weight_noise", "weight", normals, Purpose.WEIGHT_NOISE, i, fan)
        for i, (pixels, width) in enumerate(self.network.hidden, 1):
            units, hidden = (batch, pixels * width), Purpose.ACTIVATION_NOISE
            add("activation_noise", "activation", normals, hidden, i, units)
            rate = "dropout_channels" if i <= len(e.channels) else "dropout"
            add(rate, "mask", uniforms, Purpose.DROPOUT, i, (batch, width))
        return order, draws

    def _noise(self, s, draws, batch):
        """Step s's random tensors scaled by the knobs, {(what, layer): [members, …]}.

        'mask' is 0 or 1/(1 − p); the rest is added. The last batch may be short.
        """
        noise = {}
        for (what, layer), (knob, values) in draws.items():
            rows = slice(None if what == "weight" else batch)
            u = self._by_member(values[:, s, rows])
            if what == "mask":
                p = self.knobs[knob][..., None]
                mask = self.network.buffer((what, layer), *u.shape)
                u = torch.ge(u, p, out=mask).mul_(self.kept[knob])
            elif what != "augment":
                u = self.knobs[knob][..., None] * u
            noise[what, layer] = u
        return noise

    def _inputs(self, x, noise):
        """The batch as the first layer sees it: warped, noisy, dropped."""
        if ("augment", 0) in noise:
            x = self._augmented(x, noise["augment", 0])
        if ("input", 0) in noise:
            x = x + noise["input", 0]
        if ("mask", 0) in noise:
            x = x * noise["mask", 0]
        return x

    def _augmented(self, x, u):
        members, n, _ = x.shape
        spread, amounts = 2 * u - 1, self.augment[:, None]  # [members, n or 1, …]
        rotation, right, down, size = (
            (amounts[..., [0, 1, 1, 2]] * spread[..., :4]).flatten(0, 1).T
        )
        mirror = (u[..., 4] < amounts[..., 3]).flatten()
        images = x.reshape(members * n, *self.data.image)
        return warp(images, rotation, right, down, 1 + size, mirror).view(
            members, n, -1
        )

    def _target(self, y):
        """What a perfect network would give: probabilities, or the targets."""
        if self.data.outputs == 1:
            return y[..., None].to(self.dtype)
        return F.one_hot(y, self.data.classes).to(self.dtype)

    def _slope(self, logits, target):
        """Derivative of the mean data loss by the logits."""
        if self.data.task == "regression":
            return (logits - target).mul_(2 / logits.shape[1])
        p = logits.sigmoid() if self.data.outputs == 1 else logits.softmax(-1)
        return p.sub_(target).mul_(1 / logits.shape[1])

    def _losses(self, logits, y):
        """Cross-entropy or squared error of every point, [members, n]."""
        y = y.expand(len(logits), -1)
        if self.data.task == "regression":
            return (logits[..., 0] - y).square()
        if self.data.outputs == 1:
            loss = F.binary_cross_entropy_with_logits
            return loss(logits[..., 0], y.to(logits.dtype), reduction="none")
        return F.cross_entropy(logits.mT, y, reduction="none")

    def _batch_mean(self, logits, y):
        """Mean over batches of the mean over each batch, [members]."""
        batches = self._losses(logits, y).split(self.first.batch_size, dim=1)
        return torch.stack([batch.mean(1) for batch in batches]).mean(0)

    def _record(self, objective):
        values = []
        for X, y in ((self._by_member(self.X), self.y), (self.X_val, self.y_val)):
            logits = self.logits(X)
            loss = self._losses(logits, y).mean(1)
            values += [loss, self._accuracy(logits, y, loss)]
        values = [v.double().cpu() for v in (*values, objective)]
        finite = torch.isfinite(values[0]) & torch.isfinite(values[2])
        return Record(self.epoch, *values, active=finite)

    def _accuracy(self, logits, y, loss):
        """Share of correct labels, or R² in regression, [members]."""
        if self.data.task == "regression":
            variance = y.var(1, correction=0)
            return torch.where(variance > 0, 1 - loss / variance, 0.0)
        guess = logits[..., 0] >= 0 if logits.shape[-1] == 1 else logits.argmax(-1)
        return (guess == y).double().mean(1)


_KNOBS = (
    "dropout",
    "dropout_input",
    "dropout_channels",
    "input_noise",
    "weight_noise",
    "activation_noise",
    "momentum",
    "lr",
    "l1",
    "l2",
    "weight_decay",
)


def _same_structure(experiments):
    if not experiments:
        raise ValueError("experiments: must be at least one")
    first = experiments[0]
    for e in experiments:
        if structure(e) != structure(first):
            raise ValueError(f"{e}: cannot share an ensemble with {first}")
    return first


class Training:
    """Experiments of any structures, each trained to its own end.

    `status[i]` is 'running', then 'finished', 'stopped early' or 'diverged';
    `kept_epoch[i]` and `state[i]` are the epoch and the parameters that count: the
    last, or with patience those of the lowest validation loss.
    """

    def __init__(self, experiments: Sequence[Experiment], device: str = "auto"):
        self.experiments = list(experiments)
        if not self.experiments:
            raise ValueError("experiments: must be at least one")
        members: dict[tuple, list[int]] = {}
        for i, e in enumerate(self.experiments):
            members.setdefault(structure(e), []).append(i)
        self.groups = [
            (group, Ensemble([self.experiments[i] for i in group], device))
            for group in members.values()
        ]
        count = len(self.experiments)
        self.status = ["running"] * count
        self.state: list[list[torch.Tensor] | None] = [None] * count
        self.kept_epoch = [0] * count
        self._best = [math.inf] * count
        self._last: Record | None = None

    def run_epoch(self) -> Record:
        """Train every running member one epoch; return one Record for all."""
        running = torch.tensor([s == "running" for s in self.status])
        epoch = 1 if self._last is None else self._last.epoch + 1
        values = {
            name: torch.zeros(len(running), dtype=torch.float64)
            if self._last is None
            else getattr(self._last, name).clone()
            for name in METRICS
        }
        for members, ensemble in self.groups:
            live = [k for k, i in enumerate(members) if running[i]]
            if not live:
                continue
            record = ensemble.run_epoch()
            for k in live:
                for name in METRICS:
                    values[name][members[k]] = getattr(record, name)[k]
                finite = bool(record.active[k])
                loss = float(record.val_loss[k])
                self._judge(members[k], epoch, loss, finite, ensemble, k)
        self._last = Record(epoch, **values, active=running)
        return self._last

    @property
    def done(self) -> bool:
        """True when no member is running."""
        return "running" not in self.status

    def _judge(self, i, epoch, loss, finite, ensemble, k):
        """Keep member i's parameters where they count, and end its run if due."""
        e = self.experiments[i]
        if not finite:
            self.status[i] = "diverged"
        elif e.patience is not None and epoch - self.kept_epoch[i] >= e.patience:
            improved = loss < self._best[i]
            self.status[i] = "running" if improved else "stopped early"
        if self.status[i] == "running" and epoch >= e.epochs:
            self.status[i] = "finished"
        last = self.status[i] in ("finished", "diverged")
        keep = loss < self._best[i] if e.patience is not None else last
        if keep or (last and self.state[i] is None):
            self.state[i] = ensemble.state(k)
            self.kept_epoch[i], self._best[i] = epoch, loss


def train(experiments: Sequence[Experiment], device: str = "auto") -> Iterator[Record]:
    """Train experiments together, yielding a Record after every epoch.

    Those that cannot share an ensemble are grouped; each ends at its own last epoch,
    or earlier by patience or divergence, and the others go on.

    Args:
        experiments: at least one.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
    Raises: ValueError for an empty list or a device that is not there.
    """
    training = Training(experiments, device)
    while not training.done:
        yield training.run_epoch()


def build_module(experiment: Experiment, state: Sequence[torch.Tensor]) -> nn.Module:
    """Return the network as a torch.nn.Sequential holding the given state.

    It takes inputs [n, features], images too.
    """
    e, data = experiment, load(experiment.data)
    convolutions, sizes = layout(e, data)
    count, depth = len(convolutions), len(convolutions) + len(sizes) - 1
    weights, biases = state[:depth], state[depth : 2 * depth]
    norms = list(zip(*_quarters(state[2 * depth :]), strict=True))
    layers = [nn.Dropout(e.dropout_input)] if e.dropout_input else []
    if convolutions:
        layers.append(nn.Unflatten(1, (1, *data.image)))
    for i, convolution in enumerate(convolutions):
        layers.append(convolution.module(weights[i], biases[i]))
        norm = [_norm(nn.BatchNorm2d, *norms[i])] if norms else []
        drop = [nn.Dropout2d(e.dropout_channels)] if e.dropout_channels else []
        layers += [*norm, _MODULES[e.activation](), *drop, nn.MaxPool2d(2)]
    if convolutions:
        layers.append(nn.Flatten())
    for i in range(count, depth - 1):
        layers.append(_linear(weights[i], biases[i]))
        norm = [_norm(nn.BatchNorm1d, *norms[i])] if norms else []
        drop = [nn.Dropout(e.dropout)] if e.dropout else []
        layers += [*norm, _MODULES[e.activation](), *drop]
    layers.append(_linear(weights[-1], biases[-1]))
    return nn.Sequential(*layers).to(getattr(torch, e.dtype)).eval()


_MODULES = {"relu": nn.ReLU, "tanh": nn.Tanh, "selu": nn.SELU}


def _quarters(tensors):
    count = len(tensors) // 4
    return [tensors[k * count : (k + 1) * count] for k in range(4)]


def _linear(weight, bias):
    layer = nn.utils.skip_init(nn.Linear, *weight.shape)
    layer.weight.data, layer.bias.data = weight.T.clone(), bias[0].clone()
    return layer


def _norm(kind, gamma, beta, mean, variance):
    layer = kind(gamma.shape[1], BATCH_NORM_EPS, BATCH_NORM_MOMENTUM)
    layer.weight.data, layer.bias.data = gamma[0].clone(), beta[0].clone()
    layer.running_mean, layer.running_var = mean[0].clone(), variance[0].clone()
    return layer

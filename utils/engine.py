"""Trains an ensemble of networks at once: the book's only training loop.

Every tensor carries a leading member axis, so one matrix product serves all members.
Members may differ in every knob but those in `structure`. Random numbers come from
utils.random, addressed by each member's own seed: a member's curve does not depend
on the company it trains in.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from utils import random
from utils.data import load, training_set
from utils.experiment import Experiment
from utils.layers import (
    ACTIVATION,
    BATCH_NORM_EPS,
    BATCH_NORM_MOMENTUM,
    batch_norm,
    batch_statistics,
    dropout,
    warp,
)
from utils.penalties import l1_penalty, l2_penalty, soft_threshold
from utils.random import Purpose

# Networks this small lose by sharing a step between threads, tenfold on a busy machine.
torch.set_num_threads(1)

ADAM_BETAS = (0.9, 0.999)
ADAM_EPS = 1e-8
METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "objective")


@dataclass(frozen=True)
class Record:
    """What one epoch left behind; every tensor is float64 [members], on the CPU.

    Losses are mean data losses with all noise off. `objective` is what was minimised:
    the mean over the epoch's batches of the noisy data loss plus the penalties.
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
    network = (e.data, e.hidden, e.activation, e.batch_norm, e.dtype)
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
        if first.augment is not None:
            amounts = [astuple(a) for a in self._all("augment")]
            self.augment = self._tensor(amounts)  # [members, 4]
        self._load_data()

    def reset(self) -> None:
        """Return to the initial weights."""
        e, sizes = self.first, self._sizes()
        layers = range(len(sizes) - 1)
        self.weights = [
            self._initial(i, Purpose.WEIGHT, *sizes[i : i + 2]) for i in layers
        ]
        self.biases = [
            self._initial(i, Purpose.BIAS, *sizes[i : i + 2]) for i in layers
        ]
        widths = e.hidden if e.batch_norm else ()
        shapes = [(len(self.experiments), 1, width) for width in widths]
        options = {"dtype": self.dtype, "device": self.device}
        self.gammas = [torch.ones(s, **options) for s in shapes]
        self.betas = [torch.zeros(s, **options) for s in shapes]
        self.means = [torch.zeros(s, **options) for s in shapes]
        self.variances = [torch.ones(s, **options) for s in shapes]
        self.moments = [
            (torch.zeros_like(p), torch.zeros_like(p)) for p in self.parameters
        ]
        self.epoch = 0

    @property
    def parameters(self) -> list[torch.Tensor]:
        """What the optimizer moves."""
        return [*self.weights, *self.biases, *self.gammas, *self.betas]

    @property
    def penalized(self) -> list[torch.Tensor]:
        """What penalties and weight decay act on."""
        return self.parameters if self.first.penalize_bias else self.weights

    def state(self, member: int) -> list[torch.Tensor]:
        """Return a copy of one member's parameters and batch-norm statistics."""
        tensors = [*self.parameters, *self.means, *self.variances]
        return [t[member].detach().cpu().clone() for t in tensors]

    def run_epoch(self) -> Record:
        """Train one epoch and return its Record."""
        draws = self._draws()
        objective = sum(self._step(s, draws) for s in range(self.steps)) / self.steps
        self.epoch += 1
        return self._record(objective)

    @torch.no_grad()
    def logits(self, X: torch.Tensor) -> torch.Tensor:
        """Return [members, n, outputs] for inputs [members or 1, n, features]."""
        h = X
        for i in range(len(self.weights)):
            h = h @ self.weights[i] + self.biases[i]
            if i < len(self.weights) - 1:
                if self.first.batch_norm:
                    h = self._normalize(i, h, self.means[i], self.variances[i])
                h = ACTIVATION[self.first.activation](h)
        return h

    def _all(self, field):
        return [getattr(e, field) for e in self.experiments]

    def _tensor(self, values):
        return torch.tensor(values, dtype=self.dtype, device=self.device)

    def _column(self, field):
        return self._tensor([float(v) for v in self._all(field)]).view(-1, 1, 1)

    def _sizes(self):
        return [self.data.features, *self.first.hidden, self.data.outputs]

    def _load_data(self):
        """Hold one training set per seed, one set of labels per member."""
        key = [(e.seed, e.label_noise) for e in self.experiments]
        if key == getattr(self, "_data_key", None):
            return
        self._data_key = key
        self.seeds = sorted(set(self._all("seed")))
        members = [self.seeds.index(seed) for seed in self._all("seed")]
        self.member_seed = torch.tensor(members, device=self.device)
        sets = [training_set(e) for e in self.experiments]
        inputs = [sets[members.index(i)].X for i in range(len(self.seeds))]
        self.X = self._tensor(np.stack(inputs))
        self.y = torch.tensor(np.stack([s.y for s in sets]), device=self.device)
        self.X_val = self._tensor(self.data.validation.X)[None]
        self.y_val = torch.tensor(self.data.validation.y, device=self.device)[None]

    def _by_member(self, per_seed):
        """Turn [seeds, …] into [members or 1, …]."""
        return per_seed if len(self.seeds) == 1 else per_seed[self.member_seed]

    def _per_seed(self, draw, *address, **options):
        """Draw for every seed: [seeds, steps, rows, width]."""
        options.setdefault("dtype", self.dtype)
        return torch.stack(
            [draw(s, *address, device=self.device, **options) for s in self.seeds]
        )

    def _initial(self, layer, purpose, fan_in, fan_out):
        """U(−1/√fan_in, 1/√fan_in), as torch.nn.Linear has it."""
        rows = fan_in if purpose is Purpose.WEIGHT else 1
        u = self._per_seed(random.uniforms, purpose, [0], layer, rows, fan_out)[:, 0]
        start = (2 * u - 1) / math.sqrt(fan_in)
        members = len(self.experiments)
        return self._by_member(start).expand(members, -1, -1).contiguous()

    def _draws(self):
        """All random numbers of the coming epoch, by name, [seeds, steps, …]."""
        e, sizes = self.first, self._sizes()
        first_step = self.epoch * self.steps
        steps, batch = range(first_step, first_step + self.steps), e.batch_size
        order = [
            random.permutations(s, Purpose.ORDER, [self.epoch], e.n_train, self.device)[
                0
            ]
            for s in self.seeds
        ]
        draws = {"order": torch.stack(order)}

        def add(knob, layer, draw, purpose, rows, width):
            if self.on[knob]:
                address = (purpose, steps, layer, rows, width)
                draws[knob, layer] = self._per_seed(draw, *address)

        uniforms, normals = random.uniforms, random.normals
        add("dropout_input", 0, uniforms, Purpose.DROPOUT, batch, sizes[0])
        add("input_noise", 0, normals, Purpose.INPUT_NOISE, batch, sizes[0])
        for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            add("weight_noise", i, normals, Purpose.WEIGHT_NOISE, fan_in, fan_out)
            if i < len(sizes) - 2:
                add("dropout", i + 1, uniforms, Purpose.DROPOUT, batch, fan_out)
                noise = Purpose.ACTIVATION_NOISE
                add("activation_noise", i + 1, normals, noise, batch, fan_out)
        if e.augment is not None:
            address = (Purpose.AUGMENT, steps, 0, batch, 5)
            draws["augment"] = self._per_seed(uniforms, *address)
        return draws

    def _step(self, s, draws):
        """One optimizer step on batch s; returns the objective, [members]."""
        size = self.first.batch_size
        order = draws["order"][:, s * size : (s + 1) * size]  # [seeds, batch]
        seed = torch.arange(len(self.seeds), device=self.device)[:, None]
        X = self._by_member(self.X[seed, order])
        y = torch.gather(self.y, 1, self._by_member(order).expand(len(self.y), -1))
        at = self._at_step(s, draws, order.shape[1])
        for p in self.parameters:
            p.requires_grad_(True)
        data_loss = self._data_loss(self._noisy_logits(X, at), y)
        objective = data_loss + self._penalty()
        gradients = torch.autograd.grad(objective.sum(), self.parameters)
        for p in self.parameters:
            p.requires_grad_(False)
        self._update(gradients, self.epoch * self.steps + s + 1)
        return objective.detach()

    def _at_step(self, s, draws, batch):
        """This step's numbers, [members or 1, …]; the last batch may be short."""
        at = {}
        for key, value in draws.items():
            if key != "order":
                rows = slice(None if key[0] == "weight_noise" else batch)
                at[key] = self._by_member(value[:, s])[:, rows]
        return at

    def _noisy_logits(self, X, at):
        """Training-mode forward pass; `at` holds this step's random numbers."""
        h = self._augmented(X, at["augment"]) if "augment" in at else X
        if self.on["input_noise"]:
            h = h + self.knobs["input_noise"] * at["input_noise", 0]
        if self.on["dropout_input"]:
            h = dropout(h, self.knobs["dropout_input"], at["dropout_input", 0])
        last = len(self.weights) - 1
        for i, weight in enumerate(self.weights):
            w = weight
            if self.on["weight_noise"]:
                w = weight + self.knobs["weight_noise"] * at["weight_noise", i]
            h = h @ w + self.biases[i]
            if i == last:
                return h
            if self.first.batch_norm:
                mean, var = batch_statistics(h)
                self._track(i, mean.detach(), var.detach(), h.shape[1])
                h = self._normalize(i, h, mean, var)
            h = ACTIVATION[self.first.activation](h)
            if self.on["activation_noise"]:
                h = h + self.knobs["activation_noise"] * at["activation_noise", i + 1]
            if self.on["dropout"]:
                h = dropout(h, self.knobs["dropout"], at["dropout", i + 1])

    def _augmented(self, X, u):
        members, n = len(self.experiments), X.shape[1]
        u = u.expand(members, -1, -1)
        rotation, shift, scale, flip = (a.view(-1, 1) for a in self.augment.T)
        spread = 2 * u - 1
        moved = warp(
            X.expand(members, -1, -1).reshape(members * n, *self.data.image),
            rotation=(rotation * spread[..., 0]).flatten(),
            shift_x=(shift * spread[..., 1]).flatten(),
            shift_y=(shift * spread[..., 2]).flatten(),
            scale=(1 + scale * spread[..., 3]).flatten(),
            mirror=(u[..., 4] < flip).flatten(),
        )
        return moved.view(members, n, -1)

    def _normalize(self, i, h, mean, var):
        return batch_norm(h, self.gammas[i], self.betas[i], mean, var)

    def _track(self, i, mean, var, n):
        """Move the running statistics; the variance unbiased, as torch.nn has it."""
        unbiased = var * n / max(n - 1, 1)
        self.means[i].lerp_(mean, BATCH_NORM_MOMENTUM)
        self.variances[i].lerp_(unbiased, BATCH_NORM_MOMENTUM)

    def _data_loss(self, logits, y):
        """Mean cross-entropy over the batch, [members]."""
        if self.data.outputs == 1:
            target = y.to(logits.dtype).expand(len(logits), -1)
            loss = F.binary_cross_entropy_with_logits
            return loss(logits[..., 0], target, reduction="none").mean(1)
        target = y.expand(len(logits), -1)
        return F.cross_entropy(logits.mT, target, reduction="none").mean(1)

    def _penalty(self):
        total = torch.zeros(len(self.experiments), dtype=self.dtype, device=self.device)
        if self.on["l1"] and self.first.l1_method == "subgradient":
            total = total + l1_penalty(self.penalized, self.knobs["l1"].flatten())
        if self.on["l2"]:
            total = total + l2_penalty(self.penalized, self.knobs["l2"].flatten())
        return total

    @torch.no_grad()
    def _update(self, gradients, t):
        """One step of SGD, Adam (Kingma & Ba 2015) or AdamW (Loshchilov & Hutter 2019).

        With proximal L1, soft thresholding by lr · λ₁ follows.
        """
        lr, decay = self.knobs["lr"], self.knobs["weight_decay"]
        sgd = self.first.optimizer == "sgd"
        decoupled = self.first.optimizer == "adamw"
        proximal = self.on["l1"] and self.first.l1_method == "proximal"
        penalized = {id(p) for p in self.penalized}
        for p, gradient, (m, v) in zip(
            self.parameters, gradients, self.moments, strict=True
        ):
            g, decayed = gradient, id(p) in penalized
            if self.on["weight_decay"] and decayed:
                if decoupled:
                    p.mul_(1 - lr * decay)
                else:
                    g = g + decay * p
            if sgd:
                m.mul_(self.knobs["momentum"]).add_(g)
                p.sub_(lr * m)
            else:
                m.lerp_(g, 1 - ADAM_BETAS[0])
                v.mul_(ADAM_BETAS[1]).addcmul_(g, g, value=1 - ADAM_BETAS[1])
                scale = math.sqrt(1 - ADAM_BETAS[1] ** t)
                step = lr / (1 - ADAM_BETAS[0] ** t)
                p.sub_(step * m / (v.sqrt() / scale + ADAM_EPS))
            if proximal and decayed:
                p.copy_(soft_threshold(p, lr * self.knobs["l1"]))

    @torch.no_grad()
    def _record(self, objective):
        values = []
        for X, y in ((self._by_member(self.X), self.y), (self.X_val, self.y_val)):
            logits = self.logits(X)
            loss = self._data_loss(logits, y)
            guess = logits[..., 0] >= 0 if logits.shape[-1] == 1 else logits.argmax(-1)
            values += [loss, (guess == y).double().mean(1)]
        values = [v.detach().double().cpu() for v in (*values, objective)]
        finite = torch.isfinite(values[0]) & torch.isfinite(values[2])
        return Record(self.epoch, *values, active=finite)


_KNOBS = (
    "dropout",
    "dropout_input",
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
    """Return the network as a torch.nn.Sequential holding the given state."""
    e, data = experiment, load(experiment.data)
    sizes = [data.features, *e.hidden, data.outputs]
    depth, norms = len(sizes) - 1, len(e.hidden) if e.batch_norm else 0
    weights, biases = state[:depth], state[depth : 2 * depth]
    rest = state[2 * depth :]
    gammas, betas, means, variances = (
        rest[k * norms : (k + 1) * norms] for k in range(4)
    )
    activation = {"relu": nn.ReLU, "tanh": nn.Tanh, "selu": nn.SELU}[e.activation]
    layers = [nn.Dropout(e.dropout_input)] if e.dropout_input else []
    for i in range(depth):
        linear = nn.Linear(*sizes[i : i + 2])
        linear.weight.data, linear.bias.data = (
            weights[i].T.clone(),
            biases[i][0].clone(),
        )
        layers.append(linear)
        if i == depth - 1:
            break
        if norms:
            norm = nn.BatchNorm1d(sizes[i + 1], BATCH_NORM_EPS, BATCH_NORM_MOMENTUM)
            norm.weight.data, norm.bias.data = gammas[i][0].clone(), betas[i][0].clone()
            norm.running_mean, norm.running_var = (
                means[i][0].clone(),
                variances[i][0].clone(),
            )
            layers.append(norm)
        layers.append(activation())
        if e.dropout:
            layers.append(nn.Dropout(e.dropout))
    return nn.Sequential(*layers).to(getattr(torch, e.dtype)).eval()

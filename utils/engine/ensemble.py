"""Trains an ensemble of networks at once: the book's only training loop.

Every tensor carries a leading member axis, so one matrix product serves all members.
Members may differ in every knob but those in `structure`. Random numbers come from
utils.random, addressed by each member's own seed: a member's curve does not depend
on the company it trains in.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
import torch
import torch.nn.functional as F

from utils import random
from utils.arguments import fail, optional, show
from utils.data import Split, load, training_set, validation_set
from utils.engine.layers import augment
from utils.engine.network import Network, layout
from utils.engine.optimizer import Optimizer
from utils.experiment import Experiment, check_experiments
from utils.random import Purpose

# Random numbers of an epoch up to which masks are made for all its steps at once.
SMALL = 2**20

# Points whose order is drawn at once, for as many epochs as that makes.
ORDERED = 2**12

# Networks this small lose by sharing a step between threads, tenfold on a busy machine.
THREADS = 1

METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "objective")


@dataclass(frozen=True)
class Record:
    """What one epoch left behind; every tensor is float64 [members], on the CPU.

    Losses are mean data losses with all noise off: cross-entropy, or the mean squared
    error (no ½) in regression. An accuracy is a share of correct labels; in regression
    it is R², 1 − loss / variance of that set's targets, and 0 where they do not vary.
    `objective` is the mean over the epoch's batches of the noisy data loss plus the
    penalties of λ₁ and λ₂. SGD goes down it; Adam with proximal λ₁, and decoupled
    weight decay, rest elsewhere (book/l1_l2.ipynb, book/weight_decay.ipynb).
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
    if not isinstance(device, str):
        fail("device", device, "'auto', 'cpu', 'cuda' or 'mps'")
    device = str.__str__(device)  # a subclass may compare as it likes
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device == "auto":
        mps_fits = mps and dtype == "float32"
        device = "cuda" if cuda else "mps" if mps_fits else "cpu"
    if device.split(":")[0] not in ("cpu", "cuda", "mps"):
        fail("device", device, "'auto', 'cpu', 'cuda' or 'mps'")
    known = ["cpu", *["mps"] * mps, *["cuda"] * cuda]
    known += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if device not in known:
        message = f"not available here, must be one of {known}"
        raise ValueError(f"device = {show(device)}: {message}")
    if device == "mps" and dtype == "float64":
        fail("device", device, "used with dtype = 'float32'")
    return torch.device(device)


def _with_few_threads(act):
    """Let act use THREADS threads, and what it is called from as many as before."""

    @functools.wraps(act)
    def limited(*args, **kwargs):
        before = torch.get_num_threads()
        torch.set_num_threads(THREADS)  # of this thread, in less than a microsecond
        try:
            return act(*args, **kwargs)
        finally:
            torch.set_num_threads(before)

    return limited


def structure(experiment: Experiment) -> tuple:
    """Return what members of one ensemble must have in common."""
    e = experiment
    network = (e.data, e.channels, e.hidden, e.activation, e.batch_norm, e.dropout_at)
    sizes = (e.n_points, e.n_held_out, e.batch_size)
    training = (*sizes, e.optimizer, e.l1_method, e.penalize_bias)
    return (*network, *training, e.dtype, e.augment is None)


class Ensemble:
    """Networks of one structure, trained together.

    Args:
        experiments: one per member, equal in `structure`.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        points: None, or what all members learn in place of their training sets.
    Raises: ValueError if there are none, their structures differ, or there are not
        n_train points.
    """

    _start: tuple  # what the initial weights depend on, and they

    def __init__(
        self,
        experiments: Sequence[Experiment],
        device: str = "auto",
        points: Split | None = None,
    ):
        experiments = check_experiments(experiments)
        first = _same_structure(experiments)
        self.device = choose_device(device, first.dtype)
        self.dtype = getattr(torch, first.dtype)
        self.data = load(first.data)
        self.steps, self.first = math.ceil(first.n_points / first.batch_size), first
        batch = torch.arange(first.n_points).div(
            first.batch_size, rounding_mode="floor"
        )
        counts = batch.bincount()[batch].double() * self.steps
        # A point's share in the mean over batches of the batches' means.
        self._share = self._tensor((1 / counts).tolist())
        self._build(experiments, points)
        self.reset()

    def _build(self, experiments, points):
        """Make room for members, none of them trained."""
        self.experiments, first = list(experiments), self.first
        self.network = Network(
            len(experiments),
            layout(first, self.data),
            first.activation,
            first.batch_norm,
            dtype=self.dtype,
            device=self.device,
        )
        self.optimizer = Optimizer(self.network, first)
        self._static, self._graphs, self._start = {}, {}, (None, None)
        self.set(experiments, points)

    def keep(self, members: Sequence[int]) -> None:
        """Go on with these members alone; what they have learned stays.

        Raises: ValueError for none.
        """
        kept = [self.experiments[k] for k in members]
        _same_structure(kept)
        state = [tensor[members] for tensor in self._state]
        self._build(kept, self.points)
        for tensor, value in zip(self._state, state, strict=True):
            tensor.copy_(value)

    def everything(self, member: int) -> list[torch.Tensor]:
        """Return a copy of all that training changes of one member."""
        return [tensor[member].clone() for tensor in self._state]

    def go_on_from(self, epoch: int, states: Sequence[list[torch.Tensor]]) -> None:
        """Take up what `everything` returned after this epoch, one for each member."""
        for tensor, values in zip(self._state, zip(*states, strict=True), strict=True):
            tensor.copy_(torch.stack(values))
        self.epoch = epoch

    def set(
        self, experiments: Sequence[Experiment], points: Split | None = None
    ) -> None:
        """Take new knobs; weights, optimizer state and epoch stay as they are.

        Args: experiments, points: as for Ensemble.
        Raises: ValueError if the structure or the number of members would change.
        """
        experiments = check_experiments(experiments)
        if len(experiments) != len(self.experiments):
            message = f"{len(experiments)} experiments: must be {len(self.experiments)}"
            raise ValueError(message)
        n = self.first.n_points
        _same_structure([self.first, *experiments])
        optional("points", points, Split, "a Split")
        if points is not None and (len(points.y), 0) != (n, self.first.n_held_out):
            message = f"must be n_train = {n}, with fold = None"
            raise ValueError(f"points: {len(points.y)} of them: {message}")
        self.experiments, self.points = list(experiments), points
        self.knobs = {f: self._keep(f, self._column(f)) for f in _KNOBS}
        for name, value in self.optimizer.derive(self.knobs).items():
            self.knobs[name] = self._keep(name, value)
        self.on = {f: any(self._all(f)) for f in _KNOBS}
        self.rates = {}
        for f in _RATES:
            p = self.knobs[f]
            self.rates[f] = (p, self._keep(("kept", f), 1 / (1 - p)))
        lrs = set(self._all("lr"))
        self.optimizer.same_lr = lrs.pop() if len(lrs) == 1 else None
        if self.first.augment is not None:
            amounts = [astuple(a) for a in self._all("augment")]
            self.augment = self._keep("augment", self._tensor(amounts))  # [members, 4]
        self._load_data()

    def reset(self) -> None:
        """Return to the initial weights."""
        self.network.reset()
        self.optimizer.reset()
        start = (*self._all("seed"), *self._all("init_scale"))
        if self._start[0] != start:
            for i, fan in enumerate(self.network.fans):
                self.network.weights[i].copy_(self._initial(i, Purpose.WEIGHT, *fan))
                self.network.biases[i].copy_(self._initial(i, Purpose.BIAS, *fan))
            self._start = (start, self.network.flat.clone())
        self.network.flat.copy_(self._start[1])
        self.epoch = 0

    @property
    def parameters(self) -> list[torch.Tensor]:
        """What the optimizer moves: weights, biases, γ, β, [members, …]."""
        return self.network.parameters

    @property
    def _state(self):
        """Every tensor that training changes and keeps."""
        return [*self.network.state, *self.optimizer.state]

    def state(self, member: int) -> list[torch.Tensor]:
        """Return a copy of one member's parameters and batch-norm statistics."""
        tensors = [*self.parameters, *self.network.means, *self.network.variances]
        return [t[member].detach().cpu().clone() for t in tensors]

    @torch.no_grad()
    def first_inputs(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the first step's batch, [members, batch, features], twice.

        As it is, and as the first layer sees it: augmented, noisy, dropped. Back at the
        initial weights.
        """
        self.reset()
        self._prepare()
        rows = slice(0, self.first.batch_size)
        x = self._by_member(self._x[:, rows])
        return x, self._inputs(x, self._noise(0, x.shape[1]))

    @torch.no_grad()
    @_with_few_threads
    def run_epoch(self, evaluate: bool = True) -> Record | None:
        """Train one epoch and return its Record.

        Args:
            evaluate: False saves the evaluation and returns None, unless the weights
                are so large that a loss may not be finite.
        """
        self._prepare()
        if self.device.type == "cuda":
            self._replay(evaluate)
        else:
            self._steps(evaluate)
        self.epoch += 1
        if not evaluate:
            if self.network.is_tame:
                return None
            self._penalty.fill_(math.nan)  # nobody has added it up
        data_loss = (self._losses(self._logits, self._y) * self._share).sum(1)
        return self._record(data_loss + self._penalty / self.steps)

    def _prepare(self):
        """Lay out the coming epoch's batches and random numbers."""
        order, draws = self._draws()
        seed = torch.arange(len(self.seeds), device=self.device)[:, None]
        y = torch.gather(self.y, 1, self._by_member(order).expand(len(self.y), -1))
        self._x = self._keep("x", self.X[seed, order])  # [seeds, n, features]
        self._y = self._keep("y", y)  # [members, n]
        self._goal = self._keep("target", self._target(y))  # [members, n, outputs]
        self._noises = {}
        for key, (knob, values) in draws.items():
            small = len(self.experiments) * values[0].numel() <= SMALL
            if small and knob in _RATES:
                u = self._by_member(values)
                masks = self._mask(knob, u, torch.empty_like(u))
                self._noises[key] = (None, self._keep(key, masks))
            else:
                self._noises[key] = (knob, self._keep(key, values))
        scales = self.optimizer.scales(self.epoch * self.steps, self.steps)
        self._scales = self._keep("scales", scales.to(self.dtype).to(self.device))
        self._logits = self.network.buffer("logits", *self._goal.shape)
        self._penalty = self.network.buffer("penalty", len(self.y)).zero_()

    def _mask(self, knob, u, out):
        """0 where u < p, else 1/(1 − p), [members, …]; p is the member's knob."""
        p, kept = (k.view(-1, *[1] * (u.dim() - 1)) for k in self.rates[knob])
        return torch.ge(u, p, out=out).mul_(kept)

    def _steps(self, add_up):
        """The epoch's optimizer steps; on CUDA this is what a graph records.

        Args: add_up: whether the penalties are, for the objective.
        """
        size = self.first.batch_size
        for s in range(self.steps):
            rows = slice(s * size, (s + 1) * size)
            logits, target = self._logits[:, rows], self._goal[:, rows]
            noise = self._noise(s, target.shape[1])
            x = self._inputs(self._by_member(self._x[:, rows]), noise)
            tape = self.network.forward(x, noise, logits)
            self.network.backward(tape, noise, self._slope(logits, target))
            if add_up:
                self.optimizer.add_penalty(self._penalty, self.knobs, self.on)
            self.optimizer.step(self.knobs, self.on, self._scales[s])

    def _replay(self, add_up):
        """Run the steps as one CUDA graph, recorded when a new kind of epoch comes.

        A graph holds addresses, so all it reads lies in tensors that `_keep` refills.
        """
        key = (*self.on.values(), len(self.seeds), add_up)
        if key not in self._graphs:
            state = [*self._state, self._penalty]
            before = [tensor.clone() for tensor in state]
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                self._steps(add_up)  # allocates the buffers, outside the graph
            torch.cuda.current_stream().wait_stream(side)
            for tensor, value in zip(state, before, strict=True):
                tensor.copy_(value)
            self._graphs[key] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graphs[key]):
                self._steps(add_up)
        self._graphs[key].replay()

    def _keep(self, name, value):
        """Return value, at an address that stays where a graph reads it."""
        return self._hold(name, value) if self.device.type == "cuda" else value

    def _hold(self, name, value):
        """Put value in the tensor of this name and shape."""
        key = (name, *value.shape)
        if key not in self._static:
            self._static[key] = value.clone()
        return self._static[key].copy_(value)

    @torch.no_grad()
    @_with_few_threads
    def logits(self, X: torch.Tensor) -> torch.Tensor:
        """Return [members, n, outputs] in evaluation mode.

        Args: X: inputs [members or 1, n, features].
        """
        return self.network.evaluate(X)

    def _all(self, field):
        return [getattr(e, field) for e in self.experiments]

    def _tensor(self, values):
        return torch.tensor(values, dtype=self.dtype, device=self.device)

    def _column(self, field):
        return self._tensor([float(v) for v in self._all(field)]).view(-1, 1)

    def _load_data(self):
        """Hold one training set per source, one set of labels per member.

        A source is what the points and their order depend on: seed, split and fold.
        """
        key = [((e.seed, e.split, e.fold), e.label_noise) for e in self.experiments]
        if (key, self.points) == getattr(self, "_loaded", None):
            return
        self._loaded = key, self.points
        own = [source for source, _ in key]
        sources = list(dict.fromkeys(own))
        self.seeds = [seed for seed, _, _ in sources]
        self._orders, self._ordered = None, 0  # epochs from _ordered on
        members = [sources.index(source) for source in own]
        member_seed = torch.tensor(members, device=self.device)
        self.member_seed = self._keep("member_seed", member_seed)
        one_each = dict(zip(key, self.experiments, strict=True))
        sets = {k: self.points or training_set(e) for k, e in one_each.items()}
        X = {source: data.X for (source, _), data in sets.items()}
        self.X = self._tensor(np.stack([X[source] for source in sources]))
        self.y = self._labels(np.stack([sets[k].y for k in key]))
        held = list(map(validation_set, self.experiments))
        if all(one is held[0] for one in held):  # one set for all
            held = held[:1]
        self.X_val = self._tensor(np.stack([one.X for one in held]))
        self.y_val = self._labels(np.stack([one.y for one in held]))

    def _labels(self, y):
        if self.data.task == "regression":
            return self._tensor(y)
        return torch.tensor(y, device=self.device)

    def _by_member(self, per_seed):
        """Turn [seeds, …] into [members, …]; a seed counts once per split and fold."""
        if len(self.seeds) == 1:
            return per_seed.expand(len(self.experiments), *per_seed.shape[1:])
        if len(self.seeds) == len(self.experiments):  # in the same order
            return per_seed
        return per_seed[self.member_seed]

    def _per_seed(self, draw, *address):
        """Draw for every seed: [seeds, steps, rows, width]."""
        return draw(self.seeds, *address, dtype=self.dtype, device=self.device)

    def _initial(self, layer, purpose, fan_in, fan_out):
        """U(−1/√fan_in, 1/√fan_in), as torch.nn.Linear and Conv2d have it."""
        rows = fan_in if purpose is Purpose.WEIGHT else 1
        u = self._per_seed(random.uniforms, purpose, [0], layer, rows, fan_out)[:, 0]
        start = self._by_member((2 * u - 1) / math.sqrt(fan_in))
        return start * self._column("init_scale")[..., None]

    def _order(self):
        """The coming epoch's batch order, [seeds, n_points]."""
        n, at = self.first.n_points, self.epoch - self._ordered
        if self._orders is None or not 0 <= at < self._orders.shape[1]:
            count = max(1, ORDERED // (n * len(self.seeds)))
            epochs = range(self.epoch, self.epoch + count)
            address = (Purpose.ORDER, epochs, n, self.device)
            self._orders = random.permutations(self.seeds, *address)
            self._ordered, at = self.epoch, 0
        return self._orders[:, at]

    def _draws(self):
        """The coming epoch's batch order, and its random numbers.

        Returns: order [seeds, n_points]; {(what, layer): (knob, [seeds, steps, …])}.
        """
        e, order = self.first, self._order()
        begin = self.epoch * self.steps
        batch = min(e.batch_size, e.n_points)
        steps, draws = range(begin, begin + self.steps), {}

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
            add("dropconnect", "connect", uniforms, Purpose.DROPCONNECT, i, fan)
        where = "mask before" if e.dropout_at == "before_norm" else "mask"
        depth = len(self.network.hidden)
        for i, (pixels, width) in enumerate(self.network.hidden, 1):
            units, hidden = (batch, pixels * width), Purpose.ACTIVATION_NOISE
            add("activation_noise", "activation", normals, hidden, i, units)
            shape = (batch, width)
            if i <= len(e.channels):
                add("dropout_channels", "mask", uniforms, Purpose.DROPOUT, i, shape)
            elif e.dropout_at != "last" or i == depth:
                add("dropout", where, uniforms, Purpose.DROPOUT, i, shape)
        return order, draws

    def _noise(self, s, batch):
        """Step s's random tensors scaled by the knobs, {(what, layer): [members, …]}.

        Masks are 0 or 1/(1 − p); the rest is added. The last batch may be short.
        """
        noise = {}
        for (what, layer), (knob, values) in self._noises.items():
            rows = slice(None if what in ("weight", "connect") else batch)
            if knob is None:  # a mask, ready for use
                noise[what, layer] = values[:, s, rows]
                continue
            u = self._by_member(values[:, s, rows])
            if knob in _RATES:
                u = self._mask(knob, u, self.network.buffer((what, layer), *u.shape))
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
        images = x.reshape(-1, *self.data.image)
        amounts = self.augment[:, None].expand(-1, x.shape[1], -1)
        return augment(images, amounts.flatten(0, 1), u.flatten(0, 1)).view(x.shape)

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

    def _scores(self, X, y):
        """Mean loss over a set, and how many labels are correct or R², [members]."""
        logits = self.logits(X)
        loss = self._losses(logits, y).mean(1)
        return loss, self._accuracy(logits, y, loss)

    def _record(self, objective):
        train = self._scores(self._by_member(self.X), self.y)
        parts = [*train, *self._scores(self.X_val, self.y_val), objective]
        values = torch.stack(parts).cpu().double()  # one transfer; MPS has no float64
        if self.data.task != "regression":
            for row, y in ((1, self.y), (3, self.y_val)):
                values[row] /= y.shape[1]
        finite = torch.isfinite(values[0]) & torch.isfinite(values[2])
        metrics = dict(zip(METRICS, values, strict=True))
        return Record(self.epoch, **metrics, active=finite)

    def _accuracy(self, logits, y, loss):
        """How many labels are correct, or R² in regression, [members]."""
        if self.data.task == "regression":
            variance = y.var(1, correction=0)
            return torch.where(variance > 0, 1 - loss / variance, 0.0)
        guess = logits[..., 0] >= 0 if logits.shape[-1] == 1 else logits.argmax(-1)
        return (guess == y).sum(1).to(self.dtype)


_RATES = ("dropout", "dropout_input", "dropout_channels", "dropconnect")
_KNOBS = (
    *_RATES,
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

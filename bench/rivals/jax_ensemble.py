"""The same ensemble in JAX: vmap over members, scan over steps, jit around the epoch.

Runs in an environment of its own (`make bench BENCH_JAX=1`) and needs jax and numpy
only. Reads lines `members dtype` and answers each with the wall-clock and processor
seconds of one epoch; the first answer for a line comes after compiling. Like the engine
it evaluates both losses after the epoch and shares one draw of masks and batches among
all members. XLA takes as many threads as it likes.
"""

import sys
import time
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

SIZES, POINTS, BATCH, LR = (2, 50, 50, 1), 1000, 32, 1e-2
STEPS = -(-POINTS // BATCH)


def initial(members, dtype):
    rng = np.random.default_rng(0)
    shapes = [s for a, b in pairwise(SIZES) for s in ((a, b), (b,))]
    one = [rng.uniform(-1, 1, s) / np.sqrt(s[0]) for s in shapes]
    return [jnp.broadcast_to(jnp.asarray(p, dtype), (members, *p.shape)) for p in one]


def logits(parameters, x, masks=None):
    layers = list(zip(parameters[::2], parameters[1::2], strict=True))
    for i, (w, b) in enumerate(layers):
        x = x @ w + b
        if i < len(layers) - 1:
            x = jax.nn.relu(x)
            x = x if masks is None else x * masks[i]
    return x[:, 0]


def data_loss(z, y):
    return jnp.mean(jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z))))


def objective(parameters, knobs, x, y, uniforms):
    l1, l2, p = knobs
    masks = [(u >= p) / (1 - p) for u in uniforms]
    weights = parameters[::2]
    penalty = l1 * sum(jnp.abs(w).sum() for w in weights)
    penalty = penalty + l2 * sum((w * w).sum() for w in weights)
    return data_loss(logits(parameters, x, masks), y) + penalty


def adam(state, knobs, x, y, uniforms):
    parameters, m, v, t = state
    g = jax.grad(objective)(parameters, knobs, x, y, uniforms)
    t = t + 1
    m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
    v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g, strict=True)]
    rate, scale = LR / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)
    moved = [
        p - rate * a / (jnp.sqrt(b) / scale + 1e-8)
        for p, a, b in zip(parameters, m, v, strict=True)
    ]
    return moved, m, v, t


@jax.jit
def epoch(state, knobs, data, held, key):
    """Train every member one epoch and evaluate it on both sets."""
    order_key, mask_key = jax.random.split(key)
    order = jax.random.permutation(order_key, POINTS)
    rows = jnp.resize(order, (STEPS, BATCH))
    step = jax.vmap(adam, (0, 0, None, None, None))

    def body(state, scanned):
        chosen, key = scanned
        x, y = data[0][chosen], data[1][chosen]
        shape = (2, BATCH, SIZES[1])
        return step(state, knobs, x, y, jax.random.uniform(key, shape, x.dtype)), None

    state, _ = jax.lax.scan(body, state, (rows, jax.random.split(mask_key, STEPS)))
    losses = [
        jax.vmap(lambda p, X=X, y=y: data_loss(logits(p, X), y))(state[0])
        for X, y in (data, held)
    ]
    return state, losses


class Bench:
    """One compiled ensemble and its state."""

    def __init__(self, members, dtype):
        rng = np.random.default_rng(1)
        sets = [
            (rng.normal(size=(POINTS, 2)), rng.integers(0, 2, POINTS)) for _ in "tv"
        ]
        self.sets = [(jnp.asarray(X, dtype), jnp.asarray(y, dtype)) for X, y in sets]
        knobs = np.geomspace(1e-6, 1e-4, members), np.geomspace(1e-5, 1e-3, members)
        dropout = np.linspace(0.1, 0.5, members)
        self.knobs = [jnp.asarray(k, dtype) for k in (*knobs, dropout)]
        p = initial(members, dtype)
        zeros = [jnp.zeros_like(a) for a in p]
        self.state = (p, zeros, zeros, jnp.zeros(members, dtype))
        self.count = 0
        self.seconds()

    def seconds(self):
        key = jax.random.key(self.count)
        begin, begin_cpu = time.perf_counter(), time.process_time()
        self.state, losses = epoch(self.state, self.knobs, *self.sets, key)
        jax.block_until_ready((self.state, losses))
        self.count += 1
        return time.perf_counter() - begin, time.process_time() - begin_cpu


def main():
    known = {}
    for line in sys.stdin:
        if line not in known:
            known.clear()
            members, dtype = line.split()
            known[line] = Bench(int(members), dtype)
        print(*known[line].seconds(), flush=True)


if __name__ == "__main__":
    main()

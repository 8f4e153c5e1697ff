"""What a penalty costs: a step of plain torch with weight_decay, with Σw² in the loss.

The worked example's network; each timing has one of the bare step just before it.
"""

import statistics
import time

import torch
from torch import nn

BATCHES = (1, 32, 256)
ROUNDS, STEPS = 31, 100


def run() -> dict:
    """Return the ratios to a step without a penalty, {name: {value, unit, target}}."""
    rows = {}
    for batch in BATCHES:
        found = {name: [] for name in ("weight_decay", "penalty")}
        for _ in range(ROUNDS):
            bare = _seconds(batch, decay=0.0, lam=0.0)
            found["weight_decay"].append(_seconds(batch, decay=2e-3, lam=0.0) / bare)
            found["penalty"].append(_seconds(batch, decay=0.0, lam=1e-3) / bare)
        for name, ratios in found.items():
            value = round(statistics.median(ratios), 2)
            row = {"value": value, "unit": "× bare", "target": ""}
            rows[f"step with {name}, batch of {batch}"] = row
    return rows


def _seconds(batch, decay, lam):
    """Seconds that STEPS steps take."""
    layers = [nn.Linear(2, 50), nn.ReLU(), nn.Linear(50, 50), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(50, 1))
    weights = [p for p in model.parameters() if p.ndim == 2]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, weight_decay=decay)
    X, y = torch.ones(batch, 2), torch.ones(batch, 1)
    begin = time.perf_counter()
    for _ in range(STEPS):
        loss = nn.functional.binary_cross_entropy_with_logits(model(X), y)
        if lam:
            loss = loss + lam * sum(w.square().sum() for w in weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - begin

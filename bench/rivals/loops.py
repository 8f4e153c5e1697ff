"""What a reader would write without the engine: a DataLoader loop, scikit-learn.

The network is the worked example's, 2-50-50-1, trained by Adam in batches of 32. Each
class has `epoch()`, which trains one epoch.
"""

import warnings

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import ThreadpoolController
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from utils.data import load, training_set


class PlainLoop:
    """nn.Module, DataLoader, autograd, torch.optim.Adam; penalties added in the loop.

    With `evaluate` it computes both losses and accuracies after the epoch, as
    Ensemble.run_epoch does; without, it only trains.
    """

    def __init__(self, experiment, device="cpu", evaluate=True):
        e, dtype = experiment, getattr(torch, experiment.dtype)
        sets = (training_set(e), load(e.data).validation)
        self.sets = [
            (torch.tensor(s.X, dtype=dtype), torch.tensor(s.y[:, None], dtype=dtype))
            for s in sets
        ]
        self.loader = DataLoader(
            TensorDataset(*self.sets[0]), batch_size=e.batch_size, shuffle=True
        )
        self.sets = [(X.to(device), y.to(device)) for X, y in self.sets]
        self.model = nn.Sequential(
            nn.Linear(2, 50),
            nn.ReLU(),
            nn.Dropout(e.dropout),
            nn.Linear(50, 50),
            nn.ReLU(),
            nn.Dropout(e.dropout),
            nn.Linear(50, 1),
        ).to(device, dtype)
        self.loss = nn.BCEWithLogitsLoss()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=e.lr)
        self.e, self.device, self.evaluates = e, device, evaluate

    def epoch(self):
        self.model.train()
        for X, y in self.batches():
            loss = self.loss(self.model(X), y) + self.penalty()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return self.evaluation() if self.evaluates else None

    def batches(self):
        for batch in self.loader:
            yield tuple(tensor.to(self.device) for tensor in batch)

    def penalty(self):
        weights = [m.weight for m in self.model if isinstance(m, nn.Linear)]
        l1 = sum(w.abs().sum() for w in weights)
        return self.e.l1 * l1 + self.e.l2 * sum(w.square().sum() for w in weights)

    @torch.no_grad()
    def evaluation(self):
        self.model.eval()
        values = []
        for X, y in self.sets:
            logits = self.model(X)
            right = ((logits >= 0) == (y == 1)).double().mean()
            values += [float(self.loss(logits, y)), float(right)]
        return values


class BareLoop(PlainLoop):
    """The same without a DataLoader and without evaluation: what torch itself takes."""

    def __init__(self, experiment):
        super().__init__(experiment, evaluate=False)

    def penalty(self):
        return 0.0

    def batches(self):
        X, y = self.sets[0]
        for rows in torch.randperm(len(X)).split(self.e.batch_size):
            yield X[rows], y[rows]


class ScikitLearn:
    """MLPClassifier of the same shape. It has L2 only: no L1, no dropout, and it
    computes the training loss but no validation loss.
    """

    def __init__(self, experiment):
        e = experiment
        self.model = MLPClassifier(
            e.hidden,
            alpha=2 * e.l2 * e.batch_size,
            batch_size=e.batch_size,
            learning_rate_init=e.lr,
        )
        data = training_set(e)
        self.X, self.y = data.X.astype(e.dtype), data.y
        self.pools = ThreadpoolController()

    def epoch(self):
        threads = self.pools.limit(limits=torch.get_num_threads(), user_api="blas")
        with threads, warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model.partial_fit(self.X, self.y, classes=[0, 1])

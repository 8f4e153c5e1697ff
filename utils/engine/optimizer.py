"""SGD, Adam and AdamW for an ensemble, and the penalties, on one matrix of parameters.

Adam: Kingma & Ba (2015). AdamW: Loshchilov & Hutter (2019). A row of the matrix is a
member, so its learning rate and penalties may differ from its neighbours'.
"""

import torch

from utils.engine.network import Network
from utils.experiment import Experiment

BETAS = (0.9, 0.999)
EPS = 1e-8


class Optimizer:
    """Moves the parameters of a Network along its gradient, as its Experiment says."""

    def __init__(self, network: Network, experiment: Experiment):
        self.kind, self.l1_method = experiment.optimizer, experiment.l1_method
        whole = experiment.penalize_bias
        count = network.n_parameters if whole else network.n_weights
        self.flat, self.gradient = network.flat, network.flat_gradient
        self.penalized = self.flat[:, :count]
        self.penalized_gradient = self.gradient[:, :count]
        self.m, self.v = torch.zeros_like(self.flat), torch.zeros_like(self.flat)
        self.work = torch.empty_like(self.flat)
        self.penalized_work = self.work[:, :count]
        self.same_lr: float | None = None

    def reset(self) -> None:
        """Forget the moments."""
        self.m.zero_()
        self.v.zero_()

    def derive(self, knobs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return what every step needs of the knobs, by name, [members, 1].

        Momentum μ makes a constant slope g move a weight by lr · g / (1 − μ) per step,
        so the limit of soft thresholding is lr · λ₁ / (1 − μ): then the run rests where
        L is least.
        """
        lr, decay = knobs["lr"], knobs["weight_decay"]
        limit = lr * knobs["l1"] / (1 - knobs["momentum"])
        coupled = 0 if self.kind == "adamw" else decay
        slope = 2 * knobs["l2"] + coupled
        names = {"limit": limit, "minus_limit": -limit, "slope": slope}
        return {**names, "shrunk": 1 - lr * decay}

    @property
    def state(self) -> list[torch.Tensor]:
        """Every tensor that training changes and keeps."""
        return [self.m, self.v]

    def add_penalty(
        self, total: torch.Tensor, knobs: dict[str, torch.Tensor], on: dict[str, bool]
    ) -> None:
        """Add λ₁ Σ|w| + λ₂ Σ w² to total, [members]."""
        if on["l1"]:
            size = torch.abs(self.penalized, out=self.penalized_work).sum(1)
            total.addcmul_(knobs["l1"][:, 0], size)
        if on["l2"]:
            size = torch.linalg.vector_norm(self.penalized, dim=1).square_()
            total.addcmul_(knobs["l2"][:, 0], size)

    @staticmethod
    def scales(begin: int, steps: int) -> torch.Tensor:
        """Steps begin + 1 … and Adam's bias corrections there, float64, [steps, 3]."""
        t = torch.arange(begin + 1, begin + steps + 1, dtype=torch.float64)
        first, second = 1 / (1 - BETAS[0] ** t), (1 - BETAS[1] ** t).rsqrt()
        return torch.stack((t, first, second), dim=1)

    def step(
        self, knobs: dict[str, torch.Tensor], on: dict[str, bool], scales: torch.Tensor
    ) -> None:
        """One step, with knobs as columns [members, 1] and this step's `scales`."""
        proximal = self.l1_method == "proximal"
        self._add_penalty_gradients(knobs, on, proximal)
        if self.kind == "adamw" and on["weight_decay"]:
            self.penalized.mul_(knobs["shrunk"])
        if self.kind == "sgd":
            self._sgd(knobs, on)
        else:
            self._adam(knobs["lr"], scales)
        if on["l1"] and proximal:
            self._shrink(knobs["limit"], knobs["minus_limit"])

    def _shrink(self, limit, minus_limit):
        """Soft thresholding: every weight moves towards 0 by limit, and stops there."""
        inside = self.penalized_work  # clamp takes four times as long
        torch.minimum(self.penalized, limit, out=inside)
        torch.maximum(inside, minus_limit, out=inside)
        self.penalized.sub_(inside)

    def _add_penalty_gradients(self, knobs, on, proximal):
        if on["l1"] and not proximal:
            torch.sign(self.penalized, out=self.penalized_work)
            self.penalized_gradient.addcmul_(self.penalized_work, knobs["l1"])
        if on["l2"] or (on["weight_decay"] and self.kind != "adamw"):
            self.penalized_gradient.addcmul_(self.penalized, knobs["slope"])

    def _sgd(self, knobs, on):
        if on["momentum"]:
            self.m.mul_(knobs["momentum"]).add_(self.gradient)
            self.flat.addcmul_(self.m, knobs["lr"], value=-1)
        else:
            self.flat.addcmul_(self.gradient, knobs["lr"], value=-1)

    def _adam(self, lr, scales):
        if self.same_lr and self.flat.device.type == "cpu":
            return self._fused_adam(scales[0])
        self.m.lerp_(self.gradient, 1 - BETAS[0])
        self.v.mul_(BETAS[1]).addcmul_(self.gradient, self.gradient, value=1 - BETAS[1])
        torch.sqrt(self.v, out=self.work).mul_(scales[2]).add_(EPS)
        torch.div(self.m, self.work, out=self.work)
        self.flat.addcmul_(self.work, lr * scales[1], value=-1)

    def _fused_adam(self, t):
        """The same in one pass over memory, for members of one learning rate."""
        torch._fused_adam_(
            [self.flat], [self.gradient], [self.m], [self.v], [], [t],
            lr=self.same_lr, beta1=BETAS[0], beta2=BETAS[1], eps=EPS,
            weight_decay=0.0, amsgrad=False, maximize=False,
        )  # fmt: skip

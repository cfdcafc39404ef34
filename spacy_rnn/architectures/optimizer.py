"""Thinc's Adam with another average of the weights."""

from typing import Any

from thinc.api import Optimizer, registry
from thinc.backends import get_array_ops
from thinc.types import FloatsXd


@registry.optimizers("spacy-rnn.Adam.v1")
def make_adam(
    learn_rate: Any = 0.001,
    *,
    L2: Any = 0.0,
    beta1: Any = 0.9,
    beta2: Any = 0.999,
    eps: Any = 1e-8,
    L2_is_weight_decay: bool = True,
    grad_clip: Any = 0.0,
    average_decay: float = 1.0,
) -> "AveragingOptimizer":
    """Make Thinc's Adam with an average of the weights over more steps. The other settings
    are as in `Adam.v1`.

    average_decay (float): The decay of old weights in the average: 0 for the mean of all steps, 1
        for about the last half of them. Thinc's own average has 8, for a ninth.
    RETURNS (AveragingOptimizer): The optimizer.
    """
    return AveragingOptimizer(
        learn_rate,
        average_decay=average_decay,
        L2=L2,
        beta1=beta1,
        beta2=beta2,
        eps=eps,
        L2_is_weight_decay=L2_is_weight_decay,
        grad_clip=grad_clip,
    )


class AveragingOptimizer(Optimizer):
    """Thinc's optimizer with polynomial-decay averaging (Shamir & Zhang 2013, "Stochastic Gradient
    Descent for Non-smooth Optimization"). With decay d, the weights of step t count for (d + 1) /
    (t + d) of the average.

    learn_rate, settings (Any): The settings of Thinc's optimizer.
    average_decay (float): The decay d.
    """

    def __init__(self, learn_rate: Any, *, average_decay: float = 1.0, **settings: Any):
        if not average_decay >= 0:
            raise ValueError(f"Setting average_decay = {average_decay!r} must be 0 or above.")
        super().__init__(learn_rate, use_averages=True, **settings)
        self.average_decay = average_decay

    def __call__(
        self, key: Any, weights: FloatsXd, gradient: FloatsXd, *, lr_scale: float = 1.0
    ) -> tuple[FloatsXd, FloatsXd]:
        """Make a step. Arguments and return value are as in Thinc's optimizer."""
        averages = self.averages
        assert averages is not None
        # Thinc would keep its own average.
        self.averages = None
        try:
            weights, gradient = super().__call__(key, weights, gradient, lr_scale=lr_scale)
        finally:
            self.averages = averages
        step = self.nr_update[key]
        if step:
            if key not in averages:
                averages[key] = get_array_ops(weights).alloc(weights.shape, dtype="float32")
            share = (self.average_decay + 1) / (step + self.average_decay)
            averages[key] += share * (weights - averages[key])
        return weights, gradient

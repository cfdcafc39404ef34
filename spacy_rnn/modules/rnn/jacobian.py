"""Derivatives of hidden states by earlier ones."""

import torch

from ..step_major import StepMajor
from .encoder_stack import EncoderStack
from .lm_stack import LMStack
from .trace import TracedStack, trace_encoder, trace_lm


def measure_norms(
    stack: EncoderStack | LMStack,
    X: torch.Tensor,
    is_lm: bool,
    n_probes: int,
    generator: torch.Generator,
) -> torch.Tensor:
    """Estimate the norm of the derivative of the hidden state that a layer ends with, by each that
    it had before. Paths are those within the layer.

    stack (EncoderStack / LMStack): The layers.
    X (Tensor): The input of one sequence. (N, nI)
    is_lm (bool): Whether each direction is a stack of its own, which reads a boundary first.
    n_probes (int): The number of random vectors.
    generator (Generator): Where chance comes from, on the CPU.
    RETURNS (Tensor): Frobenius norms divided by the square root of the number of units, by distance
        in tokens. float64, on the CPU, (layers, directions, N)
    """
    units = stack.get_weights()[0][0][1].shape[1]
    probes = _draw(n_probes, units, generator).to(X)
    if not is_lm:
        traced = trace_encoder(stack, [len(X)])  # type: ignore[arg-type]
        return _measure(traced, X, probes)
    assert isinstance(stack, LMStack)
    steps, parts = StepMajor.from_lengths([len(X) + 1]), []
    for k in range(stack.n_directions):
        tokens = torch.cat([stack.boundary.detach().to(X), X.flip(0) if k else X])
        parts.append(_measure(trace_lm(stack, k, steps), tokens, probes)[..., :-1])
    return torch.cat(parts, dim=1)


def _draw(n_probes: int, units: int, generator: torch.Generator) -> torch.Tensor:
    """RETURNS (Tensor): Random signs. (probes, units)"""
    return torch.randint(2, (n_probes, units), generator=generator) * 2 - 1


def _measure(traced: TracedStack, X: torch.Tensor, probes: torch.Tensor) -> torch.Tensor:
    """(N, nI) to (layers, directions, N)"""
    with torch.no_grad():
        outputs, _ = traced.run(X)
    layers = []
    for i, directions in enumerate(traced.weights):
        layers.append(
            torch.stack(
                [_measure_layer(traced, i, k, outputs[i], probes) for k in range(len(directions))]
            )
        )
    return torch.stack(layers)


def _measure_layer(
    traced: TracedStack, i: int, direction: int, X: torch.Tensor, probes: torch.Tensor
) -> torch.Tensor:
    """RETURNS (Tensor): The norms by distance. (N,)"""
    hidden: list[torch.Tensor] = []

    def keep(h: torch.Tensor) -> torch.Tensor:
        # So that there is a gradient by the states of weights that have none.
        hidden.append(h if h.requires_grad else h.requires_grad_())
        return hidden[-1]

    with torch.no_grad():
        x = traced.project(i, direction, X)
    with torch.enable_grad():
        # A sequence for each vector, as their gradients are wanted one by one.
        n_probes, n_steps = len(probes), len(X)
        many = StepMajor.from_lengths([n_steps] * n_probes)
        traced.follow(i, direction, x.repeat_interleave(n_probes, dim=0), many, keep)
        grads = torch.autograd.grad(hidden[-1], hidden, probes)
    squares = torch.stack([grad.double().square().sum() for grad in grads])
    return (squares / probes.numel()).sqrt().flip(0).cpu()

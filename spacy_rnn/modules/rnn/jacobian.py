"""Derivatives of states by earlier ones."""

from collections.abc import Sequence

import torch

from ..step_major import StepMajor
from .cells import Cell, State
from .encoder_stack import EncoderStack
from .lm_stack import LMStack
from .trace import TracedStack, trace_direction, trace_encoder, trace_lm


def measure_norms(
    stack: EncoderStack | LMStack,
    X: torch.Tensor,
    is_lm: bool,
    n_probes: int,
    generator: torch.Generator,
    state: int = 0,
) -> torch.Tensor:
    """Estimate the norm of the derivative of the state that a layer ends with, by each that it had
    before. Paths are those within the layer.

    stack (EncoderStack / LMStack): The layers.
    X (Tensor): The input of one sequence. (N, nI)
    is_lm (bool): Whether each direction is a stack of its own, which reads a boundary first.
    n_probes (int): The number of random vectors.
    generator (Generator): Where chance comes from, on the CPU.
    state (int): 0 for the hidden state, 1 for the cell state.
    RETURNS (Tensor): Frobenius norms divided by the square root of the number of units, by distance
        in tokens. float64, on the CPU, (layers, directions, N)
    """
    units = stack.get_weights()[0][0][1].shape[1]
    probes = _draw(n_probes, units, generator).to(X)
    if not is_lm:
        traced = trace_encoder(stack, [len(X)])  # type: ignore[arg-type]
        return _measure(traced, X, probes, state)
    assert isinstance(stack, LMStack)
    steps, parts = StepMajor.from_lengths([len(X) + 1]), []
    for k in range(stack.n_directions):
        tokens = torch.cat([stack.boundary.detach().to(X), X.flip(0) if k else X])
        parts.append(_measure(trace_lm(stack, k, steps), tokens, probes, state)[..., :-1])
    return torch.cat(parts, dim=1)


def _draw(n_probes: int, units: int, generator: torch.Generator) -> torch.Tensor:
    """RETURNS (Tensor): Random signs. (probes, units)"""
    return torch.randint(2, (n_probes, units), generator=generator) * 2 - 1


def _measure(
    traced: TracedStack, X: torch.Tensor, probes: torch.Tensor, state: int
) -> torch.Tensor:
    """(N, nI) to (layers, directions, N)"""
    with torch.no_grad():
        outputs, _ = traced.run(X)
    layers = []
    for i, directions in enumerate(traced.weights):
        norms = [
            _measure_direction(
                traced.cell, weights, traced.project(i, k, outputs[i]), probes, state
            )
            for k, weights in enumerate(directions)
        ]
        layers.append(torch.stack(norms))
    return torch.stack(layers)


def _measure_direction(
    cell: Cell, weights: Sequence[torch.Tensor], x: torch.Tensor, probes: torch.Tensor, state: int
) -> torch.Tensor:
    """RETURNS (Tensor): The norms by distance. (N,)"""
    states: list[State] = []
    with torch.enable_grad():
        # A sequence for each vector, as their gradients are wanted one by one.
        steps = StepMajor.from_lengths([len(x)] * len(probes))
        many = x.detach().repeat_interleave(len(probes), dim=0)
        trace_direction(cell, weights, many, steps, watch=states.append)
        parts = [found[state] for found in states]
        grads = torch.autograd.grad(parts[-1], parts, probes)
    squares = torch.stack([grad.double().square().sum() for grad in grads])
    return (squares / probes.numel()).sqrt().flip(0).cpu()

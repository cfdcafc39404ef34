"""The states and gates of recurrent layers over the words of texts."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy
from spacy.language import Language
from spacy.tokens import Doc

from ..layers.torch_arrays import require_torch
from .encoders import read_inputs

Dynamics = dict[str, numpy.ndarray]


def get_dynamics(nlp: Language, docs: Iterable[Doc], component: str) -> list[Dynamics]:
    """Get the hidden states, cell states and gates of recurrent layers, in single precision even if
    the layers predict with 8-bit integers.

    nlp (Language): A pipeline.
    docs (Iterable[Doc]): Docs that the components before this one have processed.
    component (str): The name of a component with a spacy-rnn.RNNEncoder.v1, or of a language model.
    RETURNS (List[Dict[str, ndarray]]): For each Doc "hidden", "cell" if the cell has cell states,
        and its gates: "input", "forget", "output" and "candidate" of an LSTM; "forget", "output"
        and "candidate" of a coupled one, whose input gate is one minus the forget gate; "reset",
        "update" and "candidate" of a GRU. A language model does not read white space. Each is
        float32, (layers, directions, tokens, units)
    RAISES (ValueError): If the component has no recurrent layers.
    """
    require_torch("Reading states and gates")
    inputs = read_inputs(nlp, docs, component)
    return [_trace(inputs.module, X, is_lm=inputs.is_lm) for X in inputs.arrays]


def average(dynamics: Sequence[Dynamics]) -> tuple[Dynamics, Dynamics]:
    """Average over Docs of equal length.

    dynamics (Sequence[Dict[str, ndarray]]): What `get_dynamics` returned.
    RETURNS (Tuple[Dict[str, ndarray], Dict[str, ndarray]]): The means, and the standard deviations.
    RAISES (ValueError): If there are none, or they have different lengths.
    """
    lengths = {values["hidden"].shape[2] for values in dynamics}
    if len(lengths) != 1:
        raise ValueError(
            f"Can't average over texts of {sorted(lengths)} words: choose texts of one length."
        )
    stacked = {name: numpy.stack([values[name] for values in dynamics]) for name in dynamics[0]}
    return (
        {name: values.mean(axis=0) for name, values in stacked.items()},
        {name: values.std(axis=0) for name, values in stacked.items()},
    )


def _trace(module: Any, X: Any, *, is_lm: bool) -> Dynamics:
    import torch

    from ..modules.rnn.trace import trace_encoder, trace_lm
    from ..modules.step_major import StepMajor

    # The tokens of a single sequence are in the order of steps.
    if not is_lm:
        with torch.inference_mode():
            _, traces = trace_encoder(module, [len(X)]).run(X)
        layers = [[trace.to_arrays() for trace in layer] for layer in traces]
    else:
        layers = [[] for _ in module.layers]
        steps = StepMajor.from_lengths([len(X) + 1])
        for k in range(module.n_directions):
            tokens = torch.cat([module.boundary.to(X), X.flip(0) if k else X])
            with torch.inference_mode():
                _, traces = trace_lm(module, k, steps).run(tokens)
            for layer, (trace,) in zip(layers, traces, strict=True):
                arrays = trace.to_arrays().items()
                layer.append({n: a[:0:-1] if k else a[1:] for n, a in arrays})
    names = layers[0][0]
    return {
        name: numpy.stack([numpy.stack([part[name] for part in layer]) for layer in layers])
        for name in names
    }

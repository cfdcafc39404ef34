"""How far gradients reach: vanishing and exploding over time."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy
from spacy.language import Language
from spacy.tokens import Doc

from ..checks import check_choice
from ..layers.torch_arrays import require_torch
from ..layers.torch_shim import get_shim
from ..modules.networks import ENCODER, LM_STACK
from .encoders import find_encoder, read_inputs
from .line_plot import Line, draw_lines
from .unit_summary import DIRECTIONS

STATES = ["hidden", "cell"]
# The smallest normal number in single precision, in which gradients are.
_SMALLEST = float(numpy.finfo("f").tiny)
# Ends the name of what was measured with new weights.
_UNTRAINED = ", untrained"


def get_gradient_norms(
    nlp: Language,
    docs: Iterable[Doc],
    component: str,
    *,
    state: str = "hidden",
    n_probes: int = 16,
    untrained: bool = False,
    seed: int = 0,
) -> numpy.ndarray:
    """Get the norm of dh_t / dh_(t - k), the derivative of the last hidden state of a layer by an
    earlier one, over the distance k (Bengio et al. 1994, "Learning Long-Term
    Dependencies with Gradient Descent is Difficult"; Pascanu et al. 2013, "On the difficulty of
    training recurrent neural networks"). The input of the layer and an LSTM's cell state at t - k
    are constants, so paths through later cell states count. Or the norm of dc_t / dc_(t - k), by
    which cell states depend on earlier ones, through h_(t - k) too.

    It is the Frobenius norm, divided by the square root of the number of units, so that the
    identity has a norm of 1. It is estimated from random vectors of signs.

    nlp (Language): A pipeline.
    docs (Iterable[Doc]): Docs of equal length, without white space.
    component (str): The name of a component with a spacy-rnn.RNNEncoder.v1, or of a language model.
    state (str): "hidden" or "cell".
    n_probes (int): The number of random vectors.
    untrained (bool): Whether to take new weights in place of the trained ones.
    seed (int): The seed of vectors and new weights.
    RETURNS (ndarray): The norms; k is 0 to the number of tokens - 1. float64,
        (docs, layers, directions, tokens)
    RAISES (ValueError): If the component has no recurrent layers or no cell state, or Docs have
        different lengths.
    """
    check_choice("state", state, STATES)
    require_torch("Gradients over distance")
    import torch

    from ..modules.rnn.jacobian import measure_norms

    inputs = read_inputs(nlp, docs, component)
    lengths = {len(X) for X in inputs.arrays}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"Docs must have one length above 0, but have {sorted(lengths)} tokens.")
    module = inputs.module
    number = STATES.index(state)
    if number >= module.cell.n_states:
        raise ValueError(f"The cells of component {component!r} have no cell state.")
    generator = torch.Generator().manual_seed(seed)
    if untrained:
        shim = get_shim(find_encoder(nlp, component, ENCODER, LM_STACK))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            build: Any = shim.network.get_module_class()
            module = build(**shim.network_settings).to(shim.device)
    norms = [
        measure_norms(module, X, inputs.is_lm, n_probes, generator, number).numpy()
        for X in inputs.arrays
    ]
    return numpy.stack(norms)


def compare_memory(
    nlp: Language,
    docs: Sequence[Doc],
    component: str,
    *,
    state: str = "hidden",
    untrained: bool = False,
    seed: int = 0,
) -> dict[str, numpy.ndarray]:
    """Average `get_gradient_norms` over Docs.

    nlp, docs, component, state, seed: As there.
    untrained (bool): Whether to add the same with new weights.
    RETURNS (Dict[str, ndarray]): The geometric means for each layer and direction, by name. Each
        (tokens,)
    """
    lines = {}
    for is_new in [False, True][: 1 + untrained]:
        norms = get_gradient_norms(nlp, docs, component, state=state, untrained=is_new, seed=seed)
        # Norms differ by orders of magnitude. Those that are too small for a number count as the
        # smallest.
        means = numpy.exp(numpy.log(numpy.maximum(norms, _SMALLEST)).mean(axis=0))
        for i, layer in enumerate(means):
            for k, values in enumerate(layer):
                name = f"layer {i + 1}"
                name += f" {DIRECTIONS[k]}" if len(layer) > 1 else ""
                lines[name + (_UNTRAINED if is_new else "")] = values
    return lines


def name_pipelines(pipelines: Sequence[str]) -> list[str]:
    """RETURNS (List[str]): A short name for each pipeline: the last part of its path that differs
    from the others', or the whole path.
    """
    parts = [Path(pipeline).parts for pipeline in pipelines]
    for i in range(1, min(map(len, parts)) + 1):
        names = [part[-i] for part in parts]
        if len(set(names)) == len(names):
            return names
    return list(pipelines)


def draw_memory(lines: dict[str, numpy.ndarray], path: Path, state: str = "hidden") -> None:
    """Draw norms over the distance, with new weights in a panel of their own.

    lines (Dict[str, ndarray]): What `compare_memory` returned, of one or several pipelines.
    path (Path): The picture.
    state (str): What they are norms of: "hidden" or "cell".
    """
    panels: dict[str, dict[str, Line]] = {}
    for name, norms in lines.items():
        panel = "untrained" if name.endswith(_UNTRAINED) else "trained"
        panels.setdefault(panel, {})[name.removesuffix(_UNTRAINED)] = Line(norms)
    y_label = "norm of d{0}(t) / d{0}(t - k)".format("c" if state == "cell" else "h")
    draw_lines(panels, path, x_label="distance k in words", y_label=y_label, log=True)


def tabulate(lines: dict[str, numpy.ndarray]) -> list[tuple[str, ...]]:
    """Make a table of norms at a few distances.

    lines (Dict[str, ndarray]): The norms over the distance, by name. Each (distances,)
    RETURNS (List[Tuple[str, ...]]): A header, and a row for each distance.
    """
    n = min(map(len, lines.values()))
    distances = [k for k in (0, 1, 2, 5, 10, 20, 50, 100, 200, 500) if k < n]
    rows = [("Distance", *lines)]
    rows += [(str(k), *(f"{values[k]:.2g}" for values in lines.values())) for k in distances]
    return rows

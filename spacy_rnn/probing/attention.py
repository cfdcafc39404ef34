"""The attention weights of a self-attention encoder."""

from collections.abc import Iterable
from typing import Any

import numpy
from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import Model

from ..layers.ragged import join
from ..layers.torch_shim import get_shim
from ..modules.networks import SELF_ATTENTION
from .encoders import find_encoder, replace_forward


def keep_attention(
    nlp: Language, docs: Iterable[Doc], component: str, key: str = "attention"
) -> list[numpy.ndarray]:
    """Keep the attention weights of Docs in `doc.user_data`.

    nlp (Language): A pipeline with a spacy-rnn.SelfAttentionEncoder.v1.
    docs (Iterable[Doc]): Docs that the components before this one have processed.
    component (str): The name of the component that has the encoder.
    key (str): The key in `doc.user_data`.
    RETURNS (List[ndarray]): The weights of each Doc. A row adds up to 1: how much its token reads
        of each other. float32, (depth, heads, tokens, tokens)
    RAISES (ValueError): If the component has no such encoder.
    """
    encoder, found = find_encoder(nlp, component, SELF_ATTENTION), []
    run: Any = encoder._func

    def attend(model: Model, Xs: Any, is_train: bool) -> Any:
        shim, rows = get_shim(model), join(model.ops, Xs)
        if len(rows):
            weights = shim.predict(rows, [len(rows)], attend=True)
        else:
            settings = shim.settings
            weights = model.ops.alloc((settings["depth"], settings["heads"], 0, 0))
        found.append(model.ops.to_numpy(weights))
        return run(model, Xs, is_train)

    pipe: Any = nlp.get_pipe(component)
    with replace_forward(encoder, attend):
        for doc in docs:
            n_before = len(found)
            pipe.predict([doc])
            # Some components don't run their model on an empty Doc.
            if len(found) == n_before:
                attend(encoder, [encoder.ops.alloc2f(0, encoder.get_dim("nI"))], False)
            doc.user_data[key] = found[-1]
    return found

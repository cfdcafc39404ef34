"""What a component attends to, as heat maps."""

import spacy
from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import Model

from ..layers.torch_shim import find_layers
from ..modules.networks import SELF_ATTENTION
from ..pipeline.string_decoding import DecodesStrings
from .attention import keep_attention
from .heat_map import HeatMap

# The name of the row and the column of the end.
END = "∎"


def load_attention(pipeline: str, component: str | None) -> tuple[Language, str]:
    """Load a pipeline with a component that attends to something.

    pipeline (str): A package, or a directory.
    component (Optional[str]): The name of the component. None if there is only one.
    RETURNS (Tuple[Language, str]): The pipeline, and the component's name.
    RAISES (ValueError): If there is no such component, or several.
    """
    nlp = spacy.load(pipeline)
    found = [name for name, pipe in nlp.pipeline if _has_attention(pipe)]
    if component is None and len(found) == 1:
        return nlp, found[0]
    if component not in found:
        raise ValueError(
            "Name a component with attention by --component: an rnn_lemmatizer or rnn_transducer, "
            "or one with a spacy-rnn.SelfAttentionEncoder.v1. The pipeline has "
            f"{', '.join(found) or 'none'}."
        )
    return nlp, component


def map_attention(nlp: Language, component: str, text: str) -> list[HeatMap]:
    """RETURNS (List[HeatMap]): For each distinct word of a text, the attention weights with which
    the component's decoder writes its string; or a matrix of words by words for each head.
    """
    doc = nlp.make_doc(text)
    for name, pipe in nlp.pipeline:
        if name == component:
            break
        doc = pipe(doc)
    pipe = nlp.get_pipe(component)
    if isinstance(pipe, DecodesStrings):
        return _map_alignments(pipe, doc)
    return _map_heads(nlp, component, doc)


def _map_alignments(pipe: DecodesStrings, doc: Doc) -> list[HeatMap]:
    maps: dict[str, HeatMap] = {}
    for source, target, weights in pipe.align(doc):
        title = f"{source} → {target}"
        maps.setdefault(title, HeatMap(title, [*target, END], [*source, END], weights))
    return list(maps.values())


def _map_heads(nlp: Language, component: str, doc: Doc) -> list[HeatMap]:
    words = [token.text for token in doc]
    if not words:
        return []
    (layers,) = keep_attention(nlp, [doc], component)
    return [
        HeatMap(f"layer {1 + i}, head {1 + j}", words, words, weights)
        for i, heads in enumerate(layers)
        for j, weights in enumerate(heads)
    ]


def _has_attention(pipe: object) -> bool:
    model = getattr(pipe, "model", None)
    has_encoder = isinstance(model, Model) and len(find_layers(model, SELF_ATTENTION)) == 1
    return has_encoder or isinstance(pipe, DecodesStrings)

"""The attention of a component that writes strings, as heat maps."""

import spacy
from spacy.language import Language

from ..pipeline.string_decoding import DecodesStrings
from .attention_map import HeatMap

# The name of the row and the column of the end.
END = "∎"


def load_transducer(pipeline: str, component: str | None) -> tuple[Language, str]:
    """Load a pipeline with a component that writes strings.

    pipeline (str): A package, or a directory.
    component (Optional[str]): The name of the component. None if there is only one.
    RETURNS (Tuple[Language, str]): The pipeline, and the component's name.
    RAISES (ValueError): If there is no such component, or several.
    """
    nlp = spacy.load(pipeline)
    found = [name for name, pipe in nlp.pipeline if isinstance(pipe, DecodesStrings)]
    if component is None and len(found) == 1:
        return nlp, found[0]
    if component not in found:
        raise ValueError(
            "Name an rnn_lemmatizer or rnn_transducer of the pipeline by --component. It has "
            f"{', '.join(found) or 'none'}."
        )
    return nlp, component


def draw_alignments(nlp: Language, component: str, text: str) -> list[HeatMap]:
    """RETURNS (List[HeatMap]): For each distinct word of a text, the attention weights with which
    the component's decoder writes its string.
    """
    doc = nlp.make_doc(text)
    for name, pipe in nlp.pipeline:
        if name == component:
            break
        doc = pipe(doc)
    maps: dict[str, HeatMap] = {}
    for source, target, weights in nlp.get_pipe(component).align(doc):  # type: ignore[attr-defined]
        title = f"{source} → {target}"
        maps.setdefault(title, HeatMap(title, [*target, END], [*source, END], weights))
    return list(maps.values())

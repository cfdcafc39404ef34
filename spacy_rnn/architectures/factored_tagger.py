from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model, chain, with_array
from thinc.types import Floats2d

from ..layers.factored_softmax import factored_softmax


@registry.architectures("spacy-rnn.FactoredTagger.v1")
def build_factored_tagger(
    tok2vec: Model[list[Doc], list[Floats2d]],
) -> Model[list[Doc], list[Floats2d]]:
    """Score the part of speech and each morphological feature of tokens independently, each with a
    softmax of its own, by one linear map. For `rnn_morphologizer`, which decodes the scores.

    tok2vec (Model[List[Doc], List[Floats2d]]): Embeds the tokens in context.
    RETURNS (Model[List[Doc], List[Floats2d]]): The model. Its outputs are inferred from the labels:
        the parts of speech, and the values of each feature with one for its absence.
    """
    output = factored_softmax()
    model: Model[list[Doc], list[Floats2d]] = chain(tok2vec, with_array(output))
    model.set_ref("tok2vec", tok2vec)
    model.set_ref("output_layer", output)
    return model

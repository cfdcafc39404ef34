from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model, chain
from thinc.types import Floats2d

from ..layers.crf import CRFScores, crf_output
from ..layers.settings import check_choice
from ..modules.tagging_scheme import SCHEMES

OUTPUTS = ["crf", "softmax"]


@registry.architectures("spacy-rnn.CRF.v1")
def build_crf(
    tok2vec: Model[list[Doc], list[Floats2d]],
    scheme: str = "biluo",
    output: str = "crf",
    nO: int | None = None,
) -> Model[list[Doc], CRFScores]:
    """Score tags of spans by a linear map, and learn which tags follow each other (Lample et al.
    2016, "Neural Architectures for Named Entity Recognition").

    tok2vec (Model[List[Doc], List[Floats2d]]): Embeds the tokens in context.
    scheme (str): The tags: "biluo", or "iob2", which has half as many and so less to learn.
    output (str): "crf" learns transitions between tags, and in training the whole sequence of
        tags is one decision; "softmax" learns to predict tags one by one. Both find the best
        legal sequence in prediction.
    nO (Optional[int]): The number of tags. Inferred from the labels.
    RETURNS (Model[List[Doc], CRFScores]): The model.
    """
    check_choice("scheme", scheme, SCHEMES)
    check_choice("output", output, OUTPUTS)
    layer = crf_output(nO, transitions=output == "crf")
    model = chain(tok2vec, layer)
    model.set_ref("tok2vec", tok2vec)
    model.set_ref("output", layer)
    model.attrs.update({"scheme": scheme, "output": output})
    return model

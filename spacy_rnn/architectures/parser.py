from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model, chain
from thinc.types import Floats2d

from ..checks import check_count
from ..layers.biaffine import BiaffineStates, biaffine


@registry.architectures("spacy-rnn.BiaffineParser.v1")
def build_biaffine_parser(
    tok2vec: Model[list[Doc], list[Floats2d]],
    arc_width: int = 256,
    label_width: int = 64,
    nO: int | None = None,
    int8: bool = False,
) -> Model[list[Doc], BiaffineStates]:
    """Score each token as the head of each other one, the labels of arcs, and where sentences start
    (Dozat & Manning 2017, "Deep Biaffine Attention for Neural Dependency Parsing").

    tok2vec (Model[List[Doc], List[Floats2d]]): Embeds the tokens in context.
    arc_width (int): The width of a token's states as a dependent and as a head.
    label_width (int): The width of both states for labels.
    nO (Optional[int]): The number of labels. Inferred from the data.
    int8 (bool): In prediction, multiply 8-bit integers: as in spacy-rnn.RNNEncoder.v1.
    RETURNS (Model[List[Doc], BiaffineStates]): The model.
    """
    check_count("arc_width", arc_width, 1)
    check_count("label_width", label_width, 1)
    layer = biaffine(arc_width, label_width, nO, int8=int8)
    model = chain(tok2vec, layer)
    model.set_ref("tok2vec", tok2vec)
    model.set_ref("output", layer)
    return model

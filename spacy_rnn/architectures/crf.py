from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model, chain
from thinc.types import Floats2d

from ..checks import check_choice, check_count
from ..layers.bilm_listener import get_listener
from ..layers.crf import MemberScores, crf_output
from ..layers.crf_ensemble import crf_ensemble
from ..modules.crf.tagging_scheme import SCHEMES

OUTPUTS = ["crf", "softmax"]


@registry.architectures("spacy-rnn.CRF.v1")
def build_crf(
    tok2vec: Model[list[Doc], list[Floats2d]],
    scheme: str = "biluo",
    output: str = "crf",
    nO: int | None = None,
    members: int = 1,
) -> Model[list[Doc], MemberScores]:
    """Score the tags of spans by a linear map, and learn the transitions between tags (Lample et
    al. 2016, "Neural Architectures for Named Entity Recognition").

    tok2vec (Model[List[Doc], List[Floats2d]]): Embeds the tokens in context.
    scheme (str): The tags: "biluo", or "iob2" with half as many. The transitions take 4 x (4 x
        labels)^2 bytes for "biluo", a quarter of that for "iob2", and four times as much in
        training: use "iob2" with a thousand labels.
    output (str): "crf" learns transitions, with a loss for the whole sequence of tags; "softmax"
        learns each token's tag independently. Both predict the best legal sequence.
    nO (Optional[int]): The number of tags. Inferred from the labels.
    members (int): The number of networks. They learn independently, and their scores are averaged
        in prediction. Time and memory grow with it. With listeners, or weights from `spacy
        pretrain`, it has to be 1.
    RETURNS (Model[List[Doc], List[CRFScores]]): The model.
    """
    check_choice("scheme", scheme, SCHEMES)
    check_choice("output", output, OUTPUTS)
    check_count("members", members, 1)
    networks = [tok2vec, *(_copy(tok2vec) for _ in range(members - 1))]
    layers = [_add_crf(network, nO, output) for network in networks]
    model = layers[0] if members == 1 else crf_ensemble(layers)
    model.attrs.update({"scheme": scheme, "output": output})
    return model


def _add_crf(
    tok2vec: Model[list[Doc], list[Floats2d]], nO: int | None, output: str
) -> Model[list[Doc], MemberScores]:
    layer = crf_output(nO, transitions=output == "crf")
    model = chain(tok2vec, layer)
    model.set_ref("tok2vec", tok2vec)
    model.set_ref("output", layer)
    return model


def _copy(tok2vec: Model[list[Doc], list[Floats2d]]) -> Model[list[Doc], list[Floats2d]]:
    for node in tok2vec.walk():
        # Thinc makes plain models of spaCy's listeners, and `replace_listeners` wants no more of
        # ours than the config has.
        if type(node) is not Model or get_listener(node) is not None:
            raise ValueError(
                "Setting members above 1 needs networks of its own, but the tok2vec has a layer "
                f"{node.name!r} that can't be copied, a listener perhaps: set members = 1, or use "
                "a tok2vec that does not listen."
            )
    return tok2vec.copy()

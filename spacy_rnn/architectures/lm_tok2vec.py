from spacy.ml.models.tok2vec import build_Tok2Vec_model
from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model
from thinc.types import Floats2d

from ..checks import check_count, check_limit
from ..layers.lm_objective import with_lm_objective
from ..layers.torch_shim import TorchShim, find_layers, get_shim
from ..modules.networks import ENCODER, LM_OBJECTIVE

# Settings of the encoder with which no direction has read the word that it predicts.
_REQUIRED = {"bidirectional": True, "depth": 1, "layer_norm": False}


@registry.architectures("spacy-rnn.LMTok2Vec.v1")
def build_lm_tok2vec(
    embed: Model[list[Doc], list[Floats2d]],
    encode: Model[list[Floats2d], list[Floats2d]],
    lm_weight: float = 0.03,
    lm_rows: int = 2000,
    lm_width: int = 64,
) -> Model[list[Doc], list[Floats2d]]:
    """Embed and encode like spacy.Tok2Vec.v2, with a language modelling loss: each direction of the
    encoder predicts the word that it reads next (Rei 2017, "Semi-supervised Multitask Learning for
    Sequence Labeling"). Worth its time where labels are few or rare.

    embed (Model[List[Doc], List[Floats2d]]): The embedding layer.
    encode (Model[List[Floats2d], List[Floats2d]]): The encoder: spacy-rnn.RNNEncoder.v1 with depth
        1 and both directions.
    lm_weight (float): The weight of that loss. 0 turns it off.
    lm_rows (int): The number of classes that words are hashed to.
    lm_width (int): The width of the hidden layer between the encoder and the prediction.
    RETURNS (Model[List[Doc], List[Floats2d]]): The layer.
    """
    check_limit("lm_weight", lm_weight)
    check_count("lm_rows", lm_rows, 2)
    check_count("lm_width", lm_width, 1)
    if not lm_weight:
        return build_Tok2Vec_model(embed, encode)
    found = encode in find_layers(encode, ENCODER)
    settings = get_shim(encode).settings if found else {}
    wrong = {name for name, value in _REQUIRED.items() if settings.get(name) != value}
    if wrong:
        asked = ", ".join(f"{name} = {value}" for name, value in _REQUIRED.items())
        raise ValueError(
            f"Architecture spacy-rnn.LMTok2Vec.v1 needs an encoder spacy-rnn.RNNEncoder.v1 with "
            f"{asked}, but {', '.join(sorted(wrong))} of {encode.name!r} is different: each "
            "direction must not have seen the word that it predicts. Change the encoder, or set "
            "lm_weight = 0."
        )
    shim = TorchShim(
        "lm_objective", LM_OBJECTIVE, {"nH": lm_width, "nO": lm_rows}, grad_clip_norm=5.0
    )
    model = with_lm_objective(build_Tok2Vec_model(embed, encode), shim, lm_weight)
    model.set_ref("embed", embed)
    model.set_ref("encode", encode)
    return model

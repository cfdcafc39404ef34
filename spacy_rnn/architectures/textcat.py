from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Linear, Model, chain, resizable
from thinc.initializers import zero_init
from thinc.layers.resizable import resize_linear_weighted, resize_model
from thinc.types import Floats2d
from thinc.util import partial

from ..checks import check_choice, check_count
from ..layers.crop import crop
from ..layers.ensemble import ensemble
from ..layers.pool import pool
from ..layers.skip_empty import skip_empty
from ..layers.torch_shim import TorchShim, find_layers, get_shim
from ..modules.networks import ENCODER, POOLING

POOLINGS = ("last", "mean", "max", "attention")

# The score of a new label before it is learned: with exclusive labels a probability of about 1e-9,
# from which it can still be learned, unlike spaCy's -5000; otherwise one of 2 %.
NEW_EXCLUSIVE_LABEL = -20.0
NEW_LABEL = -4.0


@registry.architectures("spacy-rnn.RNNTextCat.v1")
def build_rnn_text_classifier(
    tok2vec: Model[list[Doc], list[Floats2d]],
    exclusive_classes: bool,
    pooling: list[str] = ["mean", "max", "attention"],  # noqa: B006
    attention_width: int = 64,
    attention_heads: int = 1,
    bidirectional: bool | None = None,
    linear_model: Model[list[Doc], Floats2d] | None = None,
    grad_clip_norm: float = 5.0,
    max_tokens_in_training: int | None = None,
    nO: int | None = None,
) -> Model[list[Doc], Floats2d]:
    """Classify texts by a recurrent network, and by a `linear_model` of their words if there is
    one. The two are trained independently, and their scores are added up.

    tok2vec (Model[List[Doc], List[Floats2d]]): Embeds the tokens in context.
    exclusive_classes (bool): Whether the probabilities of all labels add up to 1.
    pooling (List[str]): The kinds of pooling, concatenated: "last" (the last state of each
        direction), "mean", "max" and "attention" (a weighted mean).
    attention_width (int): The width of the hidden layer of the attention.
    attention_heads (int): The number of attention heads.
    bidirectional (Optional[bool]): Whether the second half of the vectors was read from right to
        left, for "last". None asks the encoder, and is true behind a listener.
    linear_model (Optional[Model[List[Doc], Floats2d]]): A linear model, such as
        spacy.TextCatBOW.v3 with `no_output_layer = true`. Its weights take 4 x labels x `length`
        bytes, and four times as much in training: with more than 500 labels, use a shorter
        `length`, such as 8192, or no `linear_model`.
    grad_clip_norm (float): The largest norm of the gradients of the attention's weights together.
        0 turns it off.
    max_tokens_in_training (Optional[int]): The size of a random window of longer texts that is read
        in training, except by the `linear_model`. None reads whole texts.
    nO (Optional[int]): The number of labels. Inferred.
    RETURNS (Model[List[Doc], Floats2d]): The model, with a probability for each text and label.
    """
    check_pooling(pooling)
    check_count("attention_width", attention_width, 1)
    check_count("attention_heads", attention_heads, 1)
    if max_tokens_in_training is not None:
        check_count("max_tokens_in_training", max_tokens_in_training, 1)
    shim = TorchShim(
        "pooling",
        POOLING,
        {
            "kinds": list(pooling),
            "bidirectional": find_bidirectional(tok2vec, bidirectional),
            "attention_width": attention_width,
            "attention_heads": attention_heads,
        },
        grad_clip_norm=grad_clip_norm,
    )
    pooled = pool(shim)
    new_bias = NEW_EXCLUSIVE_LABEL if exclusive_classes else NEW_LABEL
    output: Model[Floats2d, Floats2d] = resizable(
        Linear(nO, init_W=zero_init),
        resize_layer=partial(resize_linear_weighted, fill_defaults={"W": 0, "b": new_bias}),
    )
    embed = crop(tok2vec, max_tokens_in_training)
    classifiers: list[Model[list[Doc], Floats2d]] = [chain(chain(embed, pooled), output)]
    if linear_model is not None:
        check_linear_model(linear_model, exclusive_classes)
        classifiers.append(skip_empty(linear_model))
    model = ensemble(classifiers, exclusive=exclusive_classes)
    model.set_ref("tok2vec", tok2vec)
    model.set_ref("pooling", pooled)
    model.set_ref("output_layer", output.layers[0])
    model.attrs["multi_label"] = not exclusive_classes
    model.attrs["resize_output"] = partial(resize_output, output, linear_model)
    if nO is not None:
        model.set_dim("nO", nO)
    return model


def resize_output(
    output: Model, linear_model: Model | None, model: Model, nO: int
) -> Model[list[Doc], Floats2d]:
    """Set the number of labels. Labels that stay keep their probabilities.

    output, linear_model, model (Model): The resizable output layer, the linear model if there is
        one, and the whole model.
    nO (int): The new number of labels.
    RETURNS (Model): The whole model.
    """
    resize_model(output, nO).set_dim("nO", nO, force=True)
    for classifier in model.layers:
        classifier.set_dim("nO", nO, force=True)
    if linear_model is not None:
        _resize_linear_model(linear_model, nO)
    model.set_ref("output_layer", output.layers[0])
    model.set_dim("nO", nO, force=True)
    return model


def _resize_linear_model(linear_model: Model, nO: int) -> None:
    if any(layer.has_param("W") for layer in linear_model.walk()):
        linear_model.attrs["resize_output"](linear_model, nO)
        return
    # spaCy would allocate the weights, which are large, again for each new label.
    for layer in linear_model.walk():
        if layer.has_dim("nO") is not False:
            layer.set_dim("nO", nO, force=True)


def check_pooling(pooling: list[str]) -> None:
    """Raise a ValueError unless there are kinds of pooling without repetition."""
    for kind in pooling:
        check_choice("pooling", kind, POOLINGS)
    if not pooling or len(set(pooling)) < len(pooling):
        raise ValueError(
            f"Setting pooling = {pooling!r} must name one or several of {', '.join(POOLINGS)}, "
            "each of them once."
        )


def check_linear_model(linear_model: Model, exclusive_classes: bool) -> None:
    """Raise a ValueError unless the model has scores of labels that can be added to ours."""
    names = {layer.name for layer in linear_model.walk()}
    if names & {"softmax", "softmax_activation", "logistic"}:
        raise ValueError(
            "The linear_model of spacy-rnn.RNNTextCat.v1 must give scores, not probabilities: use "
            "spacy.TextCatBOW.v3 with no_output_layer = true."
        )
    if "resize_output" not in linear_model.attrs:
        raise ValueError(
            f"The linear_model {linear_model.name!r} of spacy-rnn.RNNTextCat.v1 can't have labels "
            "added: use spacy.TextCatBOW.v3 with no_output_layer = true."
        )
    if linear_model.attrs.get("multi_label") is exclusive_classes:
        raise ValueError(
            f"Setting exclusive_classes = {exclusive_classes} of spacy-rnn.RNNTextCat.v1 is "
            "different in its linear_model: set both to the same."
        )


def find_bidirectional(tok2vec: Model, bidirectional: bool | None) -> bool:
    """RETURNS (bool): Whether the second half of a layer's output was read from right to left. A
    ValueError is raised if the config's setting contradicts the encoder.
    """
    encoders = find_layers(tok2vec, ENCODER)
    if not encoders:
        return True if bidirectional is None else bidirectional
    found = get_shim(encoders[-1]).settings["bidirectional"]
    if bidirectional not in (None, found):
        raise ValueError(
            f"Setting bidirectional = {bidirectional} of spacy-rnn.RNNTextCat.v1 is different in "
            "its encoder: leave it out, or set both to the same."
        )
    return found

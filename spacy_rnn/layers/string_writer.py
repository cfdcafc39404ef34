"""A model that writes a string for each token: by an edit script, or character by character."""

from collections.abc import Callable
from typing import Any

from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d

from .factored_softmax import factored_softmax, set_sizes
from .seq2seq import set_alphabet

InT = list[Doc]
OutT = list[Floats2d]


def string_writer(tok2vec: Model[InT, OutT], decoder: Model) -> Model[InT, OutT]:
    """Put layers together that a component runs on some of the tokens. The model returns the
    vectors of all tokens.

    tok2vec (Model[List[Doc], List[Floats2d]]): Embeds the tokens in context.
    decoder (Model[Pairs, Floats1d]): Writes strings.
    RETURNS (Model[List[Doc], List[Floats2d]]): The model, with the references "tok2vec", "edits"
        for the layer that scores edit scripts, and "decoder".
    """
    edits = factored_softmax()
    return Model(
        "string_writer",
        forward,
        init=init,
        layers=[tok2vec, edits, decoder],
        refs={"tok2vec": tok2vec, "edits": edits, "decoder": decoder},
    )


def forward(model: Model[InT, OutT], docs: InT, is_train: bool) -> tuple[OutT, Callable]:
    """Embed the tokens of a batch."""
    output: tuple[OutT, Callable] = model.get_ref("tok2vec")(docs, is_train)
    return output


def init(model: Model[InT, OutT], X: InT | None = None, Y: Any = None) -> None:
    """Infer the width of the vectors, and make all parameters. `set_outputs` goes first."""
    tok2vec = model.get_ref("tok2vec")
    edits, decoder = model.get_ref("edits"), model.get_ref("decoder")
    tok2vec.initialize(X=X)
    width = tok2vec.get_dim("nO")
    edits.set_dim("nI", width + decoder.get_dim("n_tags"), force=True)
    decoder.set_dim("nI", width, force=True)
    edits.initialize()
    decoder.initialize()


def set_outputs(model: Model[InT, OutT], n_edits: int, chars: list[str], n_tags: int) -> None:
    """Set what can be written.

    model (Model): The model.
    n_edits (int): The number of edit scripts.
    chars (List[str]): The characters of the decoder.
    n_tags (int): The number of tags that the model is conditioned on.
    """
    set_sizes(model.get_ref("edits"), [n_edits])
    set_alphabet(model.get_ref("decoder"), chars, n_tags)

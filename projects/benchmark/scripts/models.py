"""The models of systems: what they change in the [model] of a config."""

from typing import Any


def use_encoder(cell: str, depth: int, **changes: Any) -> dict[str, Any]:
    """Change little more than the cell and the depth, so that the benchmark follows our config.

    cell (str): The kind of cell.
    depth (int): The number of layers.
    changes (Any): Other arguments of the encoder.
    RETURNS (dict[str, Any]): The changes of the model.
    """
    return {"tok2vec": {"encode": {"cell": cell, "depth": depth, **changes}}}


def use_attention(depth: int, width: int, hidden_width: int) -> dict[str, Any]:
    """Put self-attention into our network.

    depth (int): The number of layers.
    width, hidden_width (int): The width of the encoder, and of its feed-forward networks.
    RETURNS (dict[str, Any]): The changes of the model.
    """
    embed = {"@architectures": "spacy-rnn.LexemeEmbed.v1", "width": None}
    encode = {
        "@architectures": "spacy-rnn.SelfAttentionEncoder.v1",
        "width": width,
        "depth": depth,
        "hidden_width": hidden_width,
    }
    return {
        "tok2vec": {"@architectures": "spacy.Tok2Vec.v2", "embed": embed, "encode": encode},
    }


def use_bilstm(width: int) -> dict[str, Any]:
    """Put spaCy's BiLSTM on spaCy's features.

    width (int): Its output width, of both directions together, and the width of its input.
    RETURNS (dict[str, Any]): The changes of the model.
    """
    embed = {
        "@architectures": "spacy.MultiHashEmbed.v2",
        "width": width,
        "attrs": ["NORM", "PREFIX", "SUFFIX", "SHAPE"],
        "rows": [5000, 1000, 2500, 2500],
        "include_static_vectors": False,
    }
    encode = _make_bilstm(width, depth=2)
    return {
        "tok2vec": {"@architectures": "spacy.Tok2Vec.v2", "embed": embed, "encode": encode},
    }


def use_bilstm_in_textcat(width: int) -> dict[str, Any]:
    """Put spaCy's BiLSTM into our text classifier, with one layer as ours.

    width (int): Its output width, of both directions together, and the width of its input.
    RETURNS (dict[str, Any]): The changes of the model.
    """
    encode = _make_bilstm(width, depth=1)
    return {"bidirectional": True, "tok2vec": {"embed": {"width": width}, "encode": encode}}


def _make_bilstm(width: int, depth: int) -> dict[str, Any]:
    return {
        "@architectures": "spacy.TorchBiLSTMEncoder.v1",
        "width": width,
        "depth": depth,
        "dropout": 0.0,
    }


def use_reduce(*, exclusive: bool) -> dict[str, Any]:
    """Make what spaCy had as TextCatCNN: the mean over a CNN, with spaCy's settings.

    exclusive (bool): Whether labels exclude each other.
    RETURNS (dict[str, Any]): The whole model.
    """
    return {
        "@architectures": "spacy.TextCatReduce.v1",
        "exclusive_classes": exclusive,
        "use_reduce_first": False,
        "use_reduce_last": False,
        "use_reduce_max": False,
        "use_reduce_mean": True,
        "tok2vec": {
            "@architectures": "spacy.HashEmbedCNN.v2",
            "pretrained_vectors": None,
            "width": 96,
            "depth": 4,
            "embed_size": 2000,
            "window_size": 1,
            "maxout_pieces": 3,
            "subword_features": True,
        },
    }


def use_bow(*, exclusive: bool) -> dict[str, Any]:
    """Make spaCy's bag of words, with spaCy's settings.

    exclusive (bool): Whether labels exclude each other.
    RETURNS (dict[str, Any]): The whole model.
    """
    return {
        "@architectures": "spacy.TextCatBOW.v3",
        "exclusive_classes": exclusive,
        "length": 262144,
        "ngram_size": 1,
        "no_output_layer": False,
    }

from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model
from thinc.types import Floats2d

from ..checks import check_choice, check_count, check_counts, check_rate
from ..layers.embed import lexeme_embed
from ..layers.torch_shim import TorchShim
from ..modules.networks import LEXEME_EMBEDDING

# Attributes whose values are hashes or flags, of the word itself (LEXICAL) or of the word in its
# text (CONTEXTUAL).
IS_FLAGS = ["ALPHA", "ASCII", "DIGIT", "LOWER", "PUNCT", "SPACE", "STOP", "TITLE", "UPPER"]
LEXICAL = {"ORTH", "NORM", "LOWER", "SHAPE", "PREFIX", "SUFFIX", "LENGTH"}
LEXICAL |= {*(f"IS_{flag}" for flag in IS_FLAGS), "LIKE_EMAIL", "LIKE_NUM", "LIKE_URL"}
CONTEXTUAL = {"SPACY", "TAG", "POS", "LEMMA", "MORPH", "DEP", "ENT_TYPE", "ENT_IOB"}
DEFAULT_ATTRS = ["NORM", "PREFIX", "SUFFIX", "SHAPE"]
DEFAULT_ROWS = [5000, 1000, 2500, 2500]
DEFAULT_ATTR_WIDTHS = [96, 16, 32, 32]
DEFAULT_PREFIX_SIZES = [1, 2, 3]
DEFAULT_SUFFIX_SIZES = [1, 2, 3, 4]
DEFAULT_NGRAM_SIZES = [2, 3, 4, 5]


@registry.architectures("spacy-rnn.LexemeEmbed.v1")
def build_lexeme_embed(
    width: int | None,
    attrs: list[str] = DEFAULT_ATTRS,
    rows: list[int] = DEFAULT_ROWS,
    attr_widths: list[int] = DEFAULT_ATTR_WIDTHS,
    prefix_sizes: list[int] = DEFAULT_PREFIX_SIZES,
    suffix_sizes: list[int] = DEFAULT_SUFFIX_SIZES,
    affix_rows: int = 1500,
    affix_width: int = 24,
    ngram_sizes: list[int] = DEFAULT_NGRAM_SIZES,
    ngram_rows: int = 20000,
    ngram_width: int = 32,
    maxout_pieces: int = 2,
    word_dropout: float = 0.4,
    include_static_vectors: bool = False,
    grad_clip_norm: float = 5.0,
    grad_clip_value: float = 0.0,
    mixed_precision: bool = False,
) -> Model[list[Doc], list[Floats2d]]:
    """Embed tokens by hashed features without a vocabulary: word, affixes, shape and character
    n-grams. A filter masks words that were not in the training data, as their rows are trained for
    other words. Each distinct lexeme of a batch is computed once.

    width (Optional[int]): The output width of a maxout layer that mixes the features. None
        concatenates them, which is wider.
    attrs (List[str]): The token attributes to embed. The first stands for the word itself.
    rows (List[int]): The number of rows of each attribute's table. Each value is hashed to two
        rows, so that small tables, which train faster, are enough.
    attr_widths (List[int]): The width of each attribute's table.
    prefix_sizes, suffix_sizes (List[int]): The lengths of prefixes and suffixes, in lower case; the
        attributes PREFIX (one character) and SUFFIX (three) keep the case. Empty lists turn them
        off.
    affix_rows (int): The number of rows for the affixes of each of those lengths.
    affix_width (int): The width of their table.
    ngram_sizes (List[int]): The lengths of character n-grams, with a begin and an end mark counted
        as characters. An empty list turns them off.
    ngram_rows (int): The number of rows of the n-grams' table. 0 turns them off.
    ngram_width (int): The width of the n-grams' table.
    maxout_pieces (int): The number of pieces of the maxout layer. 1 makes it linear.
    word_dropout (float): The share of tokens in training that lose their word, so that the other
        features learn to stand in for unknown words.
    include_static_vectors (bool): Whether to use the vectors of the pipeline's vocab too.
    grad_clip_norm (float): The largest norm of this layer's gradients together. 0 turns it off.
    grad_clip_value (float): The largest size of a gradient's element. 0 turns it off.
    mixed_precision (bool): Compute in half precision, for speed on a GPU.
    RETURNS (Model[List[Doc], List[Floats2d]]): The embedding layer.
    """
    if width is not None:
        check_count("width", width, 1)
    counts = {"affix_rows": affix_rows, "affix_width": affix_width, "ngram_width": ngram_width}
    for name, value in {**counts, "maxout_pieces": maxout_pieces}.items():
        check_count(name, value, 1)
    check_count("ngram_rows", ngram_rows, 0)
    check_rate("word_dropout", word_dropout)
    if not attrs or not len(attrs) == len(rows) == len(attr_widths):
        raise ValueError(
            f"Settings attrs = {attrs}, rows = {rows} and attr_widths = {attr_widths} must have "
            "one value for each attribute, at least one."
        )
    for attr in attrs:
        check_choice("attrs", attr, sorted(LEXICAL | CONTEXTUAL))
    sizes = {"prefix_sizes": prefix_sizes, "suffix_sizes": suffix_sizes, "ngram_sizes": ngram_sizes}
    for name, values in {"rows": rows, "attr_widths": attr_widths, **sizes}.items():
        check_counts(name, values, 1)
    shim = TorchShim(
        "lexeme_embed",
        LEXEME_EMBEDDING,
        {
            "width": width,
            "rows": list(rows),
            "attr_widths": list(attr_widths),
            "n_affixes": len(prefix_sizes) + len(suffix_sizes),
            "affix_rows": affix_rows,
            "affix_width": affix_width,
            "ngram_rows": ngram_rows if ngram_sizes else 0,
            "ngram_width": ngram_width,
            "maxout_pieces": maxout_pieces,
        },
        layer_settings={
            "attrs": list(attrs),
            "prefix_sizes": list(prefix_sizes),
            "suffix_sizes": list(suffix_sizes),
            "ngram_sizes": list(ngram_sizes),
            "include_static_vectors": include_static_vectors,
        },
        grad_clip_norm=grad_clip_norm,
        grad_clip_value=grad_clip_value,
        mixed_precision=mixed_precision,
    )
    return lexeme_embed(shim, width, word_dropout)

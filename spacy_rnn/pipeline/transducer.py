"""The base of components that write a string for each token."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import accumulate, chain, islice, pairwise
from typing import Any

import numpy
from spacy.language import Language
from spacy.lookups import Lookups
from spacy.pipeline import TrainablePipe
from spacy.strings import get_string_id
from spacy.tokens import Doc
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Model

from ..checks import check_count, check_flag, check_key, check_limit, check_rate, check_share
from ..layers.ragged import join, split
from ..layers.seq2seq import can_copy, decode_cached, get_alphabet, get_codes
from ..layers.string_writer import set_outputs
from ..modules.seq2seq.edit_scripts import apply_script
from .mixin import RNNPipeMixin
from .settings import Setting
from .string_decoding import DecodesStrings
from .string_labels import check_strings, find_strings, get_tags
from .string_loss import OTHER, Batch, compute_decoder_loss, compute_edit_loss
from .string_table import Key, look_up
from .string_tokens import Tokens, Written, read_gold, read_keys, read_strings, write_strings

# A model that can copy learns to from characters that are in fewer strings of the training data.
MIN_CHAR_FREQ = 3
# How many edit scripts are tried before a string is left to the decoder.
MAX_TRIED = 4


class StringTransducer(DecodesStrings, RNNPipeMixin, TrainablePipe):
    """Write a string for each token: what training showed unambiguously, or else what the most
    probable edit script makes of it, or else what a decoder writes character by character.

    vocab (Vocab): The shared vocabulary.
    model (Model): A model with the layers of `string_writer`.
    name (str): The component's name.
    settings (Any): See `make_rnn_lemmatizer`.

    source (str): The attribute that is read: "TEXT", "NORM", "LEMMA" or "_.NAME".
    target (str): The attribute that is set: "NORM", "LEMMA" or "_.NAME".
    """

    source: str
    target: str

    overwrite = Setting(check_flag, False)
    use_table = Setting(check_flag, True)
    use_edits = Setting(check_flag, True)
    use_decoder = Setting(check_flag, True)
    min_edit_freq = Setting(partial(check_count, least=1), 3)
    edit_threshold = Setting(check_share, 0.95)
    threshold = Setting(check_share, 0.05)
    max_chars = Setting(partial(check_count, least=1), 40)
    max_growth = Setting(partial(check_count, least=0), 10)
    beam_width = Setting(partial(check_count, least=1), 1)
    length_penalty = Setting(check_limit, 0.0)
    label_smoothing = Setting(check_rate, 0.0)
    sampling_rate = Setting(check_share, 0.0)
    decision_key = Setting(check_key, None)

    def __init__(self, vocab: Vocab, model: Model, name: str, **settings: Any):
        super().__init__(vocab, model, name, edits=[], tags=[], table={}, lookups={})
        self.check_settings(**settings)

    def get_fallback(self, string: str) -> str:
        """RETURNS (str): What to write where nothing is probable enough."""
        return string

    @property
    def labels(self) -> tuple[str, ...]:
        """RETURNS (Tuple[str, ...]): The edit scripts."""
        return tuple(self.cfg["edits"])

    @property
    def hide_labels(self) -> bool:
        """RETURNS (bool): True: `meta.json` does not list the labels."""
        return True

    @property
    def label_data(self) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): What was found in the training data, for a labels file: edit
        scripts, tags, the table, and characters.
        """
        chars = get_alphabet(self.model.get_ref("decoder")).chars
        return {**{key: self.cfg[key] for key in ("edits", "tags", "table")}, "chars": chars}

    def count_outputs(self) -> tuple[int, int | None]:
        """RETURNS (Tuple[int, Optional[int]]): The number of edit scripts with one label more, and
        the number that the weights have.
        """
        edits = self.model.get_ref("edits")
        return 1 + len(self.labels), edits.get_dim("nO") if edits.has_param("W") else None

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: dict[str, Any] | None = None,
        lookups: Lookups | None = None,
    ) -> None:
        """Find edit scripts, tags and characters, build the table, and initialise the model.

        get_examples (Callable[[], Iterable[Example]]): Returns the training data.
        nlp (Optional[Language]): The pipeline.
        labels (Optional[Dict[str, Any]]): What `label_data` returned. The data is not read then.
        lookups (Optional[Lookups]): Lookups with a table "lemma_lookup", for strings that the
            training data does not have.
        RAISES (ValueError): If there is nothing to learn from, or `labels` is something else.
        """
        validate_get_examples(get_examples, f"{type(self).__name__}.initialize")
        if labels is None:
            min_char_freq = MIN_CHAR_FREQ if can_copy(self.model.get_ref("decoder")) else 1
            pairs = self._read_pairs(get_examples())
            labels = find_strings(pairs, self.min_edit_freq, min_char_freq)
        found = check_strings(self.name, labels)
        if not found["table"]:
            raise ValueError(
                f"Component {self.name!r} has nothing to learn from: no token of the training data "
                f"has {self.target}. Take the component out of the pipeline, or annotate the data."
            )
        chars = found.pop("chars")
        for name, value in found.items():
            self.cfg[name] = value
        table = {} if lookups is None else lookups.get_table("lemma_lookup", {})
        self.cfg["lookups"] = {str(get_string_id(key)): value for key, value in table.items()}
        set_outputs(self.model, 1 + len(self.labels), chars, len(self.cfg["tags"]))
        self.model.initialize(X=[eg.x for eg in islice(get_examples(), 10)])

    def predict(self, docs: Iterable[Doc]) -> list[Written]:
        """Find the strings of a batch.

        docs (Iterable[Doc]): The Docs.
        RETURNS (List[Written]): The strings of each Doc.
        """
        docs = list(docs)
        self.require_tok2vec(docs)
        tokens = Tokens(docs, self.source)
        known = self._look_up(tokens.keys)
        found: list[Any] = [known[number] for number in tokens.numbers]
        rows = [row for row, outcome in enumerate(found) if outcome is None]
        if rows:
            X = join(self.model.ops, self.model.get_ref("tok2vec").predict(docs))[rows]
            for row, outcome in zip(rows, self._write(tokens, rows, X), strict=True):
                found[row] = outcome
        ends = list(accumulate(tokens.lengths, initial=0))
        parts = (found[begin:end] for begin, end in pairwise(ends))
        return [Written([s for s, _ in part], [writer for _, writer in part]) for part in parts]

    def _look_up(self, keys: Sequence[Key]) -> list[tuple[str, str] | None]:
        """RETURNS (List[Optional[Tuple[str, str]]]): The strings that need no model, and what wrote
        them.
        """
        table, lookups = self.cfg["table"], self.cfg["lookups"]
        if not self.use_table:
            table, lookups = {}, {}
        has_model = self.use_edits or self.use_decoder
        outcomes: list[tuple[str, str] | None] = []
        for key in keys:
            string, outcome = key[0], None
            if not string or string.isspace():
                outcome = string, "fallback"
            elif (found := look_up(table, key)) is not None:
                outcome = found, "table"
            elif lookups and string not in table:
                found = lookups.get(str(get_string_id(string)))
                outcome = None if found is None else (found, "lookups")
            if outcome is None and not has_model:
                outcome = self.get_fallback(string), "fallback"
            outcomes.append(outcome)
        return outcomes

    def _write(self, tokens: Tokens, rows: Sequence[int], X: Any) -> list[tuple[str, str]]:
        """RETURNS (List[Tuple[str, str]]): The strings of some tokens, and what wrote them."""
        numbers = tokens.numbers[rows]
        tags = self._get_tag_rows(tokens.keys)[numbers]
        keys = [tokens.keys[number] for number in numbers]
        best: list[tuple[str, float, str]] = [("", 0.0, "fallback")] * len(keys)
        if self.use_edits:
            best = self._choose_edits(keys, X, tags)
        # A setting takes longer to read than a variable.
        edit_threshold, max_chars, threshold = self.edit_threshold, self.max_chars, self.threshold
        unsure = [
            i
            for i, (_, prob, _) in enumerate(best)
            if prob < edit_threshold and len(keys[i][0]) <= max_chars
        ]
        if unsure and self.use_decoder:
            decoded = self._decode([keys[i] for i in unsure], X[unsure], tags[unsure])
            for i, (string, prob) in zip(unsure, decoded, strict=True):
                if prob > best[i][1]:
                    best[i] = string, prob, "decoder"
        return [
            (string, writer)
            if string and prob >= threshold
            else (self.get_fallback(key[0]), "fallback")
            for key, (string, prob, writer) in zip(keys, best, strict=True)
        ]

    def _choose_edits(
        self, keys: Sequence[Key], X: Any, tags: numpy.ndarray
    ) -> list[tuple[str, float, str]]:
        """RETURNS (List[Tuple[str, float, str]]): What the most probable edit script that fits
        makes of each string, its probability, and "edit".
        """
        ops, edits = self.model.ops, self.cfg["edits"]
        scores = self.model.get_ref("edits").predict(ops.xp.hstack([X, ops.asarray2f(tags)]))
        probs = ops.to_numpy(ops.softmax(scores))
        probs[:, OTHER] = 0.0
        best: list[tuple[str, float, str]] = [("", 0.0, "edit")] * len(keys)
        made: dict[tuple[str, int], str | None] = {}
        max_growth = self.max_growth
        rows = list(range(len(keys)))
        for _ in range(MAX_TRIED):
            rejected = []
            for row, label in zip(rows, probs[rows].argmax(axis=1).tolist(), strict=True):
                string = keys[row][0]
                if label != OTHER and (string, label) not in made:
                    made[string, label] = apply_script(edits[label - 1], string)
                new = made.get((string, label))
                if new and len(new) <= len(string) + max_growth:
                    best[row] = new, float(probs[row, label]), "edit"
                elif label != OTHER:
                    probs[row, label] = 0.0
                    rejected.append(row)
            rows = rejected
            if not rows:
                break
        return best

    def _decode(self, keys: Sequence[Key], X: Any, tags: numpy.ndarray) -> list[tuple[str, float]]:
        layer = self.model.get_ref("decoder")
        return decode_cached(
            layer,
            keys,
            get_codes(layer, X),
            tags,
            self.max_growth,
            beam_width=self.beam_width,
            length_penalty=self.length_penalty,
        )

    def set_annotations(self, docs: Iterable[Doc], written: Iterable[Written]) -> None:
        """Set the strings that `predict` returned. With a `decision_key`, what wrote each goes to
        `doc.user_data`.
        """
        for doc, own in zip(docs, written, strict=True):
            write_strings(doc, self.target, own.strings, self.overwrite)
            if self.decision_key is not None:
                doc.user_data[self.decision_key] = own.writers

    def get_loss(self, examples: Iterable[Example], vectors: Any) -> tuple[float, Any]:
        """Compute the losses of edit scripts and of the decoder: of each distinct pair of strings
        once, as both are for rare words. Adds to the gradients of both.

        examples (Iterable[Example]): The batch.
        vectors (List[Floats2d]): The output of the model.
        RETURNS (Tuple[float, List[Floats2d]]): The loss, and the gradient of the vectors.
        """
        examples = list(examples)
        validate_examples(examples, f"{type(self).__name__}.get_loss")
        tokens = Tokens([eg.predicted for eg in examples], self.source)
        keys = [tokens.keys[number] for number in tokens.numbers]
        targets = list(chain.from_iterable(read_gold(eg, self._read_targets) for eg in examples))
        distinct: dict[tuple[Key, str], int] = {}
        for row, pair in enumerate(zip(keys, targets, strict=True)):
            if pair[1] and pair[0][0] and not pair[0][0].isspace():
                distinct.setdefault(pair, row)
        rows = list(distinct.values())
        ops, X = self.model.ops, join(self.model.ops, vectors)
        dX, loss = ops.xp.zeros_like(X), 0.0
        if rows:
            tags = ops.asarray2f(self._get_tag_rows(tokens.keys)[tokens.numbers[rows]])
            some = [keys[row] for row in rows], [targets[row] for row in rows]
            batch, smoothing = Batch(X[rows], tags, *some), self.label_smoothing
            if self.use_edits:
                layer = self.model.get_ref("edits")
                loss, dX[rows] = compute_edit_loss(layer, batch, self.cfg["edits"], smoothing)
            if self.use_decoder:
                layer, longest = self.model.get_ref("decoder"), self.max_chars + self.max_growth
                part, d_part = compute_decoder_loss(
                    layer, batch, longest, self.sampling_rate, smoothing
                )
                loss += part
                dX[rows] += d_part
        self.check_loss(loss)
        return loss, split(dX, tokens.lengths)

    def _get_tag_rows(self, keys: Sequence[Key]) -> numpy.ndarray:
        """RETURNS (ndarray): 1 for each of the tags of a key, 0 for the others. (keys, tags)"""
        columns = {tag: i for i, tag in enumerate(self.cfg["tags"])}
        rows = numpy.zeros((len(keys), len(columns)), dtype="f")
        known: dict[tuple[str, str], list[int]] = {}
        for row, key in zip(rows, keys, strict=True):
            if key[1:] not in known:
                known[key[1:]] = [columns[tag] for tag in get_tags(key) if tag in columns]
            row[known[key[1:]]] = 1.0
        return rows

    def _read_targets(self, doc: Doc) -> list[str]:
        return read_strings(doc, self.target)

    def _read_pairs(self, examples: Iterable[Example]) -> Iterable[tuple[Key, str]]:
        for eg in examples:
            keys, targets = read_keys(eg.reference, self.source), self._read_targets(eg.reference)
            for key, target in zip(keys, targets, strict=True):
                if target and key[0] and not key[0].isspace():
                    yield key, target

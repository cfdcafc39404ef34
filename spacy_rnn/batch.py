"""Annotate batches of texts in the workers of an engine, such as Ray or Spark."""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span

import spacy_rnn

Value = str | bytes
COLUMNS = ("tokens", "tags", "entities", "cats", "docbin")


class BatchPipeline:
    """A trained pipeline as a function: a batch of texts in, columns out.

    It pickles as its arguments, so an engine can send it to its workers. Each process loads the
    pipeline once, at its first batch. Each batch has its own memory zone, which frees its new
    words. One thread of a process may call it at a time.

    The columns, with a value for each text:

    - `tokens`: JSON list of strings.
    - `tags`: JSON list of `token.tag_`.
    - `entities`: JSON list of objects. Their keys are `start` and `end` in characters, `label`,
      `text` and `probability`, which is null where the component has none.
    - `cats`: JSON object, `doc.cats`.
    - `docbin`: the Doc as bytes of a `DocBin`, with its user data.

    path (Union[str, Path]): The pipeline's directory, or the name of its package. Every machine
        must have it. A relative path is resolved here, not in the worker.
    columns (Iterable[str]): Which columns to return.
    n_threads (Optional[int]): How many threads to use, as many as the engine gave the worker CPUs.
        None: as many as before.
    RAISES (ValueError): If a column is unknown.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        columns: Iterable[str] = ("tags", "entities", "cats"),
        n_threads: int | None = None,
    ):
        self.path = str(Path(path).resolve() if Path(path).exists() else path)
        self.columns = tuple(columns)
        self.n_threads = n_threads
        unknown = [column for column in self.columns if column not in COLUMNS]
        if unknown or not self.columns:
            raise ValueError(
                f"Unknown columns {unknown}: choose one or more of {', '.join(COLUMNS)}."
            )

    def __call__(self, texts: Iterable[str]) -> dict[str, list[Value]]:
        """Annotate a batch. Hundreds of texts or more are fast.

        texts (Iterable[str]): The texts.
        RETURNS (Dict[str, List[Union[str, bytes]]]): Each column, with a value for each text.
        RAISES (ValueError): If a text is no string, as in a row that has none.
        """
        texts = [_check_text(text, i) for i, text in enumerate(texts)]
        nlp = _load(self.path)
        if self.n_threads is not None:
            spacy_rnn.set_num_threads(self.n_threads)
        makers = _get_makers(nlp)
        columns: dict[str, list[Value]] = {column: [] for column in self.columns}
        n_docs = 0
        with nlp.memory_zone():
            for doc in nlp.pipe(texts):
                n_docs += 1
                for column, values in columns.items():
                    values.append(makers[column](doc))
        if n_docs != len(texts):
            raise ValueError(
                f"The pipeline returned {n_docs} Docs for {len(texts)} texts: its error handler "
                "drops texts that fail. Use one that raises."
            )
        return columns


# Outside the class: an engine may send a new copy of it with each task.
@cache
def _load(path: str) -> Language:
    return spacy.load(path)


def _check_text(text: Any, i: int) -> str:
    if not isinstance(text, str):
        raise ValueError(
            f"Text {i} of the batch is {text!r} and not a string. Filter rows without a text "
            "before you annotate."
        )
    # The tokenizer refuses subclasses, such as NumPy's.
    return str(text)


def _get_makers(nlp: Language) -> Mapping[str, Callable[[Doc], Value]]:
    extensions = [ext for _, pipe in nlp.pipeline for ext in getattr(pipe, "extensions", ())]
    probability = next((ext.name for ext in extensions if ext.holder is Span), None)
    return {
        "tokens": lambda doc: _to_json([token.text for token in doc]),
        "tags": lambda doc: _to_json([token.tag_ for token in doc]),
        "entities": partial(_get_entities, probability=probability),
        "cats": lambda doc: _to_json({label: float(score) for label, score in doc.cats.items()}),
        "docbin": lambda doc: DocBin(docs=[doc], store_user_data=True).to_bytes(),
    }


def _get_entities(doc: Doc, probability: str | None) -> str:
    entities = [
        {
            "start": ent.start_char,
            "end": ent.end_char,
            "label": ent.label_,
            "text": ent.text,
            "probability": ent._.get(probability) if probability else None,
        }
        for ent in doc.ents
    ]
    return _to_json(entities)


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

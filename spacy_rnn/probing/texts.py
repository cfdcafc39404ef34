"""What questions are asked about: a text, files of texts, or number agreement data."""

from itertools import islice
from pathlib import Path

from spacy.language import Language
from spacy.tokens import Doc

from ..pretraining.text_files import find_files, read_texts
from .agreement import has_items, read_task


def read_docs(nlp: Language, source: str, limit: int = 0) -> list[Doc]:
    """Read Docs.

    nlp (Language): Its tokenizer is used.
    source (str): A file of texts, a directory with such files, or else a text.
    limit (int): The most Docs to read. 0 is all.
    RETURNS (List[Doc]): The Docs.
    """
    if not _exists(source):
        return [nlp.make_doc(source)]
    texts = islice(read_texts(find_files(source)), limit or None)
    return [
        nlp.make_doc(text) if isinstance(text, str) else Doc(nlp.vocab, words=text)
        for text in texts
    ]


def read_groups(nlp: Language, source: str, task: str | None = None) -> dict[str, list[Doc]]:
    """Read Docs to compare.

    nlp (Language): Its tokenizer is used.
    source (str): As in `read_docs`, or number agreement data.
    task (Optional[str]): The task of these data. None if there is only one.
    RETURNS (Dict[str, List[Doc]]): The correct sentences of each condition of number agreement
        data, or all Docs under "".
    """
    if not _exists(source) or not has_items(Path(source)):
        return {"": read_docs(nlp, source)}
    groups: dict[str, list[Doc]] = {}
    for item in read_task(Path(source), task):
        doc = Doc(nlp.vocab, words=[*item.prefix, item.correct])
        groups.setdefault(item.condition, []).append(doc)
    return groups


def cut_windows(nlp: Language, docs: list[Doc], n_words: int, limit: int) -> list[Doc]:
    """Join Docs, and cut them into windows of so many words.

    nlp (Language): The pipeline.
    docs (List[Doc]): The Docs.
    n_words (int): The number of words of a window.
    limit (int): The most windows to make.
    RETURNS (List[Doc]): The windows, without white space.
    RAISES (ValueError): If there are too few words for one.
    """
    words = [token.text for doc in docs for token in doc if not token.is_space]
    starts = range(0, len(words) - n_words + 1, n_words)[:limit]
    if not starts:
        raise ValueError(
            f"The texts have {len(words)} words, but {n_words} are needed: take more texts, or a "
            "smaller --distance."
        )
    return [Doc(nlp.vocab, words=words[i : i + n_words]) for i in starts]


def _exists(source: str) -> bool:
    try:
        return Path(source).exists()
    except OSError:
        # A long text is no name of a file.
        return False

"""Evaluate a language model during pretraining, and log the results as JSON records."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from spacy.language import Language
from thinc.api import Model

from ..modules.lm.language_model import LanguageModel
from .atomic import replace_path
from .batches import LMBatch
from .run_state import Position


@torch.no_grad()
def compute_mean_losses(
    lm: LanguageModel, nlp: Language, model: Model, batches: Iterable[LMBatch], max_words: int
) -> torch.Tensor:
    """RETURNS (Tensor): The mean loss of a word in each direction. The batch that reaches
    `max_words` is the last one; 0 is no limit. (directions,)
    """
    total = torch.zeros(lm.stack.n_directions, dtype=torch.double)
    n_words, states = 0, None
    for batch in batches:
        losses, states = lm(*batch.to_torch(nlp, model), states)
        total += losses.cpu().double()
        n_words += batch.n_targets
        if max_words and n_words >= max_words:
            break
    return total / n_words


def make_record(position: Position, dev_losses: list[float], **values: Any) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): The record of an evaluation. Before the first update, it has no
    perplexity of the training texts.
    """
    n_words = position.n_words - position.n_logged
    losses = {"train": [loss / n_words for loss in position.losses if n_words], "dev": dev_losses}
    # An untrained model can have a perplexity beyond the range of a float.
    perplexities = {
        f"{name}_perplexity": [math.exp(min(loss, 99.0)) for loss in parts]
        for name, parts in losses.items()
    }
    where = {"step": position.step, "epoch": position.epoch, "words": position.n_words}
    return {**where, **perplexities, **values}


def append_record(path: Path, record: dict[str, Any]) -> None:
    """Append a record to a log."""
    with open(path, "a", encoding="utf8") as log:
        log.write(json.dumps(record) + "\n")


def truncate_log(path: Path, step: int) -> None:
    """Remove the records after a step, all for step 0. The log need not exist."""
    lines = path.read_text(encoding="utf8").splitlines(keepends=True) if path.is_file() else []
    kept = [line for line in lines if step and json.loads(line)["step"] <= step]
    if len(kept) < len(lines):
        with replace_path(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf8")

"""Pretraining of language models on raw text."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy
import srsly
import torch
from spacy.language import Language
from thinc.api import Model, fix_random_seed
from torch import nn

from ..layers.bilm import get_embed
from ..layers.lm import get_language_model, set_vocabulary
from ..layers.torch_shim import get_shim
from ..layers.word_features import get_features, learn_words
from ..modules.language_model import Dropout, Vocabulary
from ..modules.time_steps import State
from .atomic import replace_path
from .checkpoints import (
    Checkpoint,
    add_prefix,
    find_checkpoints,
    pack_optimizer,
    take_prefix,
    unpack_optimizer,
)
from .lm_batches import LMBatch, LMBatcher
from .lm_optimizer import get_rate, make_optimizer
from .lm_settings import LMSettings
from .lm_vocabulary import Counts, count_words
from .processes import Processes
from .progress import Progress
from .text_files import find_files, read_texts
from .tokenize_texts import tokenize

CHECKPOINTS, COUNTS, LOG = "checkpoints", "vocabulary.json", "log.jsonl"
BEST, LAST = "model-best", "model-last"


class Pretraining:
    """A run of pretraining.

    nlp (Language): The pipeline whose tokenizer is used, and which is saved.
    model (Model): The `spacy-rnn.BiLM.v1` layer of one of its components, to train.
    settings (LMSettings): What to do.
    output (Path): Where checkpoints, log and pipelines go.
    progress (Progress): Shows how far it is.
    processes (Processes): With which others it shares the work.
    """

    def __init__(
        self,
        nlp: Language,
        model: Model,
        settings: LMSettings,
        output: Path,
        progress: Progress,
        processes: Processes,
    ):
        if settings.n_rows % processes.n_processes:
            raise ValueError(
                f"Setting n_rows = {settings.n_rows} can't be divided among "
                f"{processes.n_processes} processes."
            )
        self.nlp = nlp
        self.model = model
        self.settings = settings
        self.output = output
        self.progress = progress
        self.processes = processes
        self.train_files = find_files(settings.train)
        self.dev_files = find_files(settings.dev)
        self.step, self.epoch, self.n_words, self.seconds = 0, 0, 0, 0.0
        # Texts that were read before this epoch began.
        self.epoch_start = 0
        self.best: float | None = None
        self.n_worse = 0
        self.states: list[State] | None = None

    def run(self, *, resume: bool = False) -> None:
        """Train until the end.

        resume (bool): Whether to go on from the last checkpoint. Without one, the run begins.
        RAISES (ValueError): If there is a run already and it is not to go on, or if it had other
            settings.
        """
        checkpoints = find_checkpoints(self.output / CHECKPOINTS)
        if checkpoints and not resume:
            raise ValueError(
                f"Directory '{self.output}' has checkpoints of a run already: go on with --resume, "
                "or choose another directory."
            )
        self.counts = self._count()
        self._initialize()
        if checkpoints:
            self._load(checkpoints[-1])
        self.progress.start(self.step, self._get_last_step(), self.counts, self.settings)
        self._train()
        if self.processes.is_first:
            self._save_pipeline(LAST)
        self.progress.finish(self.output / LOG)

    def _count(self) -> Counts:
        path = self.output / COUNTS
        size = self.settings.vocabulary_size
        if self.processes.is_first and not path.is_file():
            counts = count_words(self.progress.show_counting(self._tokenize(0)), size)
            if len(counts.vocabulary) <= 2:
                raise ValueError(f"The texts in '{self.settings.train}' have no words.")
            with replace_path(path) as temporary:
                srsly.write_json(temporary, asdict(counts))
        self.processes.wait()
        return Counts(**srsly.read_json(path))

    def _initialize(self) -> None:
        fix_random_seed(self.settings.seed)
        words = self.counts.vocabulary
        self.model.initialize()
        set_vocabulary(self.model, words)
        self.embed = get_embed(self.model)
        learn_words(self.embed, words[2:], self.nlp.vocab)
        self.lm = get_language_model(self.model, self.nlp.vocab)
        self.device = get_shim(self.model).device
        self.optimizer = make_optimizer(self.lm.parameters(), self.settings)
        self.wrapped = self.processes.wrap(self.lm)
        self.vocabulary = Vocabulary(words)
        self.batcher = self._make_batcher()
        if not self.processes.is_first:
            fix_random_seed(self.settings.seed + self.processes.rank)

    def _make_batcher(self) -> LMBatcher:
        n_directions = self.lm.stack.n_directions
        return LMBatcher(self.vocabulary, self.settings.n_rows, self.settings.n_steps, n_directions)

    def _tokenize(self, first: int) -> Iterator[list[str]]:
        texts = islice(read_texts(self.train_files), first, None)
        return tokenize(texts, self.nlp.tokenizer, self.settings.n_process)

    def _get_batches(self) -> Iterator[LMBatch]:
        while not self.settings.max_epochs or self.epoch < self.settings.max_epochs:
            yield from self.batcher.get_batches(
                self._tokenize(self.batcher.n_texts - self.epoch_start)
            )
            self.epoch_start = self.batcher.n_texts
            self.epoch += 1

    def _get_last_step(self) -> int | None:
        settings = self.settings
        per_batch = settings.n_rows * settings.n_steps
        per_epoch = (self.counts.n_words + self.counts.n_texts) / per_batch
        limits = [settings.max_steps, int(per_epoch * settings.max_epochs)]
        return min((limit for limit in limits if limit), default=None)

    def _train(self) -> None:
        settings = self.settings
        if settings.max_steps and self.step >= settings.max_steps:
            return
        losses, began, words_before = torch.zeros(self.lm.stack.n_directions), time.time(), 0
        for batch in self._get_batches():
            losses += self._update(batch)
            self.step += 1
            self.n_words += batch.n_targets
            self.progress.update(batch.n_targets)
            is_last = self.step == settings.max_steps
            if self.step % settings.eval_frequency == 0 or is_last:
                n_words = self.n_words - words_before
                speed = n_words / (time.time() - began)
                is_over = self._evaluate(losses.tolist(), n_words, speed)
                losses.zero_()
                began, words_before = time.time(), self.n_words
                if is_over:
                    return
            if self.step % settings.checkpoint_frequency == 0 and self.processes.is_first:
                self._save()
            if is_last:
                return
        if self.step % settings.eval_frequency:
            n_words = self.n_words - words_before
            self._evaluate(losses.tolist(), n_words, n_words / (time.time() - began))

    def _update(self, batch: LMBatch) -> torch.Tensor:
        settings = self.settings
        part = batch.take_rows(self.processes.rank, self.processes.n_processes)
        dropout = Dropout(settings.dropout, settings.embed_dropout, settings.weight_drop)
        for group in self.optimizer.param_groups:
            n_steps = settings.decay_steps or self._get_last_step()
            group["lr"] = get_rate(settings, self.step, n_steps)
        states = self.states if settings.carry_state else None
        with self._autocast():
            sums, self.states = self._run(self.wrapped, part, states, dropout)
        (sums.sum() / part.n_targets).backward()
        if settings.grad_clip_norm:
            nn.utils.clip_grad_norm_(self.lm.parameters(), settings.grad_clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return self.processes.add(sums.detach()).cpu()

    def _run(
        self, module: Any, batch: LMBatch, states: list[State] | None, dropout: Dropout | None
    ) -> tuple[torch.Tensor, list[State]]:
        hidden = 0.0 if dropout is None else self.settings.word_dropout
        # Words are many: none is kept in the vocab longer than its batch.
        with self.nlp.memory_zone():
            words = batch.words or [" "]
            features = get_features(self.embed, words, self.nlp.vocab, hidden)
        arrays = (batch.inputs, batch.targets)
        inputs, targets = (torch.from_numpy(a).flatten(1).to(self.device) for a in arrays)
        n_rows = batch.inputs.shape[2]
        return module(features, inputs, targets, n_rows, states, dropout or Dropout())

    def _autocast(self) -> Any:
        if not self.settings.mixed_precision:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _evaluate(self, losses: list[float], n_words: int, speed: float) -> bool:
        """Log, and save the pipeline if it is the best so far. RETURNS whether training is over."""
        dev_losses = self.compute_loss()
        score = sum(dev_losses)
        is_best = self.best is None or score < self.best
        self.n_worse = 0 if is_best else self.n_worse + 1
        if is_best:
            self.best = score
            if self.processes.is_first:
                self._save_pipeline(BEST)
        record = {
            "step": self.step,
            "epoch": self.epoch,
            "words": self.n_words,
            "train_perplexity": [math.exp(min(loss / n_words, 99.0)) for loss in losses],
            "dev_perplexity": [math.exp(min(loss, 99.0)) for loss in dev_losses],
            "learn_rate": get_rate(
                self.settings, self.step, self.settings.decay_steps or self._get_last_step()
            ),
            "words_per_second": round(speed),
        }
        if self.processes.is_first:
            with open(self.output / LOG, "a", encoding="utf8") as log:
                log.write(json.dumps(record) + "\n")
        self.progress.show(record)
        return bool(self.settings.patience) and self.n_worse >= self.settings.patience

    def compute_loss(self) -> list[float]:
        """RETURNS (List[float]): The mean negative logarithm of the probability of the words of
        the texts to evaluate on, for each direction.
        """
        batcher = self._make_batcher()
        texts = tokenize(read_texts(self.dev_files), self.nlp.tokenizer, 0)
        totals, n_words, states = torch.zeros(self.lm.stack.n_directions), 0, None
        with torch.no_grad():
            for batch in batcher.get_batches(texts, to_end=True):
                sums, states = self._run(self.lm, batch, states, None)
                totals += sums.cpu()
                n_words += batch.n_targets
                if self.settings.dev_words and n_words >= self.settings.dev_words:
                    break
        return (totals / n_words).tolist()

    def _save_pipeline(self, name: str) -> None:
        with replace_path(self.output / name) as path:
            self.nlp.to_disk(path)

    def _save(self) -> None:
        kind, keys, position, *rest = numpy.random.get_state()
        state = {
            "settings": asdict(self.settings),
            "step": self.step,
            "epoch": self.epoch,
            "epoch_start": self.epoch_start,
            "n_words": self.n_words,
            "best": self.best,
            "n_worse": self.n_worse,
            "batcher": self.batcher.get_state(),
            "numpy": [kind, numpy.asarray(keys).tolist(), position, *rest],
        }
        tensors = {
            **add_prefix("model", self.lm.state_dict()),
            **add_prefix("optimizer", pack_optimizer(self.optimizer)),
            "torch": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            tensors["cuda"] = torch.cuda.get_rng_state(self.device)
        for i, parts in enumerate(self.states or []):
            tensors.update(add_prefix(f"state.{i}", {str(j): x for j, x in enumerate(parts)}))
        Checkpoint(state, tensors).save(
            self.output / CHECKPOINTS, self.step, self.settings.max_checkpoints
        )

    def _load(self, path: Path) -> None:
        checkpoint = Checkpoint.load(path)
        state, tensors = checkpoint.state, checkpoint.tensors
        stored, wanted = state["settings"], json.loads(json.dumps(asdict(self.settings)))
        for name in sorted({*stored, *wanted}):
            if stored.get(name) != wanted.get(name):
                raise ValueError(
                    f"Can't go on from '{path}': it was made with {name} = {stored.get(name)!r}, "
                    f"but the config says {wanted.get(name)!r}."
                )
        try:
            self.lm.load_state_dict(take_prefix("model", tensors))
        except RuntimeError as err:
            raise ValueError(
                f"Can't go on from '{path}': its model has other settings than the config. {err}"
            ) from err
        unpack_optimizer(self.optimizer, take_prefix("optimizer", tensors))
        self.step, self.epoch, self.epoch_start = (
            state["step"],
            state["epoch"],
            state["epoch_start"],
        )
        self.n_words, self.best, self.n_worse = state["n_words"], state["best"], state["n_worse"]
        self.batcher.set_state(state["batcher"])
        self.states = [
            tuple(
                part.to(self.device)
                for _, part in sorted(take_prefix(f"state.{i}", tensors).items())
            )
            for i in range(len(self.lm.stack.layers))
        ]
        if self.processes.is_first:
            kind, keys, *rest = state["numpy"]
            numpy.random.set_state((kind, numpy.asarray(keys, dtype="uint32"), *rest))
            torch.set_rng_state(tensors["torch"])
            if self.device.type == "cuda":
                torch.cuda.set_rng_state(tensors["cuda"], self.device)

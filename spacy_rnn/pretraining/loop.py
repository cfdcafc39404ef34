"""Pretraining of language models on raw text."""

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import srsly
import torch
from spacy.language import Language
from thinc.api import Model, fix_random_seed
from torch import nn

from ..layers.bilm import get_embed
from ..layers.lm import get_language_model, get_vocabulary, set_vocabulary
from ..layers.lm_weights import hash_weights, load_weights
from ..layers.torch_shim import get_shim
from ..layers.word_features import get_features, learn_words
from ..modules.backend import has_bfloat16
from ..modules.lm.language_model import Dropout, Vocabulary
from ..modules.rnn.cells import State
from .atomic import replace_path
from .batches import LMBatch, LMBatcher
from .checkpoints import find_checkpoints
from .log import append_record, cut_log
from .optimizer import get_rate, make_optimizer
from .processes import Processes
from .progress import Progress
from .run_state import Position, load_run, save_run
from .settings import LMSettings
from .text_files import find_files, read_texts
from .tokenize import tokenize
from .vocabulary import Counts, count_words

CHECKPOINTS, COUNTS, LOG = "checkpoints", "vocabulary.json", "log.jsonl"
BEST, LAST = "model-best", "model-last"


class Pretraining:
    """A run of pretraining.

    nlp (Language): The pipeline whose tokenizer is used, and which is saved.
    model (Model): The `spacy-rnn.BiLM.v1` layer of one of its components, to train.
    settings (LMSettings): What to do.
    output (Path): Where checkpoints, log and pipelines go.
    progress (Progress): Shows how far it is.
    processes (Processes): With which others it shares the work. They have one file system.
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
        self.position = Position()
        self.states: list[State] | None = None

    def run(self, *, resume: bool = False) -> None:
        """Train until the end.

        resume (bool): Whether to go on from the last checkpoint. Without one, the run begins.
        RAISES (ValueError): If there is a run already and it is not to go on, if it had other
            settings, or if the loss is no number any more.
        """
        checkpoints = find_checkpoints(self.output / CHECKPOINTS)
        if checkpoints and not resume:
            raise ValueError(
                f"Directory '{self.output}' has checkpoints of a run already: go on with --resume, "
                "or choose another directory."
            )
        self.prepare(is_new=not checkpoints)
        if checkpoints:
            load_run(self, checkpoints[-1])
        if self.processes.is_first:
            cut_log(self.output / LOG, self.position.step)
        self.progress.start(self.position.step, self._get_last_step(), self.counts, self.settings)
        if not self.position.is_over:
            self._train()
            self.position.is_over = True
            self._save()
        if self.processes.is_first:
            self._save_pipeline(LAST)
        self.progress.finish(self.output / LOG)
        # All leave together: the group must not end under those that still use it.
        del self.wrapped
        self.processes.wait()

    def prepare(self, *, is_new: bool = True) -> None:
        """Count words and make a new model, or load one that was pretrained before.

        is_new (bool): Whether the words may be counted anew.
        RAISES (ValueError): If they may not, but the texts, the weights to go on with or the size
            of the vocabulary changed.
        """
        fix_random_seed(self.settings.seed)
        self.model.initialize()
        # Texts may take long to count: what is wrong with weights is said before.
        if self.settings.weights:
            load_weights(self.model, Path(self.settings.weights), with_output=True)
        self.counts = self._count(is_new=is_new)
        self._initialize()

    def _count(self, *, is_new: bool) -> Counts:
        path, weights = self.output / COUNTS, self.settings.weights
        size = 0 if weights else self.settings.vocabulary_size
        if self.processes.is_first:
            stored = Counts(**srsly.read_json(path)) if path.is_file() else None
            source: list[Any] = [[file.name, file.stat().st_size] for file in self.train_files]
            if weights:
                source.append(hash_weights(Path(weights)))
            if stored is None or not stored.is_of(source, size):
                if not is_new:
                    raise ValueError(
                        f"Can't go on in '{self.output}': the run began with other texts or "
                        "weights, or another vocabulary_size. Choose another directory, or remove "
                        "this one."
                    )
                counts = count_words(self.progress.show_counting(self._tokenize(0)), size, source)
                if not counts.n_words:
                    raise ValueError(f"The texts in '{self.settings.train}' have no words.")
                if weights:
                    counts = replace(counts, vocabulary=get_vocabulary(self.model))
                with replace_path(path) as temporary:
                    srsly.write_json(temporary, asdict(counts))
        self.processes.wait()
        return Counts(**srsly.read_json(path))

    def _initialize(self) -> None:
        self.embed = get_embed(self.model)
        if not self.settings.weights:
            set_vocabulary(self.model, self.counts.vocabulary)
            learn_words(self.embed, self.counts.vocabulary[2:], self.nlp.vocab)
        self.lm = get_language_model(self.model, self.nlp.vocab)
        self.device = get_shim(self.model).device
        self.optimizer = make_optimizer(self.lm.parameters(), self.settings)
        self.wrapped = self.processes.wrap(self.lm)
        self.vocabulary = Vocabulary(self.counts.vocabulary)
        self.batcher = self._make_batcher()
        self.position.losses = [0.0] * self.lm.stack.n_directions
        self.is_half = self.settings.mixed_precision
        if self.is_half and self.device.type == "cpu" and not has_bfloat16():
            self.is_half = False
            self.progress.warn("This processor has no instructions for bfloat16: computing without")
        if not self.processes.is_first:
            fix_random_seed(self.settings.seed + self.processes.rank)

    def _make_batcher(self) -> LMBatcher:
        n_directions = self.lm.stack.n_directions
        return LMBatcher(self.vocabulary, self.settings.n_rows, self.settings.n_steps, n_directions)

    def _tokenize(self, first: int) -> Iterator[list[str]]:
        texts = islice(read_texts(self.train_files), first, None)
        return tokenize(texts, self.nlp.tokenizer, self.settings.n_process)

    def get_batches(self) -> Iterator[LMBatch]:
        """YIELDS (LMBatch): What is left to train on."""
        position, max_epochs = self.position, self.settings.max_epochs
        while not max_epochs or position.epoch < max_epochs:
            texts = self._tokenize(self.batcher.n_texts - position.epoch_start)
            yield from self.batcher.get_batches(texts)
            position.epoch_start = self.batcher.n_texts
            position.epoch += 1

    def _get_last_step(self) -> int | None:
        settings = self.settings
        per_batch = settings.n_rows * settings.n_steps
        per_epoch = (self.counts.n_words + self.counts.n_texts) / per_batch
        limits = [settings.max_steps, int(per_epoch * settings.max_epochs)]
        return min((limit for limit in limits if limit), default=None)

    def _train(self) -> None:
        settings, position = self.settings, self.position
        if settings.max_steps and position.step >= settings.max_steps:
            return
        self._start_clock()
        for batch in self.get_batches():
            if settings.weights and not position.step:
                # What these texts teach may turn out to be worse than what was known.
                self._evaluate()
            position.losses = [
                total + loss
                for total, loss in zip(position.losses, self.update(batch), strict=True)
            ]
            position.step += 1
            position.n_words += batch.n_targets
            self.progress.update(batch.n_targets)
            is_last = position.step == settings.max_steps
            if (position.step % settings.eval_frequency == 0 or is_last) and self._evaluate():
                return
            if is_last:
                return
            if position.step % settings.checkpoint_frequency == 0:
                self._save()
        if not position.step:
            raise ValueError(
                f"The texts in '{settings.train}' have {self.counts.n_words} words in "
                f"{self.counts.n_texts} texts, which is not enough for one update of n_rows = "
                f"{settings.n_rows} and n_steps = {settings.n_steps}: make these smaller."
            )
        if position.n_words > position.n_logged:
            self._evaluate()

    def update(self, batch: LMBatch) -> list[float]:
        """Train on a batch.

        batch (LMBatch): The batch, of all processes.
        RETURNS (List[float]): The loss of all its words, for each direction.
        RAISES (ValueError): If that is no number.
        """
        settings = self.settings
        part = batch.take_rows(self.processes.rank, self.processes.n_processes)
        dropout = Dropout(settings.dropout, settings.embed_dropout, settings.weight_drop)
        for group in self.optimizer.param_groups:
            group["lr"] = self._get_rate()
        states = self.states if settings.carry_state else None
        with self._autocast():
            sums, self.states = self._run(self.wrapped, part, states, dropout)
        (sums.sum() / part.n_targets).backward()
        if settings.grad_clip_norm:
            nn.utils.clip_grad_norm_(self.lm.parameters(), settings.grad_clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        losses = self.processes.add(sums.detach()).tolist()
        if not all(map(math.isfinite, losses)):
            raise ValueError(
                f"The loss is {losses} in step {self.position.step}: begin anew, in another "
                "directory, with a lower learn_rate or grad_clip_norm. Checkpoints are from before."
            )
        return losses

    def _get_rate(self) -> float:
        n_steps = self.settings.decay_steps or self._get_last_step()
        return get_rate(self.settings, self.position.step, n_steps)

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
        if not self.is_half:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _start_clock(self) -> None:
        self._clock = time.perf_counter(), self.position.n_words

    def _evaluate(self) -> bool:
        """Log, and save the pipeline if it is the best so far. RETURNS whether training is over."""
        position, settings = self.position, self.settings
        seconds, n_timed = time.perf_counter() - self._clock[0], position.n_words - self._clock[1]
        dev_losses = self.compute_loss()
        score = sum(dev_losses)
        is_best = position.best is None or score < position.best
        position.n_worse = 0 if is_best else position.n_worse + 1
        if is_best:
            position.best = score
        n_words = position.n_words - position.n_logged
        losses = position.losses if n_words else []
        record = {
            "step": position.step,
            "epoch": position.epoch,
            "words": position.n_words,
            "train_perplexity": [_get_perplexity(loss / n_words) for loss in losses],
            "dev_perplexity": [_get_perplexity(loss) for loss in dev_losses],
            "learn_rate": self._get_rate(),
            "words_per_second": round(n_timed / max(seconds, 1e-9)),
        }
        position.n_logged = position.n_words
        position.losses = [0.0] * len(position.losses)
        if self.processes.is_first:
            if is_best:
                self._save_pipeline(BEST)
            append_record(self.output / LOG, record)
        self.progress.show(record)
        self._start_clock()
        return bool(settings.patience) and position.n_worse >= settings.patience

    def compute_loss(self) -> list[float]:
        """RETURNS (List[float]): The mean negative logarithm of the probability of the words of
        the texts to evaluate on, for each direction. The first process computes it for all.
        """
        n_directions = self.lm.stack.n_directions
        losses = torch.zeros(n_directions, dtype=torch.double)
        if self.processes.is_first:
            batcher = self._make_batcher()
            texts = tokenize(read_texts(self.dev_files), self.nlp.tokenizer, 0)
            n_words, states = 0, None
            with torch.no_grad():
                for batch in batcher.get_batches(texts, to_end=True):
                    sums, states = self._run(self.lm, batch, states, None)
                    losses += sums.cpu().double()
                    n_words += batch.n_targets
                    if self.settings.dev_words and n_words >= self.settings.dev_words:
                        break
            if not n_words:
                raise ValueError(f"The texts in '{self.settings.dev}' have no words.")
            losses /= n_words
        return self.processes.share(losses).tolist()

    def _save_pipeline(self, name: str) -> None:
        with replace_path(self.output / name) as path:
            self.nlp.to_disk(path)

    def _save(self) -> None:
        save_run(self, self.output / CHECKPOINTS)


def _get_perplexity(loss: float) -> float:
    # Of a model that has learned nothing yet, more than a number can hold.
    return math.exp(min(loss, 99.0))

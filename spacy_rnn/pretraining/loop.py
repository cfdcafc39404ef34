"""The training loop of language models on raw text."""

import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import torch
from spacy.language import Language
from spacy.util import dict_to_dot
from thinc.api import Model, fix_random_seed
from torch import nn

from ..layers.bilm import get_embed, get_output
from ..layers.lm import get_language_model
from ..layers.torch_shim import get_shim
from ..modules.backend import has_bfloat16
from ..modules.lm.language_model import Dropout
from ..modules.lm.vocabulary import Vocabulary
from .atomic import replace_path
from .batches import LMBatch, LMBatcher
from .checkpoints import find_checkpoints, load_checkpoint, save_checkpoint
from .evaluation import append_record, compute_mean_losses, make_record, truncate_log
from .initialize import initialize_model
from .optimizer import get_rate, make_optimizer
from .processes import Processes
from .progress import Progress
from .run_state import Position, RunState
from .settings import LMSettings
from .text_files import find_files, read_texts
from .tokenize import tokenize

CHECKPOINTS, COUNTS, LOG = "checkpoints", "vocabulary.json", "log.jsonl"
BEST, LAST = "model-best", "model-last"


class Pretraining:
    """A run of pretraining. It counts the words first, unless its directory has their counts.

    nlp (Language): The pipeline. It tokenizes the texts, and is saved.
    model (Model): The `spacy-rnn.BiLM.v1` layer of one of its components, to train.
    settings (LMSettings): The settings.
    output (Path): The directory for checkpoints, log and pipelines.
    progress (Progress): Shows the progress.
    processes (Processes): The processes that share the work.
    resume (bool): Whether to continue from the last checkpoint, if there is one.
    RAISES (ValueError): If texts, weights or settings are wrong, if the directory has another run,
        or if the run to resume had other settings.
    """

    def __init__(
        self,
        nlp: Language,
        model: Model,
        settings: LMSettings,
        output: Path,
        progress: Progress,
        processes: Processes,
        *,
        resume: bool = False,
    ):
        if settings.n_rows % processes.n_processes:
            raise ValueError(
                f"Setting n_rows = {settings.n_rows} can't be divided among "
                f"{processes.n_processes} processes."
            )
        checkpoints = find_checkpoints(output / CHECKPOINTS)
        if checkpoints and not resume:
            raise ValueError(
                f"Directory '{output}' already has checkpoints: continue from them with --resume, "
                "or choose another directory."
            )
        self.nlp = nlp
        self.model = model
        self.settings = settings
        self.output = output
        self.progress = progress
        self.processes = processes
        self.train_files = find_files(settings.train)
        self.dev_files = find_files(settings.dev)
        texts, path = progress.show_counting(self._tokenize(0)), output / COUNTS
        self.counts = initialize_model(
            model, nlp.vocab, settings, texts, path, processes, resume=bool(checkpoints)
        )
        lm = get_language_model(model, nlp.vocab)
        shape = (settings.n_rows, settings.n_steps, lm.stack.n_directions)
        self.state = RunState(
            lm,
            make_optimizer(lm.parameters(), settings),
            LMBatcher(Vocabulary(self.counts.vocabulary), *shape),
            Position(losses=[0.0] * lm.stack.n_directions),
        )
        self.bf16 = settings.mixed_precision
        if self.bf16 and processes.device.type == "cpu" and not has_bfloat16():
            self.bf16 = False
            progress.msg.warn("bfloat16 is no faster on this processor: computing in float32")
        self.parallel_lm = processes.wrap(lm)
        # Each process needs its own dropout masks.
        if not processes.is_first:
            fix_random_seed(settings.seed + processes.rank)
        layers = {"model": model, "embed": get_embed(model), "output": get_output(model)}
        layer_settings = {name: get_shim(layer).settings for name, layer in layers.items()}
        self._stored_settings = {
            "settings": asdict(settings),
            "layers": dict_to_dot(layer_settings),
        }
        if checkpoints:
            load_checkpoint(checkpoints[-1], self.state, self._stored_settings, processes)

    def run(self) -> None:
        """Train to the end.

        RAISES (ValueError): If the texts are too short for one update, or the loss is not finite.
        """
        position, counts, log = self.state.position, self.counts, self.output / LOG
        if self.processes.is_first:
            truncate_log(log, position.step)
        self.progress.msg.info(
            f"{counts.n_words:,} words in {counts.n_texts:,} texts, {len(counts.vocabulary):,} in "
            f"the vocabulary"
        )
        if position.step:
            self.progress.msg.info(f"Resuming after step {position.step}")
        n_steps, size = self._count_steps(), self.settings.n_rows * self.settings.n_steps
        self.progress.start(position.n_words, n_steps and n_steps * size)
        if not position.is_over:
            self._train()
            position.is_over = True
            self._save_checkpoint()
        if self.processes.is_first:
            self._save_pipeline(LAST)
        self.progress.finish(log)
        # No process may end the group while another one uses it.
        self.processes.wait()

    def get_batches(self) -> Iterator[LMBatch]:
        """YIELDS (LMBatch): The batches from the current position to the end of training."""
        position, batcher = self.state.position, self.state.batcher
        max_epochs = self.settings.max_epochs
        while not max_epochs or position.epoch < max_epochs:
            yield from batcher.get_batches(self._tokenize(batcher.n_texts - position.epoch_start))
            position.epoch_start = batcher.n_texts
            position.epoch += 1

    def update(self, batch: LMBatch) -> list[float]:
        """Update the weights.

        batch (LMBatch): The batch of all processes.
        RETURNS (List[float]): The sum of the losses of its words, for each direction.
        RAISES (ValueError): If that is not finite.
        """
        settings, state = self.settings, self.state
        part = batch.take_rows(self.processes.rank, self.processes.n_processes)
        dropout = Dropout(settings.dropout, settings.embed_dropout, settings.weight_drop)
        for group in state.optimizer.param_groups:
            group["lr"] = self._get_rate()
        before = state.states if settings.carry_state else None
        inputs = part.to_torch(self.nlp, self.model, settings.word_dropout)
        with torch.autocast(self.processes.device.type, torch.bfloat16, enabled=self.bf16):
            losses, state.states = self.parallel_lm(*inputs, before, dropout)
        (losses.sum() / part.n_targets).backward()
        if settings.grad_clip_norm:
            nn.utils.clip_grad_norm_(state.lm.parameters(), settings.grad_clip_norm)
        state.optimizer.step()
        state.optimizer.zero_grad()
        totals: list[float] = self.processes.add(losses.detach()).tolist()
        if not all(map(math.isfinite, totals)):
            raise ValueError(
                f"The loss is {totals} in step {state.position.step}. Train in another directory "
                "with a lower learn_rate or grad_clip_norm."
            )
        return totals

    def _train(self) -> None:
        settings, position = self.settings, self.state.position
        timer = time.perf_counter(), position.n_words
        for batch in self.get_batches():
            if settings.weights and not position.step:
                # The pretrained weights may be better than all that follow.
                timer = self._evaluate(*timer)
            losses = self.update(batch)
            position.losses = [a + b for a, b in zip(position.losses, losses, strict=True)]
            position.step += 1
            position.n_words += batch.n_targets
            self.progress.bar.update(batch.n_targets)
            if position.step % settings.eval_frequency == 0:
                timer = self._evaluate(*timer)
                if settings.patience and position.n_worse >= settings.patience:
                    break
            if position.step == settings.max_steps:
                break
            if position.step % settings.checkpoint_frequency == 0:
                self._save_checkpoint()
        if not position.step:
            raise ValueError(
                f"The texts in '{settings.train}' are too short for one update: they have "
                f"{self.counts.n_words} words in {self.counts.n_texts} texts. Lower n_rows = "
                f"{settings.n_rows} or n_steps = {settings.n_steps}."
            )
        if position.n_words > position.n_logged:
            self._evaluate(*timer)

    def _evaluate(self, started: float, n_before: int) -> tuple[float, int]:
        """Evaluate, log, and save the pipeline if it is the best so far. Arguments and result are
        a time in seconds and the number of words predicted until then, to measure the speed.
        """
        position, lm = self.state.position, self.state.lm
        seconds = time.perf_counter() - started
        losses = torch.zeros(lm.stack.n_directions, dtype=torch.double)
        if self.processes.is_first:
            texts = tokenize(read_texts(self.dev_files), self.nlp.tokenizer, 0)
            batches = self.state.batcher.copy_empty().get_batches(texts, to_end=True)
            losses = compute_mean_losses(lm, self.nlp, self.model, batches, self.settings.dev_words)
        # The others have zeros.
        dev_losses = self.processes.add(losses.to(self.processes.device)).tolist()
        is_best = position.best is None or sum(dev_losses) < position.best
        position.n_worse = 0 if is_best else position.n_worse + 1
        if is_best:
            position.best = sum(dev_losses)
        speed = round((position.n_words - n_before) / max(seconds, 1e-9))
        values = {"learn_rate": self._get_rate(), "words_per_second": speed}
        record = make_record(position, dev_losses, **values)
        position.n_logged = position.n_words
        position.losses = [0.0] * len(dev_losses)
        if self.processes.is_first:
            if is_best:
                self._save_pipeline(BEST)
            append_record(self.output / LOG, record)
        self.progress.show(record)
        return time.perf_counter(), position.n_words

    def _tokenize(self, first: int) -> Iterator[list[str]]:
        texts = islice(read_texts(self.train_files), first, None)
        return tokenize(texts, self.nlp.tokenizer, self.settings.n_process)

    def _count_steps(self) -> int | None:
        settings = self.settings
        per_batch = settings.n_rows * settings.n_steps
        per_epoch = (self.counts.n_words + self.counts.n_texts) / per_batch
        limits = [settings.max_steps, int(per_epoch * settings.max_epochs)]
        return min((limit for limit in limits if limit), default=None)

    def _get_rate(self) -> float:
        n_steps = self.settings.decay_steps or self._count_steps()
        return get_rate(self.settings, self.state.position.step, n_steps)

    def _save_pipeline(self, name: str) -> None:
        with replace_path(self.output / name) as path:
            self.nlp.to_disk(path)

    def _save_checkpoint(self) -> None:
        path, keep = self.output / CHECKPOINTS, self.settings.max_checkpoints
        save_checkpoint(path, self.state, self._stored_settings, self.processes, keep)

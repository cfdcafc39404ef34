"""Blocks of code in the documents, and how to run them.

Commands run in this process: each new one would import torch again.
"""

import contextlib
import io
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import spacy
from spacy.util import registry
from thinc.api import Config

from ..commands import Checker, Command
from ..conftest import ROOT, run_spacy

# What makes commands short.
TRAINING = {"max_steps": "1", "eval_frequency": "1", "batcher.size": "100"}
PRETRAINING = {"max_steps": "2", "n_process": "0", "n_rows": "4", "n_steps": "8"}
SMALL_MODEL = {"width": "16", "embed.width": "16", "embed.ngram_rows": "100", "cutoffs": "[5]"}


@dataclass
class Block:
    """A block of code: its language, its text, and the line it begins on."""

    language: str
    code: str
    line: int


def get_blocks(path: Path) -> list[Block]:
    """RETURNS (List[Block]): All blocks of a document but plain text and Sphinx's directives."""
    text = path.read_text(encoding="utf8")
    found = re.finditer(r"^```(\S*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    blocks = [Block(m[1], m[2], text.count("\n", 0, m.start()) + 2) for m in found]
    return [block for block in blocks if block.language != "text" and block.language[:1] != "{"]


def run_python(block: Block, path: Path, names: dict) -> None:
    """Run Python, with the names that blocks before it have left. Lines that begin with `# ` are
    what it prints.
    """
    # Errors are of the document's own lines.
    code = "\n" * (block.line - 1) + block.code
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, str(path), "exec"), names)
    said = [line[2:] for line in block.code.splitlines() if line.startswith("# ")]
    assert printed.getvalue().splitlines() == said


def run_shell(block: Block) -> None:
    """Run each command, made short."""
    for command in block.code.replace("\\\n", " ").splitlines():
        words = shlex.split(command)
        while re.match(r"[A-Z_]+=", words[0]):
            words = words[1:]
        RUNNERS[words[0]](words)


def run_briefly(words: list[str]) -> None:
    """Run `python -m spacy ...`, with settings that make it short. Scripts of projects only have
    their arguments checked.
    """
    if words[1].endswith(".py"):
        Checker(Path.cwd(), Path.cwd()).check(Command(shlex.join(words)))
        return
    args = words[words.index("spacy") + 1 :]
    if args[0] == "train":
        add_settings(args, "training", TRAINING)
    elif args[:2] == ["rnn", "pretrain"]:
        add_settings(args, "lm_pretraining", PRETRAINING)
        # An adapted model has the size of its weights.
        if "--lm_pretraining.weights" not in args:
            component = "bilm" if args[2] == "configs/bilm.cfg" else "rnn_lm"
            add_settings(args, f"components.{component}.model", SMALL_MODEL)
    elif args[0] == "find-threshold":
        args += ["--n_trials", "2"]
    elif args[0] == "package":
        args += ["--build", "none"]
        Path(args[2]).mkdir()
    run_spacy(*args)


def add_settings(args: list[str], section: str, settings: dict[str, str]) -> None:
    """Add settings of a section that the command does not have."""
    for name, value in settings.items():
        if f"--{section}.{name}" not in args:
            args += [f"--{section}.{name}", value]


def check_make(words: list[str]) -> None:
    """Look for the targets in the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"\n{target}:" in makefile for target in words[1:])


def check_pip(words: list[str]) -> None:
    """Look for the extras in setup.cfg, and for files of requirements."""
    setup = (ROOT / "setup.cfg").read_text()
    assert words[1] in ("install", "wheel")
    targets = [
        word.strip('"') for word in words[2:] if not word.startswith(("-", "https:", "dist"))
    ]
    for target in targets:
        if target.endswith(".txt"):
            assert (ROOT / target).is_file()
            continue
        if f"\n    {target}" in setup.replace(".0\n", "\n") or f"\n    {target}>=" in setup:
            continue  # one of our requirements
        name, extra = re.fullmatch(r"(\.|spacy-rnn)(?:\[([\w-]+)\])?", target).groups()
        assert name == "." or f"\nname = {name}\n" in setup
        assert extra is None or f"\n{extra} =\n" in setup


RUNNERS = {"python": run_briefly, "torchrun": run_briefly, "make": check_make, "pip": check_pip}


def check_ini(block: Block) -> None:
    """Resolve a part of a config. It is written to a file where its first line names one."""
    parents, lines = set(), []
    for line in block.code.splitlines():
        if line.startswith("["):
            names = line.strip("[]").split(".")
            for i in range(1, len(names)):
                parent = ".".join(names[:i])
                if parent not in parents:
                    lines.append(f"[{parent}]\n")
                    parents.add(parent)
            parents.add(".".join(names))
        lines.append(line)
    config = Config().from_str("\n".join(lines), interpolate=False)
    name = re.match(r"# (\S+\.cfg)\n", block.code)
    if name:
        Path(name[1]).write_text(block.code)
    nlp = spacy.blank("en")
    for name, settings in config.get("components", {}).items():
        if "source" not in settings:
            factory = settings.pop("factory", name)
            nlp.add_pipe(factory, name=name, config=settings)
    if "components" in config and "tok2vec" in config["components"]:
        width = config["components"]["tok2vec"]["model"]["encode"]["width"]
        assert nlp.get_pipe("tok2vec").model.get_dim("nO") == width
    optimizer = config.get("training", {}).get("optimizer")
    if optimizer:
        registry.resolve({"optimizer": optimizer})

"""The shell commands of Markdown files, and a check that each would run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import srsly
import typer
from spacy.cli._util import app, parse_config_overrides
from spacy.util import dict_to_dot, load_config, working_dir
from weasel.cli.assets import project_assets
from weasel.cli.run import project_run

import spacy_rnn.cli  # noqa: F401  (spaCy loads it through its entry point)

from .conftest import ROOT, load_script

_BLOCK = re.compile(r"^( *)```(?:bash|sh|shell|console)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_ANY_BLOCK = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
_PROGRAM = re.compile(r"(python3?|pip|spacy|make|torchrun|git|cd) ")
_VARIABLE = re.compile(r"[A-Z_]+=")
# Options of `spacy project run` that a text shows without the command.
_FRAGMENT = re.compile(r"--vars\.[a-z]|[A-Z_]+=[\"']")
_PROJECT = "python -m spacy project run all ."
# What a fresh checkout does not have.
_GENERATED = ("assets", "corpus", "training", "metrics", "results", "project.lock", "__pycache__")


class Command(NamedTuple):
    """A shell command.

    line (str): The command, in one line.
    in_text (bool): Whether it stands in the text, where arguments may be left out.
    """

    line: str
    in_text: bool = False


def read_commands(path: Path) -> list[Command]:
    """Read the shell commands of a Markdown file: those in blocks of shell code, and in the text
    those that begin with a program, or with options of a project's `run`.

    path (Path): The file.
    RETURNS (List[Command]): The commands, in the order of the file.
    """
    text = path.read_text(encoding="utf8")
    commands: list[tuple[int, Command]] = []
    for block in _BLOCK.finditer(text):
        lines = re.sub(r"\\\n\s*", "", block[2]).splitlines()
        lines = [line.strip().removeprefix("$ ") for line in lines]
        for line in lines:
            for part in re.split(r"\s+(?:&&|;)\s+", line):
                if part and not part.startswith("#"):
                    commands.append((block.start(), Command(part)))
    outside = _ANY_BLOCK.sub(lambda block: " " * len(block[0]), text)
    for code in _INLINE.finditer(outside):
        line = " ".join(code[1].split())
        if _PROGRAM.match(line) or (_VARIABLE.match(line) and "python" in line):
            commands.append((code.start(), Command(line, in_text=True)))
        elif _FRAGMENT.match(line):
            line = f"{line} {_PROJECT}" if _VARIABLE.match(line) else f"{_PROJECT} {line}"
            commands.append((code.start(), Command(line, in_text=True)))
    return [command for _, command in sorted(commands, key=lambda pair: pair[0])]


def copy_checkout(target: Path) -> Path:
    """Copy what commands refer to, as `spacy project` makes directories.

    target (Path): A new directory.
    RETURNS (Path): The directory.
    """
    for name in ("projects", "configs"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns(*_GENERATED))
    return target


class Checker:
    """Checks commands, one after the other, without running them: options and arguments are those
    of a command that is there, a project's variables and a config's settings exist, so do scripts
    and configs, unless a command before makes them. The steps of a project's workflow are checked
    as well.

    checkout (Path): What `copy_checkout` returned.
    folder (Path): The directory to begin in.
    """

    def __init__(self, checkout: Path, folder: Path):
        self.checkout = checkout
        self.folder = folder
        self.made: set[str] = set()

    def check(self, command: Command) -> None:
        """Check a command. `cd` changes the directory for those that follow.

        command (Command): The command.
        RAISES (AssertionError): If it can't run.
        """
        words = shlex.split(command.line, comments=True)
        variables = {}
        while words and _VARIABLE.match(words[0]):
            name, value = words.pop(0).split("=", 1)
            variables[name] = value
        try:
            with patch.dict(os.environ, variables), working_dir(self.folder):
                self._check(words)
        except (Exception, SystemExit) as err:
            # A project whose assets are all extra has none to fetch, with local copies.
            if isinstance(err, SystemExit) and not err.code:
                return
            if command.in_text and type(err).__name__ in ("MissingParameter", "BadOptionUsage"):
                return
            message = err.format_message() if hasattr(err, "format_message") else repr(err)
            raise AssertionError(f"{command.line}: {message}") from err

    def _check(self, words: list[str]) -> None:
        program, *rest = words
        if program == "torchrun" and "-m" in rest:
            program, rest = "python", rest[rest.index("-m") :]
        if Path(program).name.startswith("python"):
            if rest[:1] == ["-m"]:
                program, rest = rest[1], rest[2:]
            else:
                self._check_script(self.folder / rest[0], rest[1:])
                return
        if program == "spacy":
            self._check_spacy(rest)
        elif program == "make":
            folder = ROOT / self.folder.relative_to(self.checkout)
            subprocess.run(["make", "-n", *rest], cwd=folder, check=True, capture_output=True)
        elif program == "pip":
            self._check_extras(rest)
        elif program == "gunicorn":
            assert (self.folder / "gunicorn.conf.py").is_file(), "there is no gunicorn.conf.py"
        elif program == "docker":
            self._check_docker(rest)
        elif program == "curl":
            self._check_url(next(word for word in rest if word.startswith("localhost")))
        elif program == "cd":
            self.folder = self.folder / rest[0]
            assert self.folder.is_dir(), f"there is no directory {rest[0]}"
        else:
            assert program in ("git", "venv", "source", "."), f"no check for {program!r}"

    def _check_spacy(self, words: list[str]) -> None:
        is_outline = "..." in words
        context = self._parse(app, [word for word in words if word != "..."])
        if context is None or is_outline:
            return
        if words[0] == "project":
            self._check_project(words[1], context)
            return
        config = Path(str(context.params.get("config_path")))
        overrides = parse_config_overrides(list(context.args))
        if overrides and config.name not in self.made:
            settings = dict_to_dot(load_config(config, interpolate=False))
            unknown = [name for name in overrides if name not in settings]
            assert not unknown, f"{config.name} has no settings {unknown}"
        self.made.update(Path(word).name for word in words if not Path(word).exists())

    def _check_project(self, name: str, context: Any) -> None:
        is_here = context.get_parameter_source("project_dir").name == "DEFAULT"
        directory = self.folder if is_here else self.folder / context.params["project_dir"]
        overrides = parse_config_overrides(list(context.args))
        known = srsly.read_yaml(directory / "project.yml")["vars"]
        unknown = {option.removeprefix("vars.") for option in overrides} - set(known)
        assert not unknown, f"{directory.name}/project.yml has no variables {sorted(unknown)}"
        if name == "assets":
            with patch("weasel.cli.assets.fetch_asset"):
                project_assets(directory, overrides=overrides)
        elif name == "run" and context.params["subcommand"]:
            with patch("weasel.cli.run.run_commands") as run:
                project_run(directory, context.params["subcommand"], overrides=overrides, dry=True)
            steps = Checker(self.checkout, directory)
            for call in run.call_args_list:
                for step in call.args[0]:
                    steps.check(Command(step))

    def _check_script(self, path: Path, words: list[str]) -> None:
        assert path.is_file(), f"there is no script {path.name}"
        with _imports_from(path.parent):
            module = load_script(path)
        run = re.search(r"typer\.run\((\w+)\)", path.read_text(encoding="utf8"))
        self.made.update(Path(word).name for word in words if word.endswith(".cfg"))
        script = getattr(module, "app", None)
        if run:
            script = typer.Typer()
            script.command()(getattr(module, run[1]))
        assert script is not None, f"{path.name} is no script of Typer"
        self._parse(script, words)

    def _parse(self, script: typer.Typer, words: list[str]) -> Any:
        """Parse a command line. Files and directories that do not exist are made, except configs
        and scripts that no command before has made.

        RETURNS (Optional[Context]): What Click, or Typer's copy of it, makes of it. None where a
            text only names a command, or asks for help.
        """
        command: Any = typer.main.get_command(script)
        while hasattr(command, "commands"):
            if not words or words[0].startswith("--"):
                return None
            command, words = command.commands[words[0]], words[1:]
        if not words and any(param.required for param in command.params):
            return None
        while True:
            try:
                return command.make_context(command.name, list(words))
            except typer.Exit:
                return None
            except Exception as err:
                missing = re.search(r"'(.+)' does not exist", str(getattr(err, "message", "")))
                if missing is None or not self._make(Path(missing[1])):
                    raise

    def _make(self, path: Path) -> bool:
        if path.exists() or path.name.startswith("-"):
            return False
        if path.suffix in (".cfg", ".py") and path.name not in self.made:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if path.suffix else path.mkdir()
        return True

    def _check_docker(self, words: list[str]) -> None:
        if words[0] == "build":
            file = words[words.index("--file") + 1]
            assert (self.checkout / file).is_file(), f"there is no {file}"

    def _check_url(self, url: str) -> None:
        """Look for the path among the service's routes."""
        path = url[url.index("/") :]
        app = (self.folder / "service" / "app.py").read_text(encoding="utf8")
        assert f'("{path}"' in app, f"the service has no path {path}"

    def _check_extras(self, words: list[str]) -> None:
        setup = ConfigParser()
        setup.read(ROOT / "setup.cfg")
        known = set(setup["options.extras_require"])
        for file in re.findall(r"\S*requirements\.txt", " ".join(words)):
            assert (self.folder / file).is_file(), f"there is no {file}"
        for extras in re.findall(r"(?:spacy-rnn|[./])\[([\w,-]+)\]", " ".join(words)):
            unknown = set(extras.split(",")) - known
            assert not unknown, f"setup.cfg has no extras {sorted(unknown)}"


@contextmanager
def _imports_from(folder: Path) -> Iterator[None]:
    """Let a script import what lies beside it, and forget that afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).parent == folder:
                del sys.modules[name]

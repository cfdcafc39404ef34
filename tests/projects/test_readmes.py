"""Each command that README.md or a project's README shows would run. tests/docs runs those of the
pages in docs/.
"""

from pathlib import Path

import pytest

from ..commands import Checker, Command, copy_checkout, read_commands
from ..conftest import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("projects/*/README.md"))]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("checkout") / "spacy-rnn")


@pytest.mark.parametrize("path", DOCUMENTS, ids=[str(p.relative_to(ROOT)) for p in DOCUMENTS])
def test_commands_would_run(path: Path, checkout: Path) -> None:
    is_project = path.parent.parent.name == "projects"
    folder = checkout / path.parent.relative_to(ROOT) if is_project else checkout
    checker = Checker(checkout, folder)
    commands = read_commands(path)
    assert commands
    for command in commands:
        checker.check(command)


def test_commands_are_found_in_blocks_and_in_the_text(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(
        "Run `make test`, or `python -m spacy\ntrain`; `spacy.load` is no command.\n"
        "- Item\n  ```bash\n  # comment\n  $ cd a && make \\\n      b\n  ```\n"
        "```python\nspacy train\n`make no`\n```\n"
        '`--vars.seed 1` and `A_B="--c.d 2"`, not `--lang` or `A_B`.\n'
    )
    assert read_commands(path) == [
        Command("make test", in_text=True),
        Command("python -m spacy train", in_text=True),
        Command("cd a"),
        Command("make b"),
        Command("python -m spacy project run all . --vars.seed 1", in_text=True),
        Command('A_B="--c.d 2" python -m spacy project run all .', in_text=True),
    ]


@pytest.mark.parametrize(
    "command, message",
    [
        ("python -m spacy project run all . --vars.seed", None),
        ('python -m spacy project run all . --vars.config "--training.max_steps 5"', "training"),
        ("python -m spacy project run everything", "SystemExit"),
        # The next word is the directory.
        ("python -m spacy project run all --vars.seed 1", "'--vars.seed' does not exist"),
        ("python -m spacy project run all . --vars.sed 1", "no variables ['sed']"),
        ('TRAIN_OPTIONS="--training.steps 1" python -m spacy project run all', "training.steps"),
        ("python -m spacy project assets . --vars.data", None),
        ("python -m spacy project asset .", "asset"),
        ("python -m spacy train none.cfg", "'none.cfg' does not exist"),
        ("python -m spacy train ../../configs/ner.cfg --out x", "No such option"),
        ("python -m spacy rnn pretrain ../../configs/bilm.cfg x --lm_pretraining.steps 1", "steps"),
        ("python -m spacy rnn generate model --max-word 5", "--max-word"),
        ("python -m spacy rnn generate model --max-words five", "five"),
        ("python scripts/none.py", "no script"),
        ("python scripts/convert_all.py assets", "Missing argument"),
        ('pip install "spacy-rnn[benchmark]"', "no extras"),
        ("pip install -r requirements.txt", "no requirements.txt"),
        ("docker build --file projects/serve/Dockerfile .", None),
        ("docker build --file projects/ner/Dockerfile .", "no projects/ner/Dockerfile"),
        ("gunicorn --workers 2", "no gunicorn.conf.py"),
        ("make none", "CalledProcessError"),
        ("rm -rf x", "no check"),
    ],
)
def test_commands_that_would_not_run_are_found(
    checkout: Path, command: str, message: str | None
) -> None:
    checker = Checker(checkout, checkout / "projects" / "ner")
    if message is None:
        checker.check(Command(command))
        return
    with pytest.raises(AssertionError) as excinfo:
        checker.check(Command(command))
    assert message in str(excinfo.value)

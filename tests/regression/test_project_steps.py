"""The projects ner and textcat did not convert changed data, and ud_tagger converted again when a
setting of the config changed. `spacy project` refused options for a config in a variable, as their
value began with dashes.
"""

import shutil
from pathlib import Path

import pytest
import srsly
from weasel.cli.run import check_rerun, update_lockfile
from weasel.util import load_project_config

from ..conftest import ROOT

# The directory of each project's data, a dependency of the project's conversion.
DATA = {
    "ner": "assets/uner_en_ewt",
    "pipeline": "../ud_tagger/assets/ud_en_ewt",
    "textcat": "assets/banking77",
    "ud_tagger": "assets/ud_en_ewt",
}


@pytest.fixture(params=list(DATA))
def project(request, tmp_path):
    """A project whose steps have all run."""
    path = tmp_path / request.param
    for folder in ("scripts", DATA[request.param]):
        (path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "projects" / request.param / "project.yml", path)
    for command in load(path).values():
        for name in [*command.get("deps", []), *command.get("outputs", [])]:
            file = path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if not file.is_dir():
                file.write_text(name)
    for command in load(path).values():
        update_lockfile(path, command)
    return path


def load(project):
    return {command["name"]: command for command in load_project_config(project)["commands"]}


def find_steps(project: Path) -> list[str]:
    """RETURNS (List[str]): The steps that would run again, of those that can be skipped."""
    steps = srsly.read_yaml(project / "project.yml")["workflows"]["all"]
    commands = [load(project)[name] for name in steps]
    return [
        command["name"]
        for command in commands
        if not command.get("no_skip") and check_rerun(project, command)
    ]


def test_changed_data_are_converted_again(project):
    assert find_steps(project) == []
    (project / DATA[project.name] / "train.conllu").write_text("changed")
    assert find_steps(project) == ["convert"]


def test_a_changed_config_trains_again_and_converts_nothing(project):
    config = project / load_project_config(project)["vars"]["config"]
    config.write_text("changed")
    steps = find_steps(project)
    assert "train" in steps and "convert" not in steps


def test_options_from_the_environment_train_again(project, monkeypatch):
    monkeypatch.setenv("TRAIN_OPTIONS", "--training.max_steps 5 --training.dropout 0.1")
    assert find_steps(project) == ["train"]
    command = load(project)["train"]["script"][-1]
    assert command.endswith("--training.max_steps 5 --training.dropout 0.1")

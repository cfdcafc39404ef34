"""What the README shows works."""

import re

import pytest
import spacy
import srsly
from spacy.util import registry
from thinc.api import Config

from .conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf8")


def get_blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("code", get_blocks("python"))
def test_examples_print_what_they_say(code, capsys):
    exec(compile(code, "README.md", "exec"), {})
    said = [line[2:] for line in code.splitlines() if line.startswith("# ")]
    assert said and capsys.readouterr().out.splitlines() == said


@pytest.mark.parametrize("block", get_blocks("ini"))
def test_configs_resolve(block):
    config = Config().from_str("[components]\n\n[components.tok2vec]\n\n" + block)
    model = registry.resolve(config["components"]["tok2vec"])["model"]
    assert model.get_dim("nO") == config["components"]["tok2vec"]["model"]["encode"]["width"]


def test_every_path_and_command_exists():
    for path in re.findall(r"\]\(((?!https?:|#)[^)]+)\)", README):
        assert (ROOT / path).exists(), path
    targets = re.findall(r"^make ([a-z-]+)", README, flags=re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert targets and all(f"\n{target}:" in makefile for target in targets)


def test_projects_are_listed_and_load():
    projects = sorted(path.parent.name for path in ROOT.glob("projects/*/project.yml"))
    for name in projects:
        assert f"(projects/{name})" in README
        config = srsly.read_yaml(ROOT / "projects" / name / "project.yml")
        assert config["title"] and set(config["workflows"]["all"]) <= {
            command["name"] for command in config["commands"]
        }


def test_the_documented_component_is_registered():
    assert spacy.blank("en").has_factory("rnn_tagger")

"""What the documents show works: all blocks of code of a page are run, in order."""

import re
from configparser import ConfigParser

import pytest
import srsly

from ..conftest import ROOT
from .blocks import Block, check_ini, get_blocks, run_python, run_shell

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN = [page for page in PAGES if get_blocks(page)]
# What pages begin with that other pages train.
PATHS = "--paths.train train.spacy --paths.dev dev.spacy"
BEFORE = {
    "production.md": f"python -m spacy train configs/tagger.cfg --output training {PATHS}",
    "shared.md": "python -m spacy rnn pretrain configs/bilm.cfg pretrained "
    "--paths.train texts/ --paths.dev dev.txt",
}


@pytest.mark.parametrize("page", RUN, ids=[page.stem for page in RUN])
def test_every_block_runs(page, workplace):
    if page.name in BEFORE:
        run_shell(Block("sh", BEFORE[page.name], 0))
    names = {}
    for block in get_blocks(page):
        try:
            if block.language == "python":
                run_python(block, page, names)
            elif block.language == "sh":
                run_shell(block)
            else:
                assert block.language == "ini"
                check_ini(block)
        except BaseException as err:
            err.add_note(f"{page.name}, line {block.line}:\n{block.code}")
            raise


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_every_link_leads_somewhere(page):
    for path in re.findall(r"\]\(((?!https?:)[^)]+)\)", page.read_text(encoding="utf8")):
        name, _, heading = path.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), path
        # The API reference has headings with dots, and its pages are made.
        if heading and target.name != "api.md":
            text = target.read_text(encoding="utf8")
            headings = re.findall(r"^#+ (.*)", text, flags=re.MULTILINE)
            assert heading in {
                re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings
            }


def test_readme_is_short_and_leads_everywhere():
    readme = PAGES[0].read_text(encoding="utf8")
    assert readme.count("\n") <= 120
    for page in PAGES[1:]:
        assert page.name == "index.md" or f"(docs/{page.name}" in readme, page.name
    for path in ROOT.glob("projects/*/project.yml"):
        assert f"(projects/{path.parent.name})" in readme
        config = srsly.read_yaml(path)
        commands = {command["name"] for command in config["commands"]}
        assert config["title"] and set(config["workflows"]["all"]) <= commands


def test_every_registered_name_is_in_the_reference():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    api = (ROOT / "docs" / "api.md").read_text()
    points = setup["options.entry_points"]
    groups = ("spacy_factories", "spacy_architectures", "thinc_optimizers")
    entries = [line for group in groups for line in points[group].split("\n") if line]
    assert entries
    for entry in entries:
        name, function = entry.split(" = ")
        assert f"### {name}\n" in api
        assert function.replace(":", ".") in api

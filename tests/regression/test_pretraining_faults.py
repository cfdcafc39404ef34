"""Faults of pretraining: a byte order mark stayed in the first word of a text file; a run that
failed left an empty directory; pretrained weights needed every option of their run again; configs
set the width twice; `spacy train` with a config for pretraining raised KeyError: 'training'.
"""

import codecs
import gzip
import lzma

import pytest
import spacy
import srsly
from spacy.cli._util import app
from spacy.util import load_config
from typer.testing import CliRunner

import spacy_rnn.cli
import spacy_rnn.pretraining.pretrain_only  # noqa: F401  (spaCy loads it through its entry point)
from spacy_rnn.pretraining.find_model import load_pipeline
from spacy_rnn.pretraining.pretrain import pretrain
from spacy_rnn.pretraining.text_files import read_texts

from ..conftest import ROOT

TEXTS = ["The old dog sleeps in the garden .", "Two cats see the dog and run ."] * 30


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    # wasabi breaks lines where the terminal ends.
    return result.exit_code, " ".join(result.output.split())


def make_options(texts, **changes):
    values = {
        "paths.train": texts,
        "paths.dev": texts,
        "lm_pretraining.n_rows": 4,
        "lm_pretraining.n_steps": 8,
        "lm_pretraining.max_steps": 1,
        "lm_pretraining.n_process": 0,
        **changes,
    }
    return [word for name, value in values.items() for word in (f"--{name}", value)]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A language model with settings of its own, under a name of its own, and its texts."""
    path = tmp_path_factory.mktemp("pretrained")
    (path / "texts.txt").write_text("\n".join(TEXTS))
    config = load_config(ROOT / "configs" / "bilm.cfg", interpolate=False)
    config["components"] = {"lm": config["components"]["bilm"]}
    config["components"]["lm"]["model"]["embed"]["width"] = "${components.lm.model.width}"
    config["lm_pretraining"]["component"] = "lm"
    config["nlp"]["pipeline"] = ["lm"]
    config.to_disk(path / "config.cfg")
    model = {"width": 16, "depth": 1, "cell": "gru", "cutoffs": "[5]", "embed.rows": "[9,9,9,9]"}
    changes = {f"components.lm.model.{name}": value for name, value in model.items()}
    options = make_options(path / "texts.txt", **changes, **{"nlp.lang": "de"})
    code, output = run("rnn", "pretrain", path / "config.cfg", path / "output", *options)
    assert code == 0, output
    return path


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress])
@pytest.mark.parametrize("kind", ["txt", "jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path, kind, compress):
    lines = [srsly.json_dumps({"text": text}) for text in ("One", "Two")]
    content = "\n".join(["One", "Two"] if kind == "txt" else lines).encode("utf8")
    suffix = {bytes: "", gzip.compress: ".gz", lzma.compress: ".xz"}[compress]
    path = tmp_path / f"texts.{kind}{suffix}"
    path.write_bytes(compress(codecs.BOM_UTF8 + content))
    assert list(read_texts([path])) == ["One", "Two"]


@pytest.mark.parametrize(
    "changes", [{"paths.train": "nowhere"}, {"lm_pretraining.n_rows": 0}, {"lm_pretraining.x": 1}]
)
def test_a_pretraining_that_fails_leaves_no_empty_directory(pretrained, tmp_path, changes):
    options = make_options(pretrained / "texts.txt", **changes)
    code, _ = run("rnn", "pretrain", ROOT / "configs/bilm.cfg", tmp_path / "a/b", *options)
    assert code == 1
    assert not (tmp_path / "a").exists()


def test_the_output_of_a_pretraining_is_no_file(pretrained, tmp_path):
    (tmp_path / "file").write_text("")
    options = make_options(pretrained / "texts.txt")
    code, output = run("rnn", "pretrain", ROOT / "configs/bilm.cfg", tmp_path / "file", *options)
    assert code == 2 and "is a file" in output


@pytest.mark.parametrize("name", ["bilm", "lm"])
def test_a_configs_width_is_set_once(tmp_path, name):
    component = {"bilm": "bilm", "lm": "rnn_lm"}[name]
    changes = {f"components.{component}.model.width": 24}
    config = load_config(ROOT / "configs" / f"{name}.cfg", overrides=changes, interpolate=False)
    nlp = load_pipeline(config)
    nlp.get_pipe(component).model.initialize()
    nlp.rename_pipe(component, "renamed")
    nlp.to_disk(tmp_path)
    model = spacy.load(tmp_path).get_pipe("renamed").model
    assert model.layers[0].get_dim("nO") == 24


@pytest.mark.parametrize("name", ["bilm", "lm"])
def test_training_with_a_config_for_pretraining_names_the_command(tmp_path, name):
    config = ROOT / "configs" / f"{name}.cfg"
    code, output = run("train", config)
    assert code == 1 and "spacy rnn pretrain" in output
    # The same for the filled config.
    filled = tmp_path / "filled.cfg"
    assert run("init", "fill-config", config, filled)[0] == 0
    code, output = run("train", filled, "--paths.train", filled, "--paths.dev", filled)
    assert code == 1 and "spacy rnn pretrain" in output


def test_weights_bring_their_settings(pretrained, tmp_path):
    weights = pretrained / "output" / "model-best"
    options = make_options(
        pretrained / "texts.txt",
        **{"lm_pretraining.weights": weights, "components.bilm.model.dropout": 0.3},
    )
    config = ROOT / "configs" / "bilm.cfg"
    code, output = run("rnn", "pretrain", config, tmp_path / "output", *options)
    assert code == 0, output
    assert "components.bilm.model.width = 16 to fit the weights, instead of 384" in output
    nlp = spacy.load(tmp_path / "output" / "model-last")
    model = nlp.config["components"]["bilm"]["model"]
    assert (model["width"], model["embed"]["width"], model["cell"]) == (16, 16, "gru")
    assert nlp.lang == "de"
    # Settings that fit any weights come from the config.
    assert model["dropout"] == pytest.approx(0.3)


def test_options_that_contradict_the_weights_are_refused(pretrained, tmp_path):
    weights = pretrained / "output" / "model-best"
    options = make_options(pretrained / "texts.txt", **{"lm_pretraining.weights": weights})
    command = ["rnn", "pretrain", ROOT / "configs" / "bilm.cfg", tmp_path / "output", *options]
    code, output = run(*command, "--components.bilm.model.cell", "lstm")
    assert code == 1
    assert "components.bilm.model.cell = 'gru', but the command line says 'lstm'" in output
    assert not (tmp_path / "output").exists()
    code, output = run(*command, "--components.bilm.model.cell", "gru", "--nlp.lang", "en")
    assert code == 0, output
    assert spacy.load(tmp_path / "output" / "model-last").lang == "en"


def test_weights_without_a_language_model_are_refused(pretrained, tmp_path):
    spacy.blank("xx").to_disk(tmp_path / "blank")
    for weights, message in (("blank", "it has none"), ("nowhere", "Can't read the config")):
        config = load_config(ROOT / "configs" / "bilm.cfg", interpolate=False)
        texts = str(pretrained / "texts.txt")
        config["lm_pretraining"].update(train=texts, dev=texts, weights=str(tmp_path / weights))
        with pytest.raises(ValueError, match=message):
            pretrain(config, tmp_path / "output")

import numpy
import spacy

from spacy_rnn.layers.shrink import half_precision
from spacy_rnn.layers.storage import dump_weights, load_weights
from spacy_rnn.layers.torch_shim import TorchShim

from ..conftest import make_nlp
from .conftest import run

TEXT = "The old dog sleeps in the garden ."


def get_weights(nlp):
    layers = nlp.get_pipe("rnn_tagger").model.walk()
    shims = [s for layer in layers for s in layer.shims if isinstance(s, TorchShim)]
    return [array for shim in shims for array in shim.require_weights().to_dict().values()]


def get_size(path):
    return sum(file.stat().st_size for file in path.glob("*/model"))


def test_a_pipeline_is_stored_in_half_the_space(tmp_path):
    nlp = make_nlp(steps=3)
    nlp.to_disk(tmp_path / "whole")
    result = run("shrink", tmp_path / "whole", tmp_path / "half")
    assert result.exit_code == 0, result.output
    assert get_size(tmp_path / "half") < 0.55 * get_size(tmp_path / "whole")
    found = spacy.load(tmp_path / "half")
    assert [token.tag_ for token in found(TEXT)] == [token.tag_ for token in nlp(TEXT)]
    for ours, theirs in zip(get_weights(found), get_weights(nlp), strict=True):
        assert ours.dtype == theirs.dtype
        rounded = theirs.astype(numpy.float16) if theirs.dtype == numpy.float32 else theirs
        assert numpy.array_equal(ours, rounded)
    # It can be trained on, and is stored in single precision again.
    found.to_disk(tmp_path / "again")
    assert get_size(tmp_path / "again") == get_size(tmp_path / "whole")


def test_an_existing_directory_is_kept(tmp_path):
    make_nlp(steps=3).to_disk(tmp_path / "whole")
    (tmp_path / "half").mkdir()
    assert run("shrink", tmp_path / "whole", tmp_path / "half").exit_code == 1
    assert run("shrink", tmp_path / "whole", tmp_path / "half", "--force").exit_code == 0


def test_the_setting_ends_with_its_context():
    nlp = make_nlp(steps=3)
    whole = nlp.to_bytes()
    with half_precision(nlp):
        half = nlp.to_bytes()
    assert len(half) < len(whole) == len(nlp.to_bytes())


def test_bits_and_numbers_come_back():
    arrays = {"bits": numpy.arange(16) % 3 == 0, "X": numpy.float32([1.5, -2.0])}
    found, inferred = load_weights(dump_weights({}, {"nI": 2}, arrays, half=True), {})
    assert inferred == {"nI": 2}
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and numpy.array_equal(found[name], array)

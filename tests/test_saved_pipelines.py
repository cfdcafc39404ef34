"""Pipelines that earlier versions saved load, and predict the same."""

import json
import tarfile
from pathlib import Path

import numpy
import pytest
import spacy
from thinc.api import require_gpu

from .conftest import load_script

DATA = Path(__file__).parent / "data"
VERSIONS = sorted(path.stem.removeprefix("predictions-") for path in DATA.glob("predictions-*"))
PREDICTIONS = {
    (version, name): predictions
    for version in VERSIONS
    for name, predictions in json.loads((DATA / f"predictions-{version}.json").read_text()).items()
}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """A folder with the pipelines of each version."""
    folder = tmp_path_factory.mktemp("pipelines")
    for version in VERSIONS:
        with tarfile.open(DATA / f"pipelines-{version}.tar.xz") as archive:
            archive.extractall(folder / version)
    return folder


@pytest.fixture(scope="module")
def read_predictions():
    return load_script(DATA / "make_pipelines.py").read_predictions


def assert_close(found, version, name, tolerance):
    # Processors round half precision differently, so labels may differ where two are close.
    is_half = "half_precision" in name
    tolerance = 0.02 if is_half else tolerance
    for ours, theirs in zip(found, PREDICTIONS[version, name], strict=True):
        assert is_half or ours["labels"] == theirs["labels"]
        assert ours["numbers"].keys() == theirs["numbers"].keys()
        for kind, numbers in ours["numbers"].items():
            numpy.testing.assert_allclose(
                numbers, theirs["numbers"][kind], rtol=tolerance, atol=tolerance, err_msg=kind
            )


@pytest.mark.parametrize("version, name", PREDICTIONS)
def test_a_saved_pipeline_predicts_the_same(unpacked, read_predictions, tmp_path, version, name):
    nlp = spacy.load(unpacked / version / name)
    found = read_predictions(nlp)
    assert_close(found, version, name, tolerance=1e-5)
    nlp.to_disk(tmp_path)
    assert read_predictions(spacy.load(tmp_path)) == found


@pytest.mark.gpu
@pytest.mark.parametrize("version, name", PREDICTIONS)
def test_it_predicts_the_same_on_a_gpu(exact_gpu, unpacked, read_predictions, version, name):
    require_gpu()
    found = read_predictions(spacy.load(unpacked / version / name))
    assert_close(found, version, name, tolerance=1e-4)

import pytest
import spacy

from spacy_rnn.pretraining.find_model import load_pipeline, load_scorer
from spacy_rnn.pretraining.pretrained_config import find_component

from .conftest import make_config


def test_a_pipeline_has_no_other_sections(texts):
    nlp = load_pipeline(make_config(texts))
    assert "lm_pretraining" not in nlp.config
    assert find_component(nlp.config) == "bilm"
    nlp.rename_pipe("bilm", "renamed")
    assert find_component(nlp.config) == "renamed"


def test_a_model_that_can_not_predict_words_is_refused(texts, tmp_path):
    nlp = load_pipeline(make_config(texts))
    with pytest.warns(UserWarning, match="random"):
        nlp.initialize(lambda: [])
    nlp.to_disk(tmp_path / "random")
    spacy.blank("en").to_disk(tmp_path / "blank")
    for name, message in [("random", "'bilm' can't predict words"), ("blank", "it has none")]:
        with pytest.raises(ValueError, match=message):
            load_scorer(str(tmp_path / name), None, -1)

import numpy
import pytest
import spacy
from spacy.util import registry
from thinc.api import Config

from spacy_rnn.pretraining.pretrain import pretrain

from ..pipeline.test_rnn_lm import CONFIG
from ..pretraining.test_loop import SENTENCES

NAME = "spacy-rnn.FeedForwardLM.v1"


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"window": 0}, "window = 0"),
        ({"hidden": 0}, "hidden = 0"),
        ({"width": 16}, f"{NAME} needs an embedding layer.*width = 16"),
        ({"softmax": "full"}, "softmax = 'full'"),
        ({"cutoffs": [4, 2]}, "cutoffs"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    embed = registry.architectures.get("spacy-rnn.LexemeEmbed.v1")(32)
    with pytest.raises(ValueError, match=message):
        registry.architectures.get(NAME)(embed, **{"width": 32, **settings})


def test_it_is_pretrained_and_predicts(tmp_path):
    config = Config().from_str(CONFIG.replace("DIRECTIONS", "").replace("SOFTMAX", "tied"))
    model = config["components"]["rnn_lm"]["model"]
    for name in ("depth", "directions"):
        del model[name]
    model |= {"@architectures": NAME, "hidden": 32, "window": 3}
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(SENTENCES * 12))
    config["lm_pretraining"] = {
        "train": str(texts),
        "dev": str(texts),
        "component": "rnn_lm",
        "vocabulary_size": 40,
        "n_rows": 4,
        "n_steps": 6,
        "max_epochs": 0,
        "max_steps": 60,
        "eval_frequency": 30,
        "learn_rate": 0.01,
        "warmup_steps": 1,
        "n_process": 0,
    }
    pretrain(config, tmp_path / "output")
    nlp = spacy.load(tmp_path / "output" / "model-best")
    doc = nlp(SENTENCES[0])
    assert doc._.perplexity < 0.5 * len(nlp.get_pipe("rnn_lm").vocabulary)
    # A text has the same surprisals in any batch, and they are probabilities.
    for other in nlp.pipe(["", SENTENCES[1], SENTENCES[0]]):
        if other.text == doc.text:
            numpy.testing.assert_allclose(other._.surprisals, doc._.surprisals, rtol=1e-5)

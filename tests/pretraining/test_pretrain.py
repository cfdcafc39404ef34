import pytest

from spacy_rnn.pretraining.pretrain import pretrain

from .conftest import make_config


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"train": "nowhere"}, "nowhere"),
        ({"n_rows": 0}, "n_rows"),
        ({"component": "tagger"}, "tagger"),
        ({"weights": "nowhere"}, "nowhere"),
    ],
)
def test_bad_texts_and_settings_are_named(texts, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        pretrain(make_config(texts, **changes), tmp_path / "output")
    assert not (tmp_path / "output").exists()


def test_empty_texts_are_named(texts, tmp_path):
    texts.write_text("\n")
    with pytest.raises(ValueError, match=r"texts\.txt.*it has none"):
        pretrain(make_config(texts), tmp_path / "output")


def test_the_section_is_needed(texts, tmp_path):
    config = make_config(texts)
    del config["lm_pretraining"]
    with pytest.raises(ValueError, match="no section"):
        pretrain(config, tmp_path / "output")

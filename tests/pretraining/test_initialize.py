import pytest
import spacy
import srsly

from .conftest import load_model, make_config, make_run


def test_words_are_counted_once(texts, tmp_path, monkeypatch):
    config = make_config(texts)
    make_run(config, tmp_path / "output")

    def fail(*_):
        raise AssertionError("the words are counted again")

    with monkeypatch.context() as patch:
        patch.setattr("spacy_rnn.pretraining.initialize.count_words", fail)
        make_run(config, tmp_path / "output")
    texts.write_text("Some other words altogether , once more , that nobody has read .\n" * 50)
    make_run(make_config(texts, vocabulary_size=12), tmp_path / "output")
    vocabulary = srsly.read_json(tmp_path / "output" / "vocabulary.json")["vocabulary"]
    assert len(vocabulary) == 12
    assert "altogether" in vocabulary and "dog" not in vocabulary


def test_a_run_on_other_texts_does_not_resume(texts, tmp_path):
    settings = {"max_epochs": 0, "max_steps": 1}
    make_run(make_config(texts, **settings), tmp_path / "output").run()
    with pytest.raises(ValueError, match="vocabulary_size"):
        make_run(
            make_config(texts, vocabulary_size=30, **settings), tmp_path / "output", resume=True
        )
    texts.write_text("Other texts are here now .")
    with pytest.raises(ValueError, match="other texts"):
        make_run(make_config(texts, **settings), tmp_path / "output", resume=True)


def test_weights_that_do_not_fit_are_refused(texts, tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("bilm", config={"model": make_config(texts)["components"]["bilm"]["model"]})
    with pytest.warns(UserWarning, match="random"):
        nlp.initialize(lambda: [])
    nlp.to_disk(tmp_path / "random")
    for weights, message in [("random", "vocabulary was left out"), ("nowhere", "nowhere")]:
        with pytest.raises(ValueError, match=message):
            make_run(make_config(texts, weights=str(tmp_path / weights)), tmp_path / "output")
    assert not (tmp_path / "output").exists()


def test_a_vocabulary_smaller_than_the_cutoffs_is_refused(texts, tmp_path):
    with pytest.raises(ValueError, match="cutoffs"):
        make_run(make_config(texts, vocabulary_size=8), tmp_path / "output")


def test_the_vocabulary_of_weights_stays(texts, tmp_path):
    make_run(make_config(texts, max_epochs=0, max_steps=1), tmp_path / "first").run()
    weights = str(tmp_path / "first" / "model-last")
    texts.write_text("omg the old cat lol\n" * 50)
    run = make_run(make_config(texts, weights=weights), tmp_path / "adapted")
    vocabulary = srsly.read_json(tmp_path / "first" / "vocabulary.json")["vocabulary"]
    assert run.counts.vocabulary == vocabulary
    assert (run.counts.n_texts, run.counts.n_words, run.counts.size) == (50, 250, 0)
    for ours, theirs in zip(run.model.walk(), load_model(weights).walk(), strict=True):
        assert [shim.to_bytes() for shim in ours.shims] == [s.to_bytes() for s in theirs.shims]

import io
import lzma
import tarfile

import pytest
import spacy
from spacy.tokens import Doc, DocBin
from spacy.util import load_config, load_model_from_config

from spacy_rnn.pretraining.add_bilm import add_bilm
from spacy_rnn.pretraining.text_files import read_texts

from ..conftest import ROOT, load_script

SCRIPTS = ROOT / "projects" / "bilm" / "scripts"


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("name", ["tagger", "ner", "textcat", "pipeline"])
def test_a_language_model_is_added_to_every_embedding_layer(name, alone):
    config = load_config(ROOT / "configs" / f"{name}.cfg", interpolate=False)
    n_embeds = config.to_str().count("spacy-rnn.LexemeEmbed.v1")
    added = add_bilm(config, ROOT / "configs" / "bilm.cfg", width=32, alone=alone)
    assert added["nlp"]["pipeline"] == ["bilm", *config["nlp"]["pipeline"]]
    nlp = load_model_from_config(added, auto_fill=True)
    text = added.to_str()
    assert text.count("spacy-rnn.BiLMListener.v1") == n_embeds > 0
    # The language model has one of its own.
    assert text.count("spacy-rnn.LexemeEmbed.v1") == 1 + (0 if alone else n_embeds)
    assert "LMTok2Vec" not in text
    assert added["initialize"]["components"]["bilm"] == {"weights": "${paths.bilm}"}
    listening = nlp.get_pipe("bilm").listening_components
    assert len(listening) == n_embeds


def test_texts_are_made_of_articles(tmp_path):
    script = load_script(SCRIPTS / "prepare.py")
    good = "This sentence of the article has more than eight words in it. " * 10
    articles = "".join(
        f'<doc id="{i}" url="u" title="T">\nTitle\n\n{good.strip()}\nA heading\n'
        f"A line of left-over <ref> markup that nobody wants to read.\n</doc>\n"
        for i in range(300)
    )
    articles += '<doc id="999" url="u" title="T">\nTitle\n\nToo short to count.\n</doc>\n'
    archive = tmp_path / "wiki.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("repo/text/AA/wiki_00", "repo/README.md"):
            member = tarfile.TarInfo(name)
            data = articles.encode("utf8")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    script.write_texts(archive, tmp_path / "wiki_en")
    train = sorted((tmp_path / "wiki_en" / "train").iterdir())
    assert len(train) == 8
    counts = {}
    for path in [*train, tmp_path / "wiki_en" / "valid.txt.xz"]:
        with lzma.open(path, "rt", encoding="utf8") as lines:
            texts = [line.strip() for line in lines if line.strip()]
        assert set(texts) <= {good.strip()}
        counts[path.name] = len(texts)
    assert 0 < counts["valid.txt.xz"] < 30
    assert 100 < sum(counts.values()) < 200


def test_local_copies_are_linked(tmp_path):
    script = load_script(SCRIPTS / "prepare.py")
    data, assets = tmp_path / "data", tmp_path / "assets"
    for name in ("wiki_en", "colorlessgreen", "lakretz_na"):
        (data / name).mkdir(parents=True)
    for name in ("train-00.txt.xz", "valid.txt.xz"):
        (data / "wiki_en" / name).write_bytes(lzma.compress(b"text"))
    script.main(assets, str(data))
    script.main(assets, str(data))
    assert lzma.decompress((assets / "wiki_en/train/train-00.txt.xz").read_bytes()) == b"text"
    with pytest.raises(SystemExit):
        script.main(assets, str(tmp_path / "nowhere"))


def test_words_of_a_corpus_are_texts_to_pretrain_on(tmp_path):
    script = load_script(SCRIPTS / "words.py")
    vocab = spacy.blank("en").vocab
    texts = [["#one", "two", "\n", "3"], [], ["four"]]
    corpora = [tmp_path / f"{name}.spacy" for name in ("train", "other")]
    for path in corpora:
        DocBin(docs=[Doc(vocab, words=words) for words in texts]).to_disk(path)
    output = tmp_path / "words" / "train.jsonl"
    assert script.write_words(corpora, output) == (6, 8)
    assert sorted(read_texts([output])) == [["#one", "two", "3"]] * 2 + [["four"]] * 2
    ordered = [[str(i)] for i in range(50)]
    DocBin(docs=[Doc(vocab, words=words) for words in ordered]).to_disk(corpora[0])
    orders = []
    for _ in range(2):
        script.write_words(corpora[:1], output)
        orders.append(list(read_texts([output])))
    assert orders[0] == orders[1] != ordered
    assert sorted(orders[0]) == sorted(ordered)


def test_texts_are_written_as_kenlm_reads_them(tmp_path):
    script = load_script(SCRIPTS / "ngram.py")
    path = tmp_path / "lines.txt"
    script.write_lines(path, [["a", "dog", "a"], [], ["cat"]], {"a", "cat"})
    assert path.read_text(encoding="utf8") == "a <rare> a\ncat\n"


def test_scores_are_read_from_kenlms_output():
    script = load_script(SCRIPTS / "ngram.py")
    # All of it is one line.
    output = "a=5 2 -1.5\t<rare>=7 1 -2\t==9 1 -0.5\t</s>=2 2 -1\t</s>=2 1 -3\t"
    score = script.read_score(output)
    assert (score.n_texts, score.n_words, score.n_unknown) == (2, 3, 1)
    assert score.perplexity == pytest.approx(10 ** (8 / 5))
    assert score.known_perplexity == pytest.approx(10 ** (6 / 4))

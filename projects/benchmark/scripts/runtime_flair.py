"""Train a tagger or recogniser of Flair's for runtime.py, in an environment with Flair. It has no
pretrained embeddings: of words, and of characters by an LSTM, as in Lample et al. (2016).
"""

import sys

import flair
from flair.data import Dictionary
from flair.datasets import ColumnCorpus
from flair.embeddings import CharacterEmbeddings, OneHotEmbeddings, StackedEmbeddings
from flair.models import SequenceTagger
from flair.trainers import ModelTrainer


def main(data: str, output: str, label: str, units: str, layers: str, sentences: str) -> None:
    """Train for one epoch.

    data (str): The directory with train.txt, dev.txt and test.txt: a word and its label a line.
    output (str): The directory of the model, final-model.pt.
    label (str): "pos" or "ner"; "ner" has a CRF.
    units (str): The number of units per direction.
    layers (str): The number of layers.
    sentences (str): How many sentences to train on.
    """
    flair.set_seed(0)
    corpus = ColumnCorpus(data, {0: "text", 1: label}, column_delimiter="\t")
    labels = corpus.make_label_dictionary(label_type=label)
    # An embedding that is trained, of the words of the training data
    vocabulary = OneHotEmbeddings.from_corpus(corpus, embedding_length=128)
    # Flair would download its own.
    characters = Dictionary()
    for sentence in corpus.train:
        for character in sentence.text:
            characters.add_item(character)
    tagger = SequenceTagger(
        embeddings=StackedEmbeddings([vocabulary, CharacterEmbeddings(characters)]),
        tag_dictionary=labels,
        tag_type=label,
        use_crf=label == "ner",
        hidden_size=int(units),
        rnn_layers=int(layers),
    )
    size = int(sentences) / len(corpus.train)
    if size < 1:
        corpus.downsample(size, downsample_dev=False, downsample_test=False)
    trainer = ModelTrainer(tagger, corpus)
    trainer.train(output, max_epochs=1, mini_batch_size=32)


if __name__ == "__main__":
    main(*sys.argv[1:])

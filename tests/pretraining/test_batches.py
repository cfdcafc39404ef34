from itertools import pairwise

import srsly
from hypothesis import given
from hypothesis import strategies as st

from spacy_rnn.modules.lm.vocabulary import NO_TARGET, Vocabulary
from spacy_rnn.pretraining.batches import LMBatcher

TEXT_LISTS = st.lists(st.lists(st.sampled_from("abcdef"), max_size=7), min_size=1, max_size=12)


@given(TEXT_LISTS, st.integers(1, 4), st.integers(1, 5), st.integers(1, 2))
def test_every_word_is_predicted_once_after_the_one_before(texts, n_rows, n_steps, n_directions):
    vocabulary = Vocabulary(["</s>", "<unk>", *"abcd"])
    batcher = LMBatcher(vocabulary, n_rows, n_steps, n_directions)
    rows = [[[] for _ in range(n_rows)] for _ in range(n_directions)]
    total = 0
    for batch in batcher.get_batches(texts, to_end=True):
        assert batch.inputs.shape == batch.targets.shape == (n_directions, n_steps, n_rows)
        names = ["</s>", *batch.words]
        total += batch.n_targets
        for direction in range(n_directions):
            for row in range(n_rows):
                for step in range(n_steps):
                    target = int(batch.targets[direction, step, row])
                    if target != NO_TARGET:
                        word = names[batch.inputs[direction, step, row]]
                        rows[direction][row].append((word, target))
    assert total == sum(len(text) + 1 for text in texts if text)
    for direction, turn in zip(range(n_directions), (1, -1), strict=False):
        read = []
        for pairs in rows[direction]:
            for (_, target), (word, _) in pairwise(pairs):
                assert target == (0 if word == "</s>" else vocabulary.get_ids([word])[0])
            text = []
            for word, _ in [*pairs[1:], ("</s>", 0)] if pairs else []:
                if word == "</s>":
                    read.append(text[::turn])
                    text = []
                else:
                    text.append(word)
        assert sorted(read) == sorted(text for text in texts if text)


@given(TEXT_LISTS, st.integers(1, 5))
def test_a_batcher_goes_on_where_another_was(texts, n_done):
    texts = [text * 3 for text in texts] * 3
    vocabulary = Vocabulary(["</s>", "<unk>", *"abcd"])
    whole = list(LMBatcher(vocabulary, 2, 3, 2).get_batches(texts))
    first = LMBatcher(vocabulary, 2, 3, 2)
    done = [batch for _, batch in zip(range(n_done), first.get_batches(texts), strict=False)]
    second = LMBatcher(vocabulary, 2, 3, 2)
    second.set_state(srsly.json_loads(srsly.json_dumps(first.get_state())))
    rest = list(second.get_batches(texts[second.n_texts :]))
    assert len(done) + len(rest) == len(whole)
    for ours, theirs in zip([*done, *rest], whole, strict=True):
        assert ours.words == theirs.words
        assert (ours.inputs == theirs.inputs).all()
        assert (ours.targets == theirs.targets).all()


def test_processes_take_all_rows():
    vocabulary = Vocabulary(["</s>", "<unk>", *"abcd"])
    batcher = LMBatcher(vocabulary, 4, 3, 2)
    (batch,) = [b for b, _ in zip(batcher.get_batches([list("abc")] * 8), [0], strict=False)]
    parts = [batch.take_rows(rank, 2) for rank in range(2)]
    assert [part.inputs.shape for part in parts] == [(2, 3, 2)] * 2
    assert sum(part.n_targets for part in parts) == batch.n_targets == 12
    empty = batcher.copy_empty()
    assert (empty.n_texts, empty.n_rows, empty.n_steps, empty.n_directions) == (0, 4, 3, 2)

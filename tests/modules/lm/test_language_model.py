import pytest
import torch
from torch import nn

from spacy_rnn.modules.lm.language_model import Dropout, LanguageModel
from spacy_rnn.modules.lm.sampling import filter_scores, sample_words
from spacy_rnn.modules.lm.softmax import AdaptiveSoftmax, TiedSoftmax
from spacy_rnn.modules.lm.vocabulary import NO_TARGET, Vocabulary
from spacy_rnn.modules.rnn.lm_stack import LMStack

WORDS = 12


class Lookup(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(WORDS, 8)

    def forward(self, ids):
        return self.table(ids)


def make_model(softmax="adaptive", **settings):
    torch.manual_seed(0)
    embed, stack = Lookup(), LMStack(8, **settings)
    if softmax == "tied":
        return LanguageModel(embed, stack, TiedSoftmax(WORDS), {"ids": torch.arange(WORDS)})
    return LanguageModel(embed, stack, AdaptiveSoftmax(8, WORDS, [4]))


@pytest.mark.parametrize("softmax", ["adaptive", "tied"])
def test_loss_is_that_of_the_next_word_in_each_direction(softmax):
    lm, text = make_model(softmax), [5, 7, 2, 9]
    ids = {"ids": torch.tensor(text)}
    # Boundary, the words, and what comes next, from both sides.
    inputs = torch.tensor([[0, 1, 2, 3, 4], [0, 4, 3, 2, 1]])
    targets = torch.tensor([[*text, 0], [*text[::-1], 0]])
    sums, _ = lm(ids, inputs, targets, 1)
    with torch.no_grad():
        tokens, boundary = lm.stack.predict(lm.embed(**ids), [4])
    read = [tokens[:, -1, 0], tokens[:, -1, 1].flip(0)]
    H = [torch.cat([boundary[-1, i : i + 1], part]) for i, part in enumerate(read)]
    expected = [-lm.get_log_probs(H[i])[torch.arange(5), targets[i]].sum() for i in range(2)]
    torch.testing.assert_close(sums, torch.stack(expected))


def test_rows_that_have_ended_do_not_count():
    lm = make_model()
    ids = {"ids": torch.tensor([5, 7])}
    inputs = torch.tensor([[0, 0, 1, 0], [0, 0, 2, 0]])
    targets = torch.tensor([[5, 3, 7, 1], [7, 3, 5, 1]])
    ended = targets.clone()
    ended[:, 3] = NO_TARGET
    changed = targets.clone()
    changed[:, 3] = 8
    all_sums, ended_sums, other_sums = (lm(ids, inputs, t, 2)[0] for t in (targets, ended, changed))
    assert (ended_sums < all_sums).all()
    assert not torch.allclose(all_sums, other_sums)
    with torch.no_grad():
        one = lm(ids, inputs[:, [0, 2]], targets[:, [0, 2]], 1)[0]
        other = lm(ids, inputs[:, [1]], targets[:, [1]], 1)[0]
    torch.testing.assert_close(ended_sums, one + other)


def test_word_dropout_hides_a_word_everywhere():
    lm = make_model(depth=1)
    seen = []
    lm.stack.run = lambda X, *args, **kwargs: seen.append(X) or ([X], [])
    inputs = torch.tensor([[1, 2, 3, 1, 2, 3] * 10] * 2)
    lm(
        {"ids": torch.tensor([5, 7, 2])},
        inputs,
        torch.zeros_like(inputs),
        6,
        None,
        Dropout(words=0.5),
    )
    # Rows of ten steps, in both directions: each row reads one word all the time.
    hidden = (seen[0].view(6, 10, 2, 8) == 0).all(dim=3)
    assert all(len(set(hidden[[word - 1, word + 2]].flatten().tolist())) == 1 for word in (1, 2, 3))


def test_only_a_tied_softmax_needs_the_vocabulary():
    lm = make_model("tied")
    lm._vocabulary = None
    with pytest.raises(ValueError, match="vocabulary"):
        lm.get_log_probs(torch.zeros(1, 8))


def test_vocabulary_knows_its_words_and_nothing_else():
    vocabulary = Vocabulary(["</s>", "<unk>", "the", "cat"])
    assert len(vocabulary) == 4
    assert vocabulary.get_ids(["cat", "dog", "the", "</s>", "<unk>"]) == [3, 1, 2, 1, 1]


def test_filters_leave_what_is_likely():
    scores = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    kept = lambda **kwargs: filter_scores(scores, **kwargs).isfinite().tolist()  # noqa: E731
    assert kept() == [True] * 4
    assert kept(top_k=2) == [True, True, False, False]
    assert kept(top_k=9) == [True] * 4
    assert kept(top_p=0.6) == [True, True, False, False]
    assert kept(top_p=0.5) == [True, False, False, False]
    assert kept(top_p=0.0) == kept(temperature=0.0) == [True, False, False, False]
    cold = filter_scores(scores, temperature=0.5).softmax(0)
    torch.testing.assert_close(cold, scores.exp() ** 2 / (scores.exp() ** 2).sum())


def test_filters_with_ties_keep_as_many_as_asked():
    assert filter_scores(torch.zeros(6), top_k=2).isfinite().sum() == 2


@pytest.mark.parametrize("directions", ["forward", "both"])
def test_words_are_drawn_by_their_probability(directions):
    lm = make_model(directions=directions)
    embed = lambda word: lm.embed(torch.tensor([word]))  # noqa: E731

    def draw(seed, **kwargs):
        words = sample_words(lm, [embed(5)], embed, torch.Generator().manual_seed(seed), **kwargs)
        return [word for word, _ in zip(words, range(6), strict=False)]

    with torch.inference_mode():
        assert draw(1) == draw(1)
        assert len({tuple(draw(seed)) for seed in range(8)}) > 1
        assert all(word not in (0, 1) for seed in range(8) for word in draw(seed))
        # The likeliest word each time is what reading on from all words so far gives.
        text = [5, *draw(0, top_k=1)]
        for i in range(1, len(text)):
            tokens, _ = lm.stack.predict(lm.embed(torch.tensor(text[:i])), [i])
            logs = lm.get_log_probs(tokens[-1:, -1, 0])[0]
            logs[1] = -torch.inf
            assert int(logs.argmax()) == text[i]

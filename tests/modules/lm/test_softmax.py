import pytest
import torch
from torch.nn import functional as F

from spacy_rnn.modules.lm.cross_entropy import get_label_log_probs
from spacy_rnn.modules.lm.softmax import AdaptiveSoftmax, TiedSoftmax


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("upstream", [torch.full((13,), 0.3), torch.arange(13) / 13])
@pytest.mark.parametrize("max_scores", [1, 50, 10**6])
def test_log_probs_equal_torchs(monkeypatch, bias, upstream, max_scores):
    monkeypatch.setattr("spacy_rnn.modules.lm.cross_entropy.MAX_SCORES", max_scores)
    torch.manual_seed(0)
    X, weight = torch.randn(13, 6, dtype=torch.double), torch.randn(20, 6, dtype=torch.double)
    b = torch.randn(20, dtype=torch.double)
    labels = torch.randint(0, 20, (13,))
    results = []
    for ours in (True, False):
        args = [arg.clone().float().requires_grad_() for arg in (X, weight, b)]
        if ours:
            logs = get_label_log_probs(args[0], args[1], args[2] if bias else None, labels)
        else:
            logs = F.linear(args[0], args[1], args[2] if bias else None).log_softmax(1)
            logs = logs[torch.arange(13), labels]
        grads = torch.autograd.grad(logs @ upstream, args[: 3 if bias else 2])
        results.append([logs, *grads])
    for a, b_ in zip(*results, strict=True):
        torch.testing.assert_close(a, b_, atol=1e-5, rtol=1e-5)


def test_log_probs_of_nothing():
    logs = get_label_log_probs(torch.zeros(0, 4), torch.zeros(3, 4), None, torch.zeros(0).long())
    assert logs.shape == (0,)


@pytest.mark.parametrize("words", [[0, 5, 19, 20, 79, 80, 199], [3, 3], [199], []])
def test_adaptive_softmax_is_torchs(words):
    torch.manual_seed(0)
    softmax = AdaptiveSoftmax(32, 200, [20, 80])
    H, targets = torch.randn(len(words), 32), torch.tensor(words, dtype=torch.long)
    found = softmax(H, targets)
    if words:
        torch.testing.assert_close(found, softmax.softmax(H, targets).output)
        every = softmax.get_log_probs(H)
        torch.testing.assert_close(every.exp().sum(dim=1), torch.ones(len(words)))
        torch.testing.assert_close(every.gather(1, targets.unsqueeze(1)).squeeze(1), found)


def test_gradients_of_rare_words_stay_in_their_cluster():
    softmax = AdaptiveSoftmax(32, 200, [20, 80])
    softmax(torch.randn(4, 32), torch.tensor([1, 2, 25, 30])).sum().backward()
    near, far = (tail[1].weight.grad for tail in softmax.softmax.tail)
    assert near.abs().sum() > 0
    assert far is None or far.abs().sum() == 0


@pytest.mark.parametrize("n_threads", [1, 2])
def test_half_precision_is_close(monkeypatch, n_threads):
    monkeypatch.setattr("spacy_rnn.modules.lm.cross_entropy.MIN_WORK", 1)
    torch.manual_seed(0)
    softmax = AdaptiveSoftmax(64, 500, [100])
    H, words = torch.randn(50, 64), torch.randint(0, 500, (50,))
    results = []
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        for is_half in (False, True):
            inputs = H.clone().requires_grad_()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_half):
                logs = softmax(inputs, words)
            assert logs.dtype == torch.float32
            grads = torch.autograd.grad(logs.mean(), [inputs, *softmax.parameters()])
            results.append([logs, *grads])
    finally:
        torch.set_num_threads(before)
    (single, *exact), (half, *rounded) = results
    assert (half - single).abs().max() < 0.1
    for a, b in zip(exact, rounded, strict=True):
        assert (a - b).abs().max() < 0.03 * a.abs().max()


def test_tied_softmax_uses_the_embeddings():
    torch.manual_seed(0)
    softmax, table = TiedSoftmax(10), torch.randn(10, 8, requires_grad=True)
    H, words = torch.randn(5, 8), torch.tensor([0, 9, 3, 3, 1])
    found = softmax(H, words, table)
    expected = (H @ table.T).log_softmax(1)
    torch.testing.assert_close(found, expected[torch.arange(5), words])
    torch.testing.assert_close(softmax.get_log_probs(H, table), expected)
    found.sum().backward()
    assert table.grad.abs().sum() > 0
    assert softmax.bias.grad.abs().sum() > 0

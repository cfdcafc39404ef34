"""Ablation against a model whose weights were set to zero."""

import numpy
import pytest
import spacy
import torch
from spacy.training import Example
from thinc.api import Config

from spacy_rnn.layers.lm import Scorer
from spacy_rnn.layers.torch_shim import get_shim
from spacy_rnn.modules.networks import ENCODER
from spacy_rnn.modules.rnn.ablation import remove_direction, silence
from spacy_rnn.modules.rnn.cells import CELLS
from spacy_rnn.modules.rnn.trace import trace_encoder
from spacy_rnn.probing.ablation import Unit, ablate
from spacy_rnn.probing.ablation_tasks import AgreementTask, ScoreTask
from spacy_rnn.probing.agreement import Item, measure
from spacy_rnn.probing.encoders import find_encoder
from spacy_rnn.probing.prefix_tree import PrefixTree

from ..conftest import SMALL_TAGGER, make_examples
from ..conftest import make_nlp as make_tagger
from ..pipeline.test_rnn_lm import make_nlp as make_lm

PREFIXES = ["the cat", "the old cat", "the cat", "cats", "", "the old dog is here"]


def make_items(vocabulary):
    words = [word for word in vocabulary if word[0].isalpha()][:8]
    rng = numpy.random.default_rng(0)
    items = []
    for i in range(60):
        first, second = rng.choice(words, 2, replace=False).tolist()
        prefix = PREFIXES[i % len(PREFIXES)].split()
        items.append(Item(f"condition {i % 3}", prefix, first, second))
    return [*items, Item("condition 0", ["the"], "unheard-of", words[0])]


def measure_items(scorer, items):
    """The accuracies that `spacy rnn agreement` measures."""
    return {name: result.accuracy for name, result in measure(scorer, items).items()}


def test_a_tree_has_each_prefix_once():
    sequences = [text.split() for text in PREFIXES]
    tree = PrefixTree.from_sequences(sequences)
    distinct = {tuple(words[:i]) for words in sequences for i in range(len(words) + 1)}
    assert tree.starts[-1] == len(distinct) == len(tree.words) + 1
    for words, node in zip(sequences, tree.ends.tolist(), strict=True):
        path = []
        while node:
            path.append(tree.words[node - 1])
            node = int(tree.previous[node - 1])
        assert path[::-1] == words
    lengths = numpy.searchsorted(tree.starts, numpy.arange(1, tree.starts[-1]), side="right")
    before = numpy.searchsorted(tree.starts, tree.previous, side="right")
    assert (lengths == before + 1).all()


@pytest.mark.parametrize("softmax", ["adaptive", "tied"])
@pytest.mark.parametrize("directions", ["forward", "both"])
def test_units_are_ablated_as_if_their_weights_were_zero(softmax, directions):
    # Without a projection, a residual connection would be another way from a unit to the output.
    nlp = make_lm(softmax, directions, hidden=12)
    scorer = Scorer(nlp.get_pipe("rnn_lm").model, nlp.vocab)
    stack = scorer.stack.require_module()
    with torch.no_grad():
        for i, parameter in enumerate(stack.parameters()):
            generator = torch.Generator().manual_seed(i)
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    items = make_items(scorer.vocabulary.words)
    task = AgreementTask(scorer, items)
    assert task.shape == (len(stack.layers), 1, stack.units)
    expected = measure_items(scorer, items)
    found = {name: s.mean() for name, s in zip(task.conditions, task.measure({}), strict=True)}
    assert found == expected
    n_changed = 0
    for layer in range(task.shape[0]):
        for unit in range(0, stack.units, 3):
            weight = stack.layers[layer].weight_hh_l0
            before = [weight.clone(), *(p.clone() for p in stack.projections)]
            # Neither the next step nor the next layer reads the unit. Without a projection, a
            # residual connection and an upper layer would read it.
            with torch.no_grad():
                weight[:, unit] = 0.0
                stack.projections[layer][0, unit] = 0.0
            expected = measure_items(scorer, items)
            with torch.no_grad():
                for parameter, values in zip([weight, *stack.projections], before, strict=True):
                    parameter.copy_(values)
            scores = AgreementTask(scorer, items).measure({(layer, 0): silence([unit])})
            found = {n: s.mean() for n, s in zip(task.conditions, scores, strict=True)}
            assert found == expected
            n_changed += found != measure_items(scorer, items)
    assert n_changed


def test_a_direction_along_an_axis_is_a_unit():
    hidden = torch.randn(4, 5)
    axis = torch.zeros(5)
    axis[2] = 1.0
    torch.testing.assert_close(remove_direction(axis)(hidden), silence([2])(hidden))
    vector = torch.randn(5)
    vector /= vector.norm()
    assert (remove_direction(vector)(hidden) @ vector).abs().max() < 1e-6


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_units_of_an_encoder_are_ablated(cell):
    config = Config().from_str(SMALL_TAGGER)["model"]
    config["tok2vec"]["encode"] |= {"cell": cell}
    nlp = make_tagger(config, steps=30)
    examples = make_examples(nlp)
    task = ScoreTask(nlp, examples, "rnn_tagger", ["tag_acc"])
    assert task.shape == (2, 2, 8)
    expected = nlp.evaluate(examples)["tag_acc"]
    assert task.measure({})[0] == pytest.approx(expected)
    table = ablate(task, n_random=2)
    assert len(table.units) == 32 and len(table.random) == 8
    everything = {(i, k): silence(list(range(8))) for i in range(2) for k in range(2)}
    assert task.measure(everything)[0] != task.measure({})[0]
    # The pipeline is as it was.
    assert nlp.evaluate(examples)["tag_acc"] == expected


def test_states_without_a_unit_are_those_of_the_definition():
    nlp = make_tagger(steps=3)
    module = get_shim(find_encoder(nlp, "rnn_tagger", ENCODER)).require_module()
    from spacy_rnn.modules.rnn.ablation import AblationRun

    X = torch.randn(9, module.layers[0].input_size)
    run = AblationRun(trace_encoder(module, [4, 0, 5]), X)
    found = run.run({(0, 1): silence([2])})
    with torch.no_grad():
        first = module.layers[0]
        first.weight_hh_l0_reverse[:, 2] = 0.0
        layer_1 = trace_encoder(module, [4, 0, 5]).run(X)[0][1].clone()
        layer_1[:, module.layers[0].hidden_size + 2] = 0.0
        expected = trace_encoder(module, [4, 0, 5]).run(layer_1, first=1)[0][-1]
    torch.testing.assert_close(found, expected)


def test_named_units_are_ablated_by_themselves_and_together():
    nlp = make_lm()
    scorer = Scorer(nlp.get_pipe("rnn_lm").model, nlp.vocab)
    task = AgreementTask(scorer, make_items(scorer.vocabulary.words))
    units = [Unit.parse(name) for name in ("1:3", "2:forward:0")]
    table = ablate(task, units=units, n_random=3)
    assert [row.name for row in table.units] == ["1:forward:3", "2:forward:0", "all of these"]
    assert ablate(task, units=units, n_random=3) == table
    with pytest.raises(ValueError, match="no unit 1:forward:999: the model has 2 layers"):
        ablate(task, units=[Unit(0, 0, 999)])
    for name in ("3", "0:3", "1:up:3", "1:forward:x", "1:2:3:4"):
        with pytest.raises(ValueError, match=f"Unit '{name}' must be"):
            Unit.parse(name)


def test_scores_that_are_not_there_are_named(trained_nlp):
    examples = make_examples(trained_nlp)
    task = ScoreTask(trained_nlp, examples, "rnn_tagger", ["ents_f"])
    with pytest.raises(ValueError, match=r"no score 'ents_f'.*tag_acc"):
        task.measure({})
    blank = spacy.blank("xx")
    with pytest.raises(ValueError, match="no component 'rnn_tagger'"):
        ScoreTask(blank, [Example.from_dict(blank.make_doc("a"), {})], "rnn_tagger", ["tag_acc"])

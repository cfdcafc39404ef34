import numpy
import pytest
from spacy.util import registry
from thinc.api import Adam, Config

from spacy_rnn.architectures.optimizer import make_adam

KEY = (1, "W")


def run(optimizer, n_steps=7):
    """The weights after each step."""
    rng = numpy.random.default_rng(0)
    weights, path = rng.normal(size=(2, 3)).astype("f"), []
    for _ in range(n_steps):
        weights, gradient = optimizer(KEY, weights, rng.normal(size=(2, 3)).astype("f"))
        assert not gradient.any()
        path.append(weights.copy())
    return path


def test_steps_are_those_of_thincs_adam():
    settings = {"L2": 0.1, "grad_clip": 1.0}
    for ours, theirs in zip(
        run(make_adam(0.01, **settings)), run(Adam(0.01, **settings)), strict=True
    ):
        numpy.testing.assert_array_equal(ours, theirs)


def test_without_decay_the_average_is_the_mean_of_all_steps():
    optimizer = make_adam(0.01, average_decay=0.0)
    path = run(optimizer)
    numpy.testing.assert_allclose(optimizer.averages[KEY], numpy.mean(path, axis=0), rtol=1e-5)


def test_with_decay_later_steps_count_for_more():
    optimizer = make_adam(0.01, average_decay=1.0)
    path = run(optimizer)
    # The weight of step t is (d + 1) / (t + d), times what all later ones leave of it: here t.
    expected = numpy.average(path, axis=0, weights=range(1, len(path) + 1))
    numpy.testing.assert_allclose(optimizer.averages[KEY], expected, rtol=1e-5)


def test_nothing_to_learn_from_is_no_step():
    optimizer = make_adam(0.01)
    nothing = numpy.zeros((0, 3), dtype="f")
    optimizer(KEY, nothing, nothing)
    assert KEY not in optimizer.averages


def test_it_is_made_from_a_config_with_schedules():
    text = """
    [optimizer]
    @optimizers = "spacy-rnn.Adam.v1"

    [optimizer.learn_rate]
    @schedules = "warmup_linear.v1"
    warmup_steps = 2
    total_steps = 4
    initial_rate = 0.5
    """
    optimizer = registry.resolve(Config().from_str(text))["optimizer"]
    rates = []
    for _ in range(4):
        optimizer.step_schedules()
        rates.append(float(optimizer.learn_rate))
    assert max(rates) == pytest.approx(0.5) and rates[0] < 0.5


def test_a_decay_below_zero_is_refused():
    with pytest.raises(ValueError, match="average_decay = -1"):
        make_adam(0.01, average_decay=-1)

import math

from spacy_rnn.pretraining.optimizer import get_rate
from spacy_rnn.pretraining.settings import LMSettings


def test_rates_rise_and_fall():
    settings = LMSettings("a", "b", learn_rate=1.0, warmup_steps=10, decay="linear")
    assert get_rate(settings, 0, 110) == 0.1
    assert get_rate(settings, 9, 110) == get_rate(settings, 10, 110) == 1.0
    assert math.isclose(get_rate(settings, 60, 110), 0.5)
    assert get_rate(settings, 110, 110) == get_rate(settings, 200, 110) == 0.0
    cosine = LMSettings("a", "b", learn_rate=1.0, warmup_steps=10)
    assert math.isclose(get_rate(cosine, 60, 110), 0.5)
    constant = LMSettings("a", "b", learn_rate=1.0, warmup_steps=0, decay="none")
    assert {get_rate(constant, step, None) for step in (0, 99)} == {1.0}

import pytest

from spacy_rnn.pretraining.settings import LMSettings


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"train": ""}, "train is missing"),
        ({"dev": None}, "dev is missing"),
        ({"colour": "red"}, "colour is unknown"),
        ({"n_rows": 0}, "n_rows = 0"),
        ({"seed": -1}, "seed = -1"),
        ({"vocabulary_size": 2}, "vocabulary_size = 2"),
        ({"optimizer": "adamax"}, "optimizer = 'adamax'"),
        ({"decay": "fast"}, "decay = 'fast'"),
        ({"dropout": 1.5}, "dropout = 1.5"),
        ({"weight_drop": 1.0}, "weight_drop = 1.0"),
        ({"learn_rate": -0.1}, "learn_rate = -0.1"),
        ({"L2": "no"}, "L2 = 'no'"),
        ({"carry_state": 1}, "carry_state = 1"),
        ({"max_epochs": 0}, "max_epochs and max_steps"),
    ],
)
def test_wrong_settings_are_named(changes, message):
    LMSettings.from_config({"train": "a", "dev": "b"})
    with pytest.raises(ValueError, match=message):
        LMSettings.from_config({"train": "a", "dev": "b", **changes})

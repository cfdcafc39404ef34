import json
import math

import pytest

from spacy_rnn.pretraining.evaluation import append_record, make_record, truncate_log
from spacy_rnn.pretraining.run_state import Position


def test_records_have_the_perplexity_since_the_last_one():
    position = Position(step=3, epoch=1, n_words=30, n_logged=20, losses=[10.0, 20.0])
    record = make_record(position, [1.0, 1e9], learn_rate=0.1)
    assert record["train_perplexity"] == pytest.approx([math.e, math.e**2])
    assert record["dev_perplexity"] == pytest.approx([math.e, math.exp(99)])
    assert (record["step"], record["epoch"], record["words"]) == (3, 1, 30)
    assert record["learn_rate"] == 0.1
    assert make_record(Position(losses=[0.0]), [1.0])["train_perplexity"] == []


def test_a_log_is_truncated_to_a_checkpoint(tmp_path):
    path = tmp_path / "log.jsonl"
    truncate_log(path, 3)
    assert not path.exists()
    for step in (0, 5, 10):
        append_record(path, {"step": step})
    for step, expected in [(10, [0, 5, 10]), (9, [0, 5]), (0, [])]:
        truncate_log(path, step)
        assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == expected

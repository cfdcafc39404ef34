"""Torch sets a thread's number of threads when it is first asked for it there. A worker that was
told to use one before that went back to all of them at its first operation, and spent its time
waiting for the others.
"""

import pytest
import torch

from spacy_rnn.modules.workers import run_tasks


@pytest.mark.skipif(torch.get_num_threads() == 1, reason="needs two threads")
def test_workers_stay_on_one_thread_through_operations():
    def task():
        X = torch.randn(400, 400)
        for _ in range(3):
            X = torch.tanh(X @ X)
        return torch.get_num_threads()

    assert run_tasks([task] * 8) == [1] * 8

from itertools import accumulate

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from spacy_rnn.modules.step_major import StepMajor

LENGTHS = st.lists(st.integers(0, 12), min_size=1, max_size=40)


@given(LENGTHS)
@example([0, 0])
@example([5])
def test_step_major_is_torchs_packed_order(lengths):
    sequences = [torch.arange(n) + 100 * i for i, n in enumerate(lengths)]
    flat = torch.cat([*sequences, torch.zeros(0, dtype=torch.long)])
    layout = StepMajor.from_lengths(lengths)
    present = [seq for seq in sequences if len(seq)]
    if not present:
        assert layout.sizes == [] and len(layout.order) == 0
        return
    packed = torch.nn.utils.rnn.pack_sequence(
        sorted(present, key=len, reverse=True), enforce_sorted=True
    )
    assert layout.sizes == packed.batch_sizes.tolist()
    assert torch.equal(flat[layout.order], packed.data)
    assert torch.equal(flat[layout.order][layout.inverse], flat)


@given(LENGTHS)
@example([0, 0])
def test_steps_and_tokens_before(lengths):
    layout = StepMajor.from_lengths(lengths)
    assert layout.starts.tolist() == [0, *accumulate(layout.sizes)]
    # The token before, in its sequence
    later = layout.order[len(layout.ranking) :]
    assert layout.order[layout.previous].tolist() == (later - 1).tolist()


@given(LENGTHS)
def test_step_major_mirror_turns_each_sequence_round(lengths):
    layout = StepMajor.from_lengths(lengths)
    flat = torch.arange(sum(lengths))
    mirrored = flat[layout.order][layout.mirror][layout.inverse]
    assert torch.equal(mirrored, torch.cat([s.flip(0) for s in flat.split(lengths)]))
    backward = flat[layout.reversed_order]
    assert torch.equal(backward, flat[layout.order][layout.mirror])
    assert torch.equal(backward[layout.reversed_inverse], flat)
    rows = torch.from_numpy(layout.rows[layout.inverse]).split(lengths)
    assert all(len(set(row.tolist())) == 1 for row in rows if len(row))

import numpy
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from spacy_rnn.modules.step_major import BUCKET_ROWS, StepMajor, cut_steps, make_buckets

LENGTHS = st.lists(st.integers(0, 12), min_size=1, max_size=40)


@given(LENGTHS)
@example([0, 0])
@example([5])
def test_step_major_is_torchs_packed_order(lengths):
    sequences = [torch.arange(n) + 100 * i for i, n in enumerate(lengths)]
    flat = torch.cat([*sequences, torch.zeros(0, dtype=torch.long)])
    layout = StepMajor.from_lengths(lengths, torch.device("cpu"))
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
def test_step_major_mirror_turns_each_sequence_round(lengths):
    layout = StepMajor.from_lengths(lengths, torch.device("cpu"))
    flat = torch.arange(sum(lengths))
    mirrored = flat[layout.order][layout.mirror][layout.inverse]
    assert torch.equal(mirrored, torch.cat([s.flip(0) for s in flat.split(lengths)]))
    rows = layout.rows[layout.inverse].split(lengths)
    assert all(len(set(row.tolist())) == 1 for row in rows if len(row))


@given(LENGTHS)
@example([7] * 300)
@example([1, 50, 1, 50])
def test_buckets_hold_each_token_once(lengths):
    buckets = make_buckets(lengths)
    targets = torch.cat([torch.zeros(0, dtype=torch.long), *(b.target for b in buckets)])
    assert sorted(targets[targets < sum(lengths)].tolist()) == list(range(sum(lengths)))
    starts = numpy.cumsum([0, *lengths])
    for bucket in buckets:
        assert bucket.rows in BUCKET_ROWS
        gather = bucket.gather.view(sum(bucket.pieces), bucket.rows)
        is_token = bucket.target < sum(lengths)
        assert torch.equal(bucket.gather[is_token], bucket.target[is_token])
        assert (bucket.target[~is_token] == sum(lengths)).all()
        for column in gather.T.tolist():
            sequence = int(numpy.searchsorted(starts, column[0], side="right")) - 1
            length = lengths[sequence]
            assert column[:length] == list(range(column[0], column[0] + length))
        cells = torch.arange(len(bucket.gather))
        assert torch.equal(bucket.mirror[bucket.mirror], cells)


def test_buckets_of_many_sequences_waste_little():
    rng = numpy.random.default_rng(0)
    lengths = rng.geometric(1 / 15, size=1500).clip(1, 80).tolist()
    cells = sum(sum(bucket.pieces) * bucket.rows for bucket in make_buckets(lengths))
    assert cells < 1.1 * sum(lengths)


@given(st.lists(st.integers(1, 9000), min_size=1, max_size=30))
@example([8000, *[5] * 7])
@example([8000, *[5] * 3])
@example([5000, 900, 700, 600, 400, 200, 150, 50])
@example([*[1000] * 8, 900, *[5] * 7])
def test_long_sequences_are_not_padded_to(lengths):
    cells = sum(sum(bucket.pieces) * bucket.rows for bucket in make_buckets(lengths))
    assert cells < 1.6 * sum(lengths) + 32 * len(lengths)


def test_buckets_have_few_shapes_whatever_the_lengths():
    rng = numpy.random.default_rng(0)
    shapes = set()
    for mean in range(2, 60):
        for n in (1, 5, 40, 700):
            lengths = rng.geometric(1 / mean, size=n).clip(1, 5000).tolist()
            for bucket in make_buckets(lengths):
                assert sum(bucket.pieces) * bucket.rows == len(bucket.gather)
                shapes |= {(piece, bucket.rows) for piece in bucket.pieces}
    assert len(shapes) <= 70


@given(st.integers(1, 300), st.sampled_from(BUCKET_ROWS))
def test_pieces_cover_the_steps(steps, rows):
    pieces = cut_steps(steps, rows)
    assert steps <= sum(pieces) < steps + 4

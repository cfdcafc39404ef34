"""Torch gives two parameters that are only added up, as the two biases of a recurrent layer are,
one gradient tensor to share: clipping scaled it twice, the optimizer cleared it for the second, and
accumulating over batches counted everything twice.
"""

import numpy
import torch

from ..layers.test_torch_shim import apply_gradients, gradients, make_batch, make_encoder


def test_both_biases_are_updated():
    model = make_encoder(grad_clip_norm=0.0)
    before = {n: p.detach().clone() for n, p in model.shims[0].module.named_parameters()}
    gradients(model)
    apply_gradients(model)
    after = dict(model.shims[0].module.named_parameters())
    change_ih = before["layers.0.bias_ih_l0"] - after["layers.0.bias_ih_l0"]
    change_hh = before["layers.0.bias_hh_l0"] - after["layers.0.bias_hh_l0"]
    assert change_ih.abs().max() > 0
    assert torch.allclose(change_ih, change_hh, atol=1e-5)


def test_accumulated_gradients_are_the_sum_over_batches():
    once, twice = make_encoder(), make_encoder()
    gradients(once)
    gradients(twice)
    gradients(twice)
    for A, B in zip(
        once.shims[0].module.parameters(), twice.shims[0].module.parameters(), strict=True
    ):
        assert torch.allclose(2 * A.grad, B.grad, rtol=1e-4, atol=1e-6)


def test_no_two_parameters_share_a_gradient():
    model = make_encoder(cell="gru")
    Ys, backprop = model.begin_update(make_batch())
    backprop([numpy.ones_like(Y) for Y in Ys])
    places = [p.grad.data_ptr() for p in model.shims[0].module.parameters()]
    assert len(set(places)) == len(places)

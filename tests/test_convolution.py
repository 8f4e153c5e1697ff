import pytest
import torch
import torch.nn.functional as F

from utils.engine.convolution import Convolution, convolutions, flatten, unflatten

LAYER = Convolution(rows=6, columns=5, channels=3, maps=4)
MEMBERS, BATCH = 2, 7


def maps(h, layer, channels):
    """[members, batch · pixels, channels] as [members · batch, channels, …]."""
    return h.view(-1, layer.rows, layer.columns, channels).permute(0, 3, 1, 2)


def layer_and_input():
    torch.manual_seed(0)
    x = torch.randn(MEMBERS, BATCH * LAYER.pixels, 3, dtype=torch.float64)
    weight = torch.randn(MEMBERS, *LAYER.fan, dtype=torch.float64)
    return x, weight


def test_patches_times_kernels_are_torchs_convolution():
    x, weight = layer_and_input()
    found = maps(LAYER.patches(x) @ weight, LAYER, 4).unflatten(0, (MEMBERS, BATCH))
    for member in range(MEMBERS):
        conv = LAYER.module(weight[member], torch.zeros(1, 4, dtype=torch.float64))
        expected = conv(maps(x[member], LAYER, 3))
        torch.testing.assert_close(found[member], expected)


def test_input_gradient_is_that_of_autograd():
    x, weight = layer_and_input()
    x.requires_grad_()
    out = LAYER.patches(x) @ weight
    d = torch.randn_like(out)
    (expected,) = torch.autograd.grad(out, x, d)
    torch.testing.assert_close(LAYER.input_gradient(d, weight), expected)


def test_pooling_and_its_gradient_are_torchs():
    h = torch.randn(MEMBERS, BATCH * LAYER.pixels, 4, dtype=torch.float64)
    h.requires_grad_()
    expected = F.max_pool2d(maps(h, LAYER, 4), 2)
    d = torch.randn_like(expected)
    (gradient,) = torch.autograd.grad(expected, h, d)
    pooled, where = LAYER.pool(h.detach())
    assert pooled.numel() == MEMBERS * BATCH * LAYER.features
    last = d.permute(0, 2, 3, 1).reshape(pooled.shape)
    torch.testing.assert_close(pooled.view(-1, 3, 2, 4).permute(0, 3, 1, 2), expected)
    torch.testing.assert_close(LAYER.unpool(last, h.detach(), where), gradient)


def test_flatten_has_the_order_of_torch_and_can_be_undone():
    h = torch.randn(MEMBERS, BATCH * LAYER.pixels, 4)
    flat = flatten(h, BATCH)
    assert torch.equal(flat.flatten(0, 1), maps(h, LAYER, 4).flatten(1))
    assert torch.equal(unflatten(flat, 4), h)


def test_each_pooling_halves_the_image():
    layers = convolutions((8, 8), (16, 32))
    assert layers == [Convolution(8, 8, 1, 16), Convolution(4, 4, 16, 32)]
    assert [layer.features for layer in layers] == [256, 128]
    assert convolutions(None, ()) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(dtype):
    x, weight = (t.to(dtype) for t in layer_and_input())
    pooled, _ = LAYER.pool(LAYER.patches(x) @ weight)
    assert (
        pooled.dtype == LAYER.input_gradient(x @ weight[:, :3], weight).dtype == dtype
    )

"""PyTorch's own kernel in what transforms, traces and compiles functions of PyTorch.

That its outputs, moments and gradients are right is tested in `test_kernels.py`.
"""

import math

import numpy as np
import pytest
import reference
from helpers import EPSILON, array, close, on_torch
from reference import rows

from keras_bn4.layers.kernels import general, torch_fused

GAMMA, BETA = np.array([0.5, 1, 2, 1], "float32"), np.float32([1, 0, 0, -1])


def outputs_of(x, ghost_batch_size=3, kernel=torch_fused, axis=-1):
    import torch

    gamma, beta = torch.as_tensor(GAMMA), torch.as_tensor(BETA)
    arguments = gamma, beta, ghost_batch_size, 4, axis % x.ndim, EPSILON
    return kernel.normalize_batch(x, None, *arguments)[0]


def batch(rng, *shape, **options):
    import torch

    return torch.tensor(rng.normal(1, 2, shape).astype("float32"), **options)


@on_torch
def test_supports(rng):
    import torch

    x = batch(rng, 7, 3, 4)

    def supports(x=x, mask=None, groups=4, axis=2):
        return torch_fused.supports(x, mask, groups, axis, EPSILON, False)

    assert supports()
    assert supports(groups=3, axis=1)
    assert supports(x.to(torch.bfloat16))
    for refused in (x.double(), x[:0], x[:, :0]):
        assert not supports(refused)
    assert not supports(mask="a mask")
    assert not supports(groups=2)


@on_torch
@pytest.mark.parametrize("least", [0, math.inf], ids=["one by one", "together"])
def test_functions_are_transformed(rng, monkeypatch, least):
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    monkeypatch.setattr(torch_fused, "LEAST_ELEMENTS", least)
    x, direction = batch(rng, 6, 2, 4), batch(rng, 6, 2, 4)

    def loss(x, kernel=torch_fused):
        return (outputs_of(x, kernel=kernel) ** 3).sum()

    def expected(transform):
        return transform(lambda x: loss(x, general))

    several = torch.stack([x, 2 * x + 1])
    for transform in (
        lambda loss: torch.func.grad(loss)(x),
        lambda loss: torch.func.vmap(torch.func.grad(loss))(several),
        lambda loss: torch.func.jvp(loss, (x,), (direction,))[1],
        lambda loss: torch.func.jvp(torch.func.grad(loss), (x,), (direction,))[1],
        lambda loss: make_fx(lambda x: loss(x))(2 * x)(x),
    ):
        found = array(transform(loss))
        close(found, array(expected(transform)), rtol=1e-3, atol=1e-3)


# About Keras' functions of dtypes.
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
@on_torch
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*_get_data_attr:FutureWarning")
def test_functions_are_compiled(rng):
    import torch

    compiled = torch.compile(outputs_of, backend="aot_eager", fullgraph=True)
    for n in (6, 7):
        x, same = (
            batch(np.random.default_rng(0), n, 4, requires_grad=True) for _ in "12"
        )
        one, other = compiled(x), outputs_of(same)
        close(array(one), array(other))
        (one**3).sum().backward()
        (other**3).sum().backward()
        close(array(x.grad), array(same.grad), atol=2e-4)


@on_torch
def test_memory_of_channels_first_and_last_gives_the_same(rng):
    """As Keras' convolutions, which leave channels first in memory, give it."""
    x = batch(rng, 6, 2, 3, 4)
    first = x.movedim(-1, 1).contiguous().movedim(1, -1)
    assert not first.is_contiguous()
    expected = reference.train(rows(x, -1), GAMMA, BETA, EPSILON, 3)
    for each in (x, first):
        close(rows(outputs_of(each), -1), expected)
    close(rows(outputs_of(x.movedim(-1, 2), axis=2), 2), expected)

import pytest

from keras_bn4.layers.kernels import tensorflow_fused


@pytest.fixture
def kernel(request, monkeypatch):
    """Has TensorFlow train in the way that `helpers.with_kernels` names."""
    if request.param == "general":
        monkeypatch.setattr(tensorflow_fused, "supports", lambda *_: False)
    elif request.param == "one by one":
        monkeypatch.setattr(tensorflow_fused, "LEAST_ELEMENTS", 0)
    elif request.param == "separately":
        monkeypatch.setattr(tensorflow_fused, "LEAST_ELEMENTS", float("inf"))
    else:
        assert request.param == "as it comes"

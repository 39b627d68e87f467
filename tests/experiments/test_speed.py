"""What the speed depends on, and the experiment that measures it."""

import json
import warnings

import keras
import numpy as np
import pytest

from keras_bn4.conversion import convert
from keras_bn4.experiments.speed import comparison as speed
from keras_bn4.experiments.speed import measurements
from keras_bn4.experiments.speed import report as speed_report
from keras_bn4.layers import GhostBatchNormalization

BACKEND = keras.backend.backend()
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's own")


@on_tensorflow
def test_at_weight_zero_normalization_folds_into_the_convolution(tmp_path):
    import tensorflow as tf

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, use_bias=False)(inputs)
    layer = GhostBatchNormalization(ghost_batch_size=4)
    model = keras.Model(inputs, keras.layers.ReLU()(layer(x)))
    rng = np.random.default_rng(0)
    layer.set_weights([rng.uniform(0.5, 1.5, 4) for _ in range(4)])
    images = rng.random((1, 8, 8, 3), "float32")

    def exported():
        model.export(tmp_path / "exported", verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "exported"))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter")
            interpreter = tf.lite.Interpreter(model_content=converter.convert())
        # Before a delegate takes over.
        names = [operation["op_name"] for operation in interpreter._get_ops_details()]
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
        interpreter.invoke()
        outputs = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        return names, outputs

    names, outputs = exported()
    assert names == ["CONV_2D"]
    np.testing.assert_allclose(outputs, model(images), rtol=1e-5, atol=1e-6)
    layer.example_weight = 0.1
    names, outputs = exported()
    assert len(names) > 1
    np.testing.assert_allclose(outputs, model(images), rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch doesn't use XLA")
def test_xla_keeps_the_branch_of_plain_inference():
    layer = GhostBatchNormalization()
    layer.build((None, 4, 4, 3))
    x = np.zeros((2, 4, 4, 3), "float32")
    if BACKEND == "tensorflow":
        import tensorflow as tf

        function = tf.function(lambda x: layer(x), jit_compile=True, autograph=False)
        program = function.experimental_get_compiler_ir(tf.constant(x))("optimized_hlo")
    else:
        import jax

        trainable, state = (
            [v.value for v in variables]
            for variables in (layer.trainable_variables, layer.non_trainable_variables)
        )
        function = jax.jit(lambda *tensors: layer.stateless_call(*tensors))
        program = function.lower(trainable, state, x).compile().as_text()
    assert " conditional(" in program


def test_a_network_learns_what_it_does_with_keras_layer():
    rng = np.random.default_rng(0)
    x, y = rng.random((24, 8, 8, 3), "float32"), rng.integers(0, 4, 24)
    inputs = keras.Input((8, 8, 3))
    features = inputs
    for filters in (4, 8):
        features = keras.layers.Conv2D(filters, 3, use_bias=False)(features)
        features = keras.layers.BatchNormalization(momentum=0.9)(features)
        features = keras.layers.ReLU()(features)
    features = keras.layers.GlobalAveragePooling2D()(features)
    plain = keras.Model(inputs, keras.layers.Dense(4)(features))
    converted = convert(plain)
    for model in (plain, converted):
        model.compile(
            keras.optimizers.SGD(0.1),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        # 24 = 10 + 10 + 4: the last batch is short.
        model.fit(x, y, batch_size=10, epochs=2, shuffle=False, verbose=0)
    for weight, expected in zip(converted.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(params=["one way", pytest.param("all ways", marks=pytest.mark.slow)])
def small(request, monkeypatch):
    """Arguments of the experiment, with small layers, executed in one way or in all."""
    monkeypatch.setattr(speed, "SHAPES", ((6, 4, 4, 4),) * 4)
    monkeypatch.setattr(speed, "DENSE", (6, 4))
    monkeypatch.setattr(measurements, "SECONDS", 1e-9)
    jobs = speed.jobs()
    if request.param == "one way":
        way = {name: jobs[0][name] for name in ("batch", "compile", "dtype")}
        jobs = [job for job in jobs if way.items() <= job.items()]
    monkeypatch.setattr(speed, "jobs", lambda: jobs)
    return {"rounds": 1, "only": ("step", "sizes", "inference")}


def test_comparisons_are_made_once_and_told(small, tmp_path, monkeypatch):
    results = speed.run(**small, output_dir=tmp_path)
    assert json.loads((tmp_path / f"{BACKEND}.json").read_text())
    for result in results:
        assert result["settings"]["keras"] == keras.__version__
        assert next(iter(result["ratios"].values())) == 1
        assert min(result["milliseconds"].values()) > 0
    text = speed_report.table(results)
    assert text.count("geometric mean") > 1
    assert "Training step of a layer" in text
    monkeypatch.setattr(
        measurements, "measure", lambda *_: pytest.fail("measured again")
    )
    assert speed.run(**small, output_dir=tmp_path) == results


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"only": ["typo"]}, "no comparison 'typo'.*'step'"), ({"rounds": 0}, "rounds=0")],
)
def test_wrong_arguments_leave_nothing(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        speed.run(**arguments, output_dir=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_medians_of_ratios_are_paired():
    times = {"first": iter([0, 1, 3, 2]), "second": iter([0, 2, 9, 2])}
    seconds = measurements._seconds

    def fake(function, repeats):
        return function() if repeats == 1 else 1.0

    measurements._seconds = fake
    try:
        runs = {name: values.__next__ for name, values in times.items()}
        result = measurements.compare(runs, 3)
    finally:
        measurements._seconds = seconds
    assert result["ratios"] == {"first": 1, "second": 2}
    assert result["milliseconds"] == {"first": 2000, "second": 2000}

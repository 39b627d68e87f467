"""What the speed depends on, and the measurement of it."""

import json
import warnings

import keras
import numpy as np
import pytest

from keras_bn4.conversion import convert
from keras_bn4.experiments.speed import measurements, page
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


def test_a_comparison_has_the_ratios_of_all_layers(monkeypatch):
    monkeypatch.setattr(measurements, "SECONDS", 1e-9)
    monkeypatch.setattr(measurements, "_fits", lambda: {})
    monkeypatch.setattr(measurements, "compare", lambda runs, rounds: runs)
    comparisons = list(measurements.measure(1, shapes=[(6, 4, 4, 4)]))
    monkeypatch.undo()
    names = [("whole", "16", "4"), ("0", "0.05")]
    for comparison, expected in zip(comparisons, names):
        ratios = measurements.compare(comparison["ratios"], 1)
        assert tuple(ratios) == expected
        assert min(map(min, ratios.values())) > 0


def test_quartiles_of_ratios_are_paired(monkeypatch):
    times = {"first": iter([0, 1, 3, 2, 1]), "second": iter([0, 2, 9, 2, 1])}
    monkeypatch.setattr(
        measurements, "_seconds", lambda run, repeats: run() if repeats == 1 else 1.0
    )
    runs = {name: values.__next__ for name, values in times.items()}
    assert measurements.compare(runs, 4) == {"second": [1, 1.5, 2.25]}


@pytest.mark.skipif(not page.RECORDS.exists(), reason="Nothing is recorded.")
def test_the_page_shows_what_is_recorded():
    record = json.loads(page.RECORDS.read_text())
    text = page.PAGE.read_text()
    assert page.page(text, record) == text
    assert page.tables(record["results"]) in text


def test_what_is_slower_than_recorded_is_found():
    def results(low, median):
        ratios = {"whole": [low, median, 9.0]}
        return {"jax": [{"what": "training", "of": "2×3", "ratios": ratios}]}

    recorded = results(0.9, 1.0)
    assert page.slower(results(1.2, 1.5), recorded) == []
    assert page.slower(results(1.4, 1.5), recorded) == [
        "jax, training, 2×3, whole: 1.5 > 1.30"
    ]
    assert page.slower({"torch": recorded["jax"]}, recorded) == []

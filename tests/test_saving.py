"""Every way to save and load a model, with the same predictions.

`python tests/test_saving.py` prints the table: the largest difference of predictions at
an example weight above 0, relative to the largest prediction, or the error, and beside
it the same for the model with Keras' layer. ONNX and Orbax need packages that are not
among those of the tests: on TensorFlow `tf2onnx` and `onnxruntime`, on PyTorch
`onnxscript` and `onnxruntime`, and `orbax-checkpoint`.
"""

import copy
import importlib.util
import pathlib
import pickle
import sys
import tempfile
import warnings

import keras
import numpy as np
import pytest
from helpers import BACKEND, keras_hub_backbone
from keras import layers

from keras_bn4 import convert

RNG = np.random.default_rng(0)
X = RNG.normal(1, 2, (8, 8, 8, 3)).astype("float32")


@keras.saving.register_keras_serializable("test_saving")
class Subclassed(keras.Model):
    """Creates its layers itself."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.convolution = layers.Conv2D(4, 3)
        self.normalization = layers.BatchNormalization()
        self.pooling = layers.GlobalAveragePooling2D()

    def call(self, inputs):
        return self.pooling(self.normalization(self.convolution(inputs)))


def functional():
    inputs = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(name="first")(inputs)
    x = layers.ReLU()(layers.BatchNormalization(name="second")(layers.Conv2D(4, 3)(x)))
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def nested():
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, layers.Dense(2)(functional()(inputs)))


class Unregistered(Subclassed):
    pass


def subclassed(made_class=Subclassed):
    model = made_class()
    model(X)
    return model


def composite():
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, layers.Dense(2)(Subclassed(name="part")(inputs)))


def quantized():
    model = functional()
    model.quantize("int8", filters=lambda layer: isinstance(layer, layers.Dense))
    return model


def with_vocabulary():
    lookup = layers.IntegerLookup()
    lookup.adapt(np.arange(5)[:, None])
    inputs = keras.Input((8, 8, 3))
    tokens = lookup(keras.ops.cast(inputs, "int64"))
    x = layers.BatchNormalization(name="first")(keras.ops.cast(tokens, "float32"))
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x))


MODELS = {
    "Functional": functional,
    "nested": nested,
    "subclassed": subclassed,
    "a part that creates layers": composite,
    "KerasHub": keras_hub_backbone,
    "unregistered class": lambda: subclassed(Unregistered),
    "int8 weights": quantized,
    "adapted vocabulary": with_vocabulary,
}


def randomized(make):
    """A model with random statistics, whose layers are named as in the last one."""
    keras.backend.clear_session()
    model = make()
    model.compile("sgd", keras.losses.MeanSquaredError())
    for variable in model.non_trainable_variables:
        if variable.dtype == "float32":
            variable.assign(RNG.uniform(0.5, 1.5, variable.shape))
    return model


def whole(name, **arguments):
    def save_and_load(model, folder):
        keras.saving.save_model(model, folder / name, **arguments)
        return keras.models.load_model(folder / name)

    return save_and_load


def exported(model, folder):
    import tensorflow as tf

    model.export(folder / "exported", verbose=False)
    loaded = tf.saved_model.load(folder / "exported")
    return loaded.serve(X).numpy()


def saved_model(model, folder):
    import tensorflow as tf

    tf.saved_model.save(model, folder / "saved")
    serve = tf.saved_model.load(folder / "saved").signatures["serving_default"]
    (name,) = serve.structured_input_signature[1]
    (outputs,) = serve(**{name: tf.constant(X)}).values()
    return outputs.numpy()


def lite(quantized):
    def convert_and_run(model, folder):
        import tensorflow as tf

        model.export(folder / "exported", verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "exported"))
        if quantized:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([x[None]] for x in X)
        interpreter = tf.lite.Interpreter(model_content=converter.convert())
        (inputs,) = interpreter.get_input_details()
        (outputs,) = interpreter.get_output_details()
        interpreter.resize_tensor_input(inputs["index"], X[:1].shape)
        interpreter.allocate_tensors()
        rows = []
        for x in X:
            interpreter.set_tensor(inputs["index"], x[None])
            interpreter.invoke()
            rows.append(interpreter.get_tensor(outputs["index"]))
        return np.concatenate(rows)

    return convert_and_run


def onnx(model, folder):
    import onnxruntime

    model.export(folder / "model.onnx", format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (inputs,) = session.get_inputs()
    return session.run(None, {inputs.name: X})[0]


def torch_program(model, folder):
    import torch

    signature = [keras.InputSpec(shape=X.shape, dtype="float32")]
    model.export(
        folder / "model.pt2", format="torch", input_signature=signature, verbose=False
    )
    program = torch.export.load(folder / "model.pt2").module()
    return program(torch.as_tensor(X)).detach().cpu().numpy()


def cloned(model, folder):
    clone = keras.models.clone_model(model)
    clone(X)
    clone.set_weights(model.get_weights())
    return clone


def state_tree(model, folder):
    """Into another model that was made in the same way."""
    other = another(model)
    other.set_state_tree(model.get_state_tree(value_format="numpy_array"))
    return other


def weights(name, **arguments):
    def save_and_load(model, folder):
        model.save_weights(folder / name, **arguments)
        other = another(model)
        other.load_weights(folder / name)
        return other

    return save_and_load


def orbax(weights_only):
    def save_and_load(model, folder):
        path = str(folder / "orbax")
        callback = keras.callbacks.OrbaxCheckpoint(
            path, save_weights_only=weights_only, save_on_background=False
        )
        callback.set_model(model)
        callback.on_epoch_end(0)
        callback.on_train_end()
        if not weights_only:
            return keras.models.load_model(path)
        other = another(model)
        other.load_weights(path)
        return other

    return save_and_load


def checkpoint(model, folder):
    import tensorflow as tf

    path = tf.train.Checkpoint(model=model).save(str(folder / "checkpoint"))
    other = another(model)
    status = tf.train.Checkpoint(model=other).restore(path)
    status.assert_existing_objects_matched()
    return other


def another(model):
    """A model of the same make and example weight, with other weights."""
    plain = randomized(model.made_by)
    for variable in plain.trainable_variables:
        variable.assign(variable + 0.1)
    if not model.weight:
        return plain
    return convert(plain, example_weight=model.weight)


# Each returns a model that was loaded, or predictions.
FORMATS = {
    ".keras": whole("model.keras"),
    ".keras as a folder": whole("model", zipped=False),
    ".h5": whole("model.h5"),
    "Orbax": orbax(False),
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)),
    "deepcopy": lambda model, _: copy.deepcopy(model),
    "clone_model": cloned,
    "state tree": state_tree,
    "export, SavedModel": exported,
    "tf.saved_model.save": saved_model,
    "LiteRT, float": lite(False),
    "LiteRT, int8": lite(True),
    "ONNX": onnx,
    "torch.export": torch_program,
    ".weights.h5": weights("model.weights.h5"),
    ".weights.json": weights("model.weights.json", max_shard_size=0.001),
    "tf.train.Checkpoint": checkpoint,
    "Orbax, weights": orbax(True),
}
# Where a way is not that of all backends, or needs a package besides that.
BACKENDS = {
    "export, SavedModel": ("tensorflow", "jax"),
    "tf.saved_model.save": ("tensorflow",),
    "LiteRT, float": ("tensorflow",),
    "LiteRT, int8": ("tensorflow",),
    "ONNX": ("tensorflow", "torch"),
    "torch.export": ("torch",),
    "tf.train.Checkpoint": ("tensorflow",),
}
PACKAGES = {
    "Orbax": ["orbax"],
    "Orbax, weights": ["orbax"],
    "ONNX": ["onnxruntime", {"tensorflow": "tf2onnx"}.get(BACKEND, "onnxscript")],
    "export, SavedModel": ["tensorflow"],
}


def reason_to_skip(way):
    if BACKEND not in BACKENDS.get(way, (BACKEND,)):
        return "not of this backend"
    for package in PACKAGES.get(way, []):
        if importlib.util.find_spec(package) is None:
            return f"needs {package}"
    return None


def made(name, example_weight):
    model = randomized(MODELS[name])
    if example_weight:
        model = convert(model, ghost_batch_size=4, example_weight=example_weight)
    # For `another`. Not attributes that Keras would track.
    object.__setattr__(model, "made_by", MODELS[name])
    object.__setattr__(model, "weight", example_weight)
    return model


def difference(name, way, example_weight):
    """The largest relative difference of predictions, or the text of the error."""
    model = made(name, example_weight)
    expected = model.predict(X, verbose=0)
    scope = keras.saving.custom_object_scope({"Unregistered": Unregistered})
    with scope, tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            got = FORMATS[way](model, pathlib.Path(folder))
            if isinstance(got, keras.Model):
                got = got.predict(X, verbose=0)
        except Exception as error:
            text = str(error).strip() or type(error).__name__
            return " ".join(text.split())[:300]
    return float(np.abs(got - expected).max() / np.abs(expected).max())


CELLS = [
    (name, way)
    for name in MODELS
    for way in FORMATS
    # LiteRT takes half a minute to choose its scales.
    if way != "LiteRT, int8" or name in ("Functional", "subclassed")
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "way"), CELLS)
def test_files_predict_the_same(name, way):
    if (reason := reason_to_skip(way)) is not None:
        pytest.skip(reason)
    found = difference(name, way, 0.4)
    if isinstance(found, str):
        # Only what Keras cannot do either.
        assert name != "Functional", found
        assert isinstance(difference(name, way, 0.0), str), found
    else:
        assert found < (0.1 if "int8" in way else 1e-5)


def table():
    from keras_bn4.common import tables

    lines = []
    for way in sys.argv[1:] or FORMATS:
        if (reason := reason_to_skip(way)) is not None:
            lines.append([way, *[reason] * len(MODELS)])
            continue
        line = [way]
        for name in MODELS:
            found = [difference(name, way, weight) for weight in (0.4, 0.0)]
            cells = (x[:60] if isinstance(x, str) else f"{x:.1g}" for x in found)
            line.append(" / ".join(cells))
        lines.append(line)
        print(line, file=sys.stderr)
    return tables.markdown(["format", *MODELS], lines)


if __name__ == "__main__":
    print(table())

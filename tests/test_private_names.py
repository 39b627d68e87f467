"""The private names of Keras, Keras Tuner and TensorFlow that the package uses.

Each of them stands in one module, with a comment that says why no public name serves. A
test here fails with the name where a new version has taken it away.
"""

import ast
import importlib
import importlib.util
import pathlib

import keras
import pytest
from keras import layers

import keras_bn4

ROOT = pathlib.Path(keras_bn4.__file__).parent


def functional():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2)(layers.BatchNormalization()(inputs)))
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def compiled():
    """A model that has evaluated, after which Keras has built losses and metrics."""
    import numpy as np

    model = functional()
    model.evaluate(np.zeros((2, 4)), np.zeros((2, 2)), verbose=0)
    return model


def oracle():
    import keras_tuner

    return keras_tuner.oracles.GridSearchOracle(objective="val_loss")


def metrics():
    return compiled()._compile_metrics


def imported(module):
    """A module that is private as a whole."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        pytest.fail(f"There is no private module `{module}` any more: {error}.")


# By module: the private names, and what has to have them.
NAMES = {
    "common/models.py": {"_layers": functional},
    "conversion/model_copy.py": {
        "ObjectSharingScope": lambda: imported("keras.src.saving.serialization_lib"),
    },
    "example_weight/callback.py": {"_jax_state_synced": compiled},
    "example_weight/example_values.py": {
        "_compile_loss": functional,
        "_compile_metrics": functional,
        "_flat_losses": lambda: compiled()._compile_loss,
        "_y_pred_build_structure": lambda: compiled()._compile_loss,
        "_flat_metrics": metrics,
        "_flat_weighted_metrics": metrics,
        "_flatten_y": metrics,
        "_fn": lambda: keras.metrics.MeanSquaredError(),
        "_fn_kwargs": lambda: keras.metrics.MeanSquaredError(),
        "_direction": lambda: keras.metrics.MeanSquaredError(),
    },
    "layers/backend.py": {
        "GraphOrParentsInXlaContext": lambda: imported(
            "tensorflow.python.ops.control_flow_util"
        ),
        "optimization_barrier": lambda: imported(
            "tensorflow.compiler.tf2xla.python.xla"
        ),
    },
    "layers/example_weight_variable.py": {
        "_value": lambda: keras.Variable(0.0),
        "_trackable_children": layers.BatchNormalization,
    },
    "layers/ghost_batch_normalization.py": {"_moments": layers.BatchNormalization},
    "tuner/grid_search.py": {
        "_ordered_ids": oracle,
        "_memory": lambda: oracle()._ordered_ids,
        "_compare": oracle,
        "_populate_next": oracle,
    },
    "weight_decay/graph.py": {"_nodes_by_depth": functional},
    "weight_decay/optimizer.py": {
        "_use_weight_decay": keras.optimizers.AdamW,
        "_exclude_from_weight_decay": lambda: excluding(),
        "_exclude_from_weight_decay_pattern": lambda: excluding(),
    },
}
ON_ONE_BACKEND = {
    "GraphOrParentsInXlaContext": "tensorflow",
    "optimization_barrier": "tensorflow",
    "_jax_state_synced": "jax",
    "_trackable_children": "tensorflow",
}


def excluding():
    optimizer = keras.optimizers.AdamW()
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module in NAMES for name in NAMES[module]]
)
def test_the_name_is_there(module, name):
    backend = ON_ONE_BACKEND.get(name)
    if backend and keras.backend.backend() != backend:
        pytest.skip(f"it is a name on {backend} only")
    if module.startswith("tuner") and not importlib.util.find_spec("keras_tuner"):
        pytest.skip("Keras Tuner isn't installed")
    owner = NAMES[module][name]()
    assert hasattr(owner, name), (
        f"{getattr(owner, '__name__', type(owner).__name__)} has no attribute "
        f"`{name}` any more, which "
        f"keras_bn4/{module} uses. See the comment there for what it is good for."
    )


def own_names():
    """All names that the package itself gives to something."""
    found = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                found.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
    return found - {name for names in NAMES.values() for name in names}


def test_private_names_stand_in_one_module_each():
    # Of `namedtuple`, of descriptors and of `os`, which document them.
    own = own_names() | {
        "_replace",
        "_fields",
        "_exit",
        "_ghost_batch_size",
        "_groups",
    }
    for path in ROOT.rglob("*.py"):
        module = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            for name in names_at(node):
                is_private = name.startswith("_") and not name.startswith("__")
                if is_private and name not in own:
                    assert name in NAMES.get(module, {}), (module, name)


ASKING = ("getattr", "hasattr", "setattr")


def names_at(node):
    """The attributes that an expression reads or asks for."""
    if isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ASKING:
        yield from (x.value for x in node.args[1:2] if isinstance(x, ast.Constant))


PRIVATE_MODULES = ("keras.src", "keras_tuner.src", "tensorflow.python")
PRIVATE_MODULES += ("tensorflow.compiler", "jax._src", "torch._")


def test_private_modules_are_imported_in_one_module_each():
    # Which module of the package uses what of a private module.
    found = {}
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [alias.name for alias in node.names]
                modules = [f"{node.module}.{name}" for name in names]
            else:
                continue
            for module in modules:
                if module.startswith(PRIVATE_MODULES):
                    place = path.relative_to(ROOT).as_posix()
                    assert found.setdefault(module, place) == place
    assert found == {
        "keras.src.saving.serialization_lib.ObjectSharingScope": (
            "conversion/model_copy.py"
        ),
        "tensorflow.python.ops.control_flow_util": "layers/backend.py",
        "tensorflow.compiler.tf2xla.python.xla": "layers/backend.py",
    }

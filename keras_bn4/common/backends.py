"""Validation that Keras and its backend are installed."""

import json
import os
import pathlib

BACKENDS = ("tensorflow", "jax", "torch")


def check_backend():
    """Raises a clear `ImportError` if Keras or its backend cannot be imported."""
    try:
        import keras  # noqa: F401 - imports its backend
    # Keras raises a `ValueError` for an unknown backend.
    except (ImportError, ValueError) as error:
        # Only a broken installation needs the traceback of Keras.
        is_missing = isinstance(error, ModuleNotFoundError)
        raise ImportError(_what_to_do(error)) from (None if is_missing else error)


def _what_to_do(error):
    backends = f"{', '.join(BACKENDS[:-1])} and {BACKENDS[-1]}"
    if isinstance(error, ModuleNotFoundError) and error.name == "keras":
        return (
            f"keras_bn4 needs Keras 3, which is not installed ({error}): install it, "
            f"`pip install keras`, and one of its backends, {backends}."
        )
    backend, source = _chosen_backend()
    if backend not in BACKENDS:
        return (
            f"Keras' backend '{backend}', chosen by {source}, is not supported by "
            f"keras_bn4 ({error}): set the environment variable KERAS_BACKEND to one "
            f"of {backends}."
        )
    return (
        f"Keras' backend '{backend}', chosen by {source}, is not installed or cannot "
        f"be imported ({error}): install it, `pip install {backend}`, or set the "
        f"environment variable KERAS_BACKEND to another one of {backends}."
    )


def _chosen_backend():
    """The name of the backend and what chooses it, by the rules of Keras.

    Keras itself cannot be asked after its import has failed.
    """
    if name := os.environ.get("KERAS_BACKEND"):
        return name, "KERAS_BACKEND"
    folder = os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras"
    path = pathlib.Path(folder, "keras.json")
    try:
        return json.loads(path.read_text())["backend"], str(path)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "tensorflow", "Keras by default"

"""Weights of a finished training that another one starts from (transfer learning)."""

import zipfile

import numpy as np

from keras_bn4.common.errors import reason_of
from keras_bn4.common.files import written_whole

# Kernel and bias of the last layer, whose classes are those of its own data.
HEAD = 2


def keep(model, path):
    """Writes the weights of a model into a file, the whole of it or none."""
    with written_whole(path) as unfinished:
        np.savez(unfinished, *model.get_weights())


def start_from(path, model):
    """Gives a model the weights that `keep` wrote, but for those of its last layer.

    How the layers of either normalize doesn't matter, since all of them have the same
    weights. Only batch renormalization has others.

    Raises:
        ValueError: if there is no such file, or it has other weights.
    """
    own = model.get_weights()
    try:
        # `np.load` of a path leaves a broken file open.
        with open(path, "rb") as raw, np.load(raw) as file:
            weights = [file[f"arr_{i}"] for i in range(len(file.files))]
        model.set_weights([*weights[:-HEAD], *own[-HEAD:]])
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
        record = path.parent.parent / "records" / f"{path.stem}.json"
        raise ValueError(
            f"{path} has no weights to start from ({reason_of(error)}). Remove "
            f"{record} to repeat the training that they come from."
        ) from error

"""What `search` is given for `fit`: completed, and checked before anything trains."""

import inspect

import keras

from keras_bn4.common.batches import iterate, split
from keras_bn4.common.models import check_compiled
from keras_bn4.example_weight import sweep_example_weight


def by_name(fit, model, args, kwargs):
    """The arguments of a call of `fit`, all by their names.

    Args:
        fit: The function to call; one with `*args` hands them to `model.fit`.
        model: The `keras.Model` to train.
        args: Tuple of positional arguments.
        kwargs: Dict of keyword arguments.

    Returns:
        A pair: list of the names of the positional ones, and a dict of all.
    """
    parameters = inspect.signature(fit).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        parameters = inspect.signature(model.fit).parameters
    names = list(parameters)[: len(args)]
    return names, {**dict(zip(names, args)), **kwargs}


def with_validation(arguments, batch_size):
    """Arguments of `fit` with validation data of their own, and of a sweep on these.

    Args:
        arguments: Dict of arguments of `fit`.
        batch_size: Integer, the examples in a minibatch where the data are arrays, or
            `None` for what `fit` makes of it.

    Returns:
        A pair of dicts: arguments of `fit`, and of `keras_bn4.sweep_example_weight`.

    Raises:
        ValueError: if there are no validation data.
    """
    arguments = dict(arguments)
    leaves = keras.tree.flatten(arguments.get("x"))
    is_arrays = all(hasattr(leaf, "shape") for leaf in leaves)
    if is_arrays and batch_size is not None:
        arguments.setdefault("batch_size", batch_size)
    fraction = arguments.pop("validation_split", None)
    if arguments.get("validation_data") is None and fraction:
        if not is_arrays:
            raise ValueError(
                "Argument `validation_split` goes with arrays. Give `validation_data`."
            )
        parts = ("x", "y", "sample_weight")
        train, rest = split(*map(arguments.get, parts), fraction)
        train = {k: v for k, v in zip(parts, train) if k in arguments}
        arguments.update(train, validation_data=rest)
    data = arguments.get("validation_data")
    if data is None:
        raise ValueError(
            "The example weight and the objective need validation data, and there are "
            "none. Give `validation_data` or `validation_split` to `search`."
        )
    if isinstance(data, (tuple, list)):
        sweep = dict(zip(("x", "y", "sample_weight"), data))
        sizes = map(arguments.get, ("validation_batch_size", "batch_size"))
        sweep["batch_size"] = next(filter(None, sizes), None)
    else:
        sweep = {"x": data}
    return arguments, {**sweep, "steps": arguments.get("validation_steps")}


def check_batch_size(arguments, batch_size):
    """Raises `ValueError` if minibatches have another size.

    Args:
        arguments: Dict of arguments of `fit`. Of a data set the first minibatch is
            looked at, but of iterators, which would lose it.
        batch_size: Integer.
    """
    data, size = arguments.get("x"), arguments.get("batch_size")
    if size is None and not hasattr(data, "__next__"):
        first = next(iterate(data, steps=1)[0], None)
        size = None if first is None else len(keras.tree.flatten(first[0])[0])
    if size not in (None, batch_size):
        raise ValueError(
            f"The search trains with minibatches of {size} examples, and its "
            f"hypermodel was made for batch_size={batch_size}. Give both the same."
        )


def check_objective(objective, model, validation):
    """Raises `ValueError` unless a model can be judged by an objective.

    Args:
        objective: `keras_tuner.Objective`.
        model: A built `keras.Model`.
        validation: Dict of arguments of `keras_bn4.sweep_example_weight`, the data.
    """
    check_compiled(model)
    # One batch is enough, and an error if the data have no end.
    iterate(**validation)
    first = {**validation, "steps": 1}
    sweep = sweep_example_weight(model, **first, example_weights=(), verbose=0)
    known = [f"val_{name}" for name in sweep.metrics]
    wanted = getattr(objective, "name_to_direction", [objective.name])
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(
            f"Unknown objective {unknown}: validation reports {known}. Give the tuner "
            "one of these, such as "
            "`objective=keras_tuner.Objective('val_accuracy', 'max')`, or compile the "
            "model with the metric."
        )

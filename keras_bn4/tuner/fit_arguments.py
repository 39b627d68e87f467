"""Completion and validation of the arguments of `fit`, before anything trains."""

import inspect
import warnings

import keras

from keras_bn4.common.batches import are_arrays, check_repeatable, iterate, split
from keras_bn4.common.models import check_compiled
from keras_bn4.example_weight import sweep_example_weight


def by_name(fit, model, args, kwargs):
    """Names all arguments of a call of `fit`.

    If `fit` takes `*args`, it is assumed to pass them on to `model.fit`.

    Returns:
        A pair of the list of the names of the positional arguments, and the dict of all
        arguments by their names.
    """
    parameters = inspect.signature(fit).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        parameters = inspect.signature(model.fit).parameters
    names = list(parameters)[: len(args)]
    return names, {**dict(zip(names, args)), **kwargs}


def with_validation(arguments, batch_size):
    """Replaces `validation_split` by validation data, which a sweep can use as well.

    Args:
        arguments: Dict of arguments of `fit`.
        batch_size: Integer, the batch size if the data are arrays and `arguments` have
            none, or `None` to leave it to `fit`.

    Returns:
        A pair of dicts: arguments of `fit`, and arguments of
        `keras_bn4.sweep_example_weight` for the validation data.

    Raises:
        ValueError: if there are no validation data, if data are an iterator that is
            exhausted after the first trial, or if `validation_split` is used with
            anything but arrays.
    """
    arguments = dict(arguments)
    is_arrays = are_arrays(arguments.get("x"))
    if is_arrays and batch_size is not None:
        arguments.setdefault("batch_size", batch_size)
    fraction = arguments.pop("validation_split", None)
    if arguments.get("validation_data") is None and fraction:
        if not is_arrays:
            raise ValueError(
                "Argument `validation_split` can only be used with arrays. Give "
                f"`validation_data` instead. Received: validation_split={fraction!r}."
            )
        parts = ("x", "y", "sample_weight")
        train, rest = split(*map(arguments.get, parts), fraction)
        train = {k: v for k, v in zip(parts, train) if k in arguments}
        arguments.update(train, validation_data=rest)
    data = arguments.get("validation_data")
    if data is None:
        raise ValueError(
            "The example weight and the objective need validation data, and none were "
            "given. Pass `validation_data` or `validation_split` to `search`."
        )
    check_repeatable("validation_data", data, arguments.get("validation_steps"))
    check_repeatable("x", arguments.get("x"), arguments.get("steps_per_epoch"))
    if isinstance(data, (tuple, list)):
        sweep = dict(zip(("x", "y", "sample_weight"), data))
        sizes = map(arguments.get, ("validation_batch_size", "batch_size"))
        sweep["batch_size"] = next(filter(None, sizes), None)
    else:
        sweep = {"x": data}
    return arguments, {**sweep, "steps": arguments.get("validation_steps")}


def check_batch_size(arguments, batch_size):
    """Raises `ValueError` if minibatches have another size than `batch_size`.

    The first minibatch of a data set is read to see its size, except from an iterator,
    which would lose it.
    """
    data, size = arguments.get("x"), arguments.get("batch_size")
    if size is None and not hasattr(data, "__next__"):
        first = next(iterate(data, steps=1)[0], None)
        size = None if first is None else len(keras.tree.flatten(first[0])[0])
    if size not in (None, batch_size):
        raise ValueError(
            f"The search trains with minibatches of {size} examples, but its "
            f"hypermodel was made for batch_size={batch_size}. Use the same size in "
            "both."
        )


def check_objective(objective, model, validation):
    """Raises `ValueError` unless validation of a model reports an objective.

    The data are arguments of `keras_bn4.sweep_example_weight`.
    """
    check_compiled(model)
    # An error if the data have no end and `steps` is missing.
    iterate(**validation)
    # One batch shows what is reported.
    first = {**validation, "steps": 1}
    with warnings.catch_warnings():
        # The sweep of the trial warns.
        warnings.simplefilter("ignore", UserWarning)
        sweep = sweep_example_weight(model, **first, example_weights=(), verbose=0)
    known = [f"val_{name}" for name in sweep.metrics]
    wanted = getattr(objective, "name_to_direction", [objective.name])
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(
            f"Unknown objective {unknown}: validation reports {known}. Give the tuner "
            "one of these, as in "
            "`objective=keras_tuner.Objective('val_accuracy', 'max')`, or compile the "
            "model with the missing metric."
        )

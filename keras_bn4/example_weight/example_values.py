"""Values of losses and metrics by example, for intervals of paired differences.

`keras.Model.evaluate` returns one number for each metric. Whether two example weights
differ by more than chance depends on the numbers of every example, at both of them.
This is the only module that uses private names of Keras' compiled losses and metrics,
for which there are no public ones. If one of them is missing or has another meaning,
there are no values, and no intervals.
"""

import contextlib

import keras
from keras import ops, tree

from keras_bn4.example_weight.metric_attributes import attributes_kept

# Where the values are among the logs of a test step.
KEY = "keras_bn4_example_values"


@contextlib.contextmanager
def added_to_logs(model):
    """Makes the test steps of a model add the values of all examples to their logs.

    Its test function has to be made and traced within the block. It does so only where
    the test step is Keras' own, which returns what `compute_metrics` returns, and where
    a single replica sees the whole batch.
    """
    is_keras_step = str(model.test_step.__module__).startswith("keras.")
    strategy = getattr(model, "distribute_strategy", None)
    if not is_keras_step or getattr(strategy, "num_replicas_in_sync", 1) > 1:
        yield
        return
    compute_metrics = model.compute_metrics

    def with_values(x, y, y_pred, sample_weight=None):
        logs = compute_metrics(x, y, y_pred, sample_weight)
        values = _example_values(model, y, y_pred, sample_weight)
        return {**logs, KEY: values} if values else logs

    with method_replaced(model, "compute_metrics", with_values):
        yield


@contextlib.contextmanager
def method_replaced(model, name, function):
    """Replaces a method of a model by a function, and restores it afterwards."""
    own = vars(model).get(name)
    object.__setattr__(model, name, function)
    try:
        yield
    finally:
        if own is None:
            object.__delattr__(model, name)
        else:
            object.__setattr__(model, name, own)


def _example_values(model, y, y_pred, sample_weight):
    """Dict by metric of pairs of tensors: every example's value, and its weight.

    A loss or metric that returns one number for a batch, such as `keras.losses.Dice`,
    or one for each class, has no values of examples.
    """
    found = {}
    # An error here means that a metric is not made as expected. It has no values then.
    with contextlib.suppress(Exception):
        found.update(_metric_values(model, y, y_pred, sample_weight))
    with contextlib.suppress(Exception):
        found.update(_loss_values(model, y, y_pred, sample_weight))
    return found


def _loss_values(model, y, y_pred, sample_weight):
    compiled = model._compile_loss
    found, total = {}, 0.0
    for part in compiled._flat_losses:
        arguments = [
            _output(compiled, values, part.path)
            for values in (y, y_pred, sample_weight)
        ]
        values = _unreduced(part.loss, *arguments)
        if values is None:
            total = None
            continue
        if len(compiled._flat_losses) > 1:
            found[f"{part.name}_loss"] = (values, ops.ones_like(values))
        weight = 1.0 if part.loss_weights is None else part.loss_weights
        total = None if total is None else total + weight * values
    if total is not None:
        # What regularizers add is the same for all examples, and cancels.
        found["loss"] = (total, ops.ones_like(total))
    return found


def _output(compiled, values, path):
    """What belongs to one of several outputs, by its path in the compiled losses."""
    if not tree.is_nested(values):
        return values
    if isinstance(values, dict) and compiled.output_names:
        values = [values[name] for name in compiled.output_names]
    values = tree.pack_sequence_as(
        compiled._y_pred_build_structure, tree.flatten(values)
    )
    for key in path:
        values = values[key]
    return values


def _unreduced(loss, y_true, y_pred, sample_weight):
    """What every example adds to a loss, so that the mean is the loss, or `None`."""
    # One number for a batch is one for each example once it is weighted.
    unweighted = loss.call(
        *tree.map_structure(
            lambda x: ops.convert_to_tensor(x, loss.dtype), (y_true, y_pred)
        )
    )
    if _by_example(unweighted, y_pred) is None:
        return None
    reduced = loss(y_true, y_pred, sample_weight)
    reduction = loss.reduction
    loss.reduction = "none"
    try:
        values = _by_example(loss(y_true, y_pred, sample_weight), y_pred)
    finally:
        loss.reduction = reduction
    # Reductions differ in what they divide by, which is the same for all examples.
    return values * ops.divide_no_nan(ops.cast(reduced, values.dtype), ops.mean(values))


def _metric_values(model, y, y_pred, sample_weight):
    found = {}
    names = compiled_names(model)
    rows = _metrics_with_output(model._compile_metrics, y, y_pred, sample_weight)
    for name, (metric, y_true, prediction, weight) in zip(names, rows):
        # Other metrics, such as AUC, are not an average over examples.
        if isinstance(metric, keras.metrics.MeanMetricWrapper):
            values = metric._fn(y_true, prediction, **metric._fn_kwargs)
            values = _by_example(values, prediction)
            if values is not None:
                weight = ops.ones_like(values) if weight is None else weight
                found[name] = (values, _by_example(weight, prediction))
    return found


def _metrics_with_output(compiled, y, y_pred, sample_weight):
    """Every metric, in the order of its names, with what it is computed from."""

    def by_output(values, count):
        values = [None] if values is None else compiled._flatten_y(values)
        return values * count if len(values) < count else values

    for lists, weights in (
        (compiled._flat_metrics, None),
        (compiled._flat_weighted_metrics, sample_weight),
    ):
        columns = (by_output(t, len(lists)) for t in (y, y_pred, weights))
        for metrics, *arguments in zip(lists, *columns):
            for metric in metrics.metrics if metrics else ():
                yield metric, *arguments


def compiled_names(model):
    """The names of the compiled metrics, or `[]` where they can't be told apart."""
    compiled = getattr(model, "_compile_metrics", None)
    if compiled is None:
        return []
    # Without the variables, which have no values within `evaluate` on JAX. Attributes
    # are reset nevertheless.
    with attributes_kept(compiled.metrics):
        names = list(compiled.stateless_result(compiled.stateless_reset_state()))
    return names if len(names) == len(compiled.metrics) else []


def metrics_by_name(model):
    """Dict of a model's metrics by the names that `evaluate` gives them.

    It lacks those whose result is a dict.
    """
    compiled = getattr(model, "_compile_metrics", None)
    found = {metric.name: metric for metric in model.metrics if metric is not compiled}
    with contextlib.suppress(Exception):
        found.update(zip(compiled_names(model), compiled.metrics))
    return found


def metrics_with_attributes(model):
    """The metrics of a model that may change their attributes in a step."""
    if model.run_eagerly or keras.backend.backend() == "torch":
        return list(metrics_by_name(model).values())
    return []


def direction(name, metrics):
    """Whether a metric is best at its `"min"` or `"max"`, or `None` if it doesn't say.

    Args:
        name: String, the name of the metric.
        metrics: Dict as `metrics_by_name` returns it.
    """
    # Keras tracks the losses of several outputs with a `Mean`.
    is_loss = name.endswith("_loss") and type(metrics.get(name)) is keras.metrics.Mean
    if name == "loss" or is_loss:
        return "min"
    # Private, because Keras itself asks it nowhere else for the direction of a metric.
    value = getattr(metrics.get(name), "_direction", None)
    return {"up": "max", "down": "min"}.get(value)


def _by_example(values, y_pred):
    """A value for each example, or `None` where there are no values by example."""
    shape, n = tuple(values.shape), tree.flatten(y_pred)[0].shape[0]
    if not shape or shape[0] not in (n, None):
        return None
    values = ops.cast(values, "float32")
    axes = list(range(1, len(shape)))
    return ops.mean(values, axes) if axes else values

"""One pass over the data: losses, metrics, and what each example adds to them.

`keras.Model.evaluate` tells one number a metric. To say whether two settings of a
model differ by more than chance takes the numbers of every example, of both, on the
same batches. This room is the only one that looks into how Keras compiles losses and
metrics.
"""

import copy

import keras
from keras import ops, tree


class Evaluation:
    """Losses and metrics of one setting of a model, summed over batches.

    Attributes:
        metrics: Dict of results, by the names and of the values that
            `keras.Model.evaluate` gives them.
        examples: Dict of pairs of float arrays, for each metric that is a mean over
            examples: every example's own value, and its weight, in the last batch.
    """

    def __init__(self, metric_state):
        self.metric_state = metric_state
        self.metrics = {}
        self.examples = {}
        self.loss_sums = {}
        self.seen = 0


class Evaluator(keras.Model):
    """Evaluates a compiled model by batches, in a function that is traced once.

    A model around the model, so that Keras compiles it, on any backend, as it compiles
    `predict`.

    Args:
        model: A built and compiled `keras.Model`.
        batch: A tuple `(x, y, sample_weight)` of arrays, the first batch.
    """

    def __init__(self, model, batch):
        super().__init__(name=f"evaluator_of_{model.name}", dtype="float32")
        self.autocast = False
        self.model = model
        self.compile(jit_compile=model.jit_compile, run_eagerly=model.run_eagerly)
        model._symbolic_build(data_batch=batch)
        self.built = True
        self._compiled_names = []
        if model._compile_metrics is not None:
            state = model._compile_metrics.stateless_reset_state()
            self._compiled_names = list(model._compile_metrics.stateless_result(state))
        if keras.backend.backend() == "tensorflow":
            self._trace_for_any_batch_size(self._pack(batch, self.new().metric_state))

    def new(self):
        """An `Evaluation` of nothing yet."""
        metrics = self.model._compile_metrics
        state = [] if metrics is None else metrics.stateless_reset_state()
        return Evaluation([ops.convert_to_numpy(value) for value in state])

    def add(self, evaluation, batch):
        """Adds a batch `(x, y, sample_weight)` to an evaluation."""
        result = self.predict_on_batch(self._pack(batch, evaluation.metric_state))
        n = tree.flatten(batch[0])[0].shape[0]
        evaluation.seen += n
        for name, value in result["losses"].items():
            total = evaluation.loss_sums.get(name, 0.0) + n * float(value)
            evaluation.loss_sums[name] = total
            evaluation.metrics[name] = total / evaluation.seen
        evaluation.metric_state = result["metric_state"]
        if self._compiled_names:
            metrics = self.model._compile_metrics
            state = [ops.convert_to_tensor(v) for v in evaluation.metric_state]
            for name, value in metrics.stateless_result(state).items():
                evaluation.metrics[name] = float(value)
        evaluation.examples = result["examples"]

    @property
    def metric_names(self):
        """Names of all losses and metrics, as `keras.Model.evaluate` names them."""
        loss = self.model._compile_loss
        if loss is None:
            return self._compiled_names
        return ["loss", *(part.name for part in loss.metrics), *self._compiled_names]

    def direction(self, name):
        """`"min"`, `"max"`, or `None` where the metric doesn't say."""
        if name not in self._compiled_names:
            return "min"
        metric = self.model._compile_metrics.metrics[self._compiled_names.index(name)]
        direction = getattr(metric, "_direction", None)
        return {"up": "max", "down": "min"}.get(direction)

    def call(self, data):
        x, y, sample_weight = (data.get(k) for k in ("x", "y", "sample_weight"))
        y_pred = self.model(x, training=False)
        losses, examples = {}, {}
        if self.model._compile_loss is not None:
            losses, examples = self._loss_values(x, y, y_pred, sample_weight)
        state = data.get("metric_state", [])
        if self._compiled_names:
            state = self.model._compile_metrics.stateless_update_state(
                state, y, y_pred, sample_weight
            )
            examples.update(self._metric_examples(y, y_pred, sample_weight))
        return {"losses": losses, "examples": examples, "metric_state": state}

    def _loss_values(self, x, y, y_pred, sample_weight):
        # It updates the model's own trackers of losses, which must stay as they are.
        state = [(variable, variable.value) for variable in self.model.variables]
        with keras.StatelessScope(state_mapping=state):
            total = self.model.compute_loss(x, y, y_pred, sample_weight, training=False)
        total = _of_all_replicas(total)
        losses, examples = {"loss": total}, {}
        parts = self.model._compile_loss._flat_losses
        sum_of_parts = 0.0
        for part in parts:
            arguments = [self._part(t, part.path) for t in (y, y_pred, sample_weight)]
            loss = _of_all_replicas(part.loss(*arguments))
            values = _example_losses(part.loss, loss, *arguments)
            if len(parts) > 1:
                name = f"{part.name}_loss"
                losses[name], examples[name] = loss, (values, ops.ones_like(values))
            weight = 1.0 if part.loss_weights is None else part.loss_weights
            sum_of_parts = sum_of_parts + weight * values
        # Regularization is the same for all examples.
        rest = total - ops.mean(sum_of_parts)
        examples["loss"] = (sum_of_parts + rest, ops.ones_like(sum_of_parts))
        return losses, examples

    def _part(self, values, path):
        """What belongs to one of several outputs, by its path in the losses."""
        if not tree.is_nested(values):
            return values
        compiled = self.model._compile_loss
        if isinstance(values, dict) and compiled.output_names:
            values = [values[name] for name in compiled.output_names]
        values = tree.pack_sequence_as(
            compiled._y_pred_build_structure, tree.flatten(values)
        )
        for key in path:
            values = values[key]
        return values

    def _metrics_with_output(self, y, y_pred, sample_weight):
        """Every metric, in the order of its names, with what it is computed from."""
        compiled = self.model._compile_metrics

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

    def _metric_examples(self, y, y_pred, sample_weight):
        examples = {}
        rows = self._metrics_with_output(y, y_pred, sample_weight)
        for name, (metric, y_true, prediction, weight) in zip(
            self._compiled_names, rows
        ):
            # Others, like AUC, are no mean over examples.
            if isinstance(metric, keras.metrics.MeanMetricWrapper):
                values = metric._fn(y_true, prediction, **metric._fn_kwargs)
                values = _by_example(ops.cast(values, "float32"))
                if weight is None:
                    weights = ops.ones_like(values)
                else:
                    weights = _by_example(ops.cast(weight, "float32"))
                examples[name] = (values, weights)
        return examples

    def _pack(self, batch, metric_state):
        packed = dict(zip(("x", "y", "sample_weight"), batch))
        packed = {k: v for k, v in packed.items() if v is not None}
        if len(metric_state):
            packed["metric_state"] = list(metric_state)
        return packed

    def _trace_for_any_batch_size(self, packed):
        """One trace, although the last batch may be shorter."""
        import tensorflow as tf

        self.make_predict_function()
        if tf.distribute.has_strategy():
            # On one replica: the examples of a batch have to stay together.
            predict_step = self.predict_step
            self.predict_function = lambda data: predict_step(*data)
            if not self.run_eagerly:
                self.predict_function = tf.function(self.predict_function)
        if self.run_eagerly:
            return

        def spec(leaf, shape):
            return tf.TensorSpec(shape, keras.backend.standardize_dtype(leaf.dtype))

        def any_size(leaf):
            return spec(leaf, [None, *leaf.shape[1:]])

        specs = {
            key: [spec(leaf, leaf.shape) for leaf in value]
            if key == "metric_state"
            else tree.map_structure(any_size, value)
            for key, value in packed.items()
        }
        self.predict_function = self.predict_function.get_concrete_function([(specs,)])


def _of_all_replicas(loss):
    """Keras divides a loss by the replicas of the strategy in whose scope it is."""
    if keras.backend.backend() != "tensorflow":
        return loss
    import tensorflow as tf

    return loss * tf.distribute.get_strategy().num_replicas_in_sync


def _by_example(values):
    axes = list(range(1, len(values.shape)))
    return ops.mean(values, axes) if axes else values


def _example_losses(loss, reduced, y_true, y_pred, sample_weight):
    """What each example adds to a loss: values whose mean is the reduced loss."""
    single = copy.copy(loss)
    single.reduction = "none"
    values = _by_example(ops.cast(single(y_true, y_pred, sample_weight), "float32"))
    # Reductions differ in what they divide by, which is the same for all examples.
    return values * ops.divide_no_nan(reduced, ops.mean(values))

"""A test function that runs every step of `evaluate` at many example weights.

What a step changes is kept apart for each setting of the weights: the states of
metrics above all, besides recurrent states and the seeds of random layers.
"""

import contextlib
import itertools

import numpy as np
from keras import ops

from keras_bn4.example_weight.example_values import KEY, metrics_with_attributes
from keras_bn4.example_weight.metric_attributes import (
    attributes_of,
    give_attributes,
)
from keras_bn4.example_weight.step_state import (
    are_equal,
    assign_changed,
    assignment,
    example_weight_variables,
    recurrent_states,
    value_of,
)


class _SweptFunction:
    """A test function that runs every step at every setting.

    The first setting comes last in every step, so that `evaluate` shows its metrics and
    ends with them.
    """

    def __init__(self, model, layers, settings, on_step):
        self.model = model
        self.layers = layers
        self.settings = settings
        self.order = range(len(settings))[::-1]
        self.on_step = on_step
        self.logs = None
        # The model's own test function, which runs a step.
        self.test_function = None

    def batches(self, iterator):
        """The batches of one execution, for which a model can have several steps."""
        batches = list(itertools.islice(iterator, self.model.steps_per_execution))
        if not batches:
            raise StopIteration
        return batches

    def begin(self):
        """Prepares for the first step, when all variables of metrics are there."""
        self.logs = [None] * len(self.settings)
        self.metrics = metrics_with_attributes(self.model)
        self.attributes = [attributes_of(self.metrics)] * len(self.settings)

    def end_step(self):
        """Passes on the logs of the step at each setting."""
        self.logs = [dict(logs) for logs in self.logs]
        self.on_step(self.logs, [logs.pop(KEY, {}) for logs in self.logs])

    def results(self):
        """The results of `evaluate` for each setting, `[]` if there was no batch."""
        if self.logs is None:
            return []
        found = []
        for i, logs in enumerate(self.logs):
            for variable, value in zip(self.model.metrics_variables, self.states[i]):
                variable.assign(value)
            give_attributes(self.metrics, self.attributes[i])
            results = self.model.get_metrics_result()
            # A custom test step may return something else than metrics.
            found.append(dict(flat(results if set(results) == set(logs) else logs)))
        return found


class StatefulFunction(_SweptFunction):
    """On TensorFlow and PyTorch, where a step assigns to variables."""

    @contextlib.contextmanager
    def state_kept(self):
        own = {id(v) for v in example_weight_variables(self.layers)}
        states = recurrent_states(self.model)
        others = [*self.model.non_trainable_variables, *states]
        self.others = [v for v in others if id(v) not in own]
        others = [value_of(v) for v in self.others]
        metrics = [value_of(v) for v in self.model.metrics_variables]
        try:
            yield
        finally:
            assign_changed(self.others, others)
            if len(metrics) == len(self.model.metrics_variables):
                assign_changed(self.model.metrics_variables, metrics)

    def __call__(self, iterator):
        batches = self.batches(iterator)
        if self.logs is None:
            self._try_a_step(batches[0])
        for batch in batches:
            for i in self.order:
                self.assign([*self.weights[i], *self.states[i]])
                give_attributes(self.metrics, self.attributes[i])
                self.logs[i] = self.test_function([batch])
                self.states[i] = [value_of(v) for v in self.restored]
                self.attributes[i] = attributes_of(self.metrics)
            self.end_step()
        return self.logs[0]

    def _try_a_step(self, batch):
        """Runs a step and undoes it, to see what a step creates and changes.

        Some metrics create variables in their first step. A step may change recurrent
        states and the seeds of random layers.
        """
        for setting in self.settings:
            # Assigned by the layers once, which may have to warn of a weight.
            for layer, weight in zip(self.layers, setting):
                layer.example_weight = weight
        before = [value_of(v) for v in self.others]
        self.test_function([batch])
        after = [value_of(v) for v in self.others]
        changed = [not are_equal(*pair) for pair in zip(before, after)]
        assign_changed(self.others, before)
        self.model.reset_metrics()
        self.begin()
        self.restored = [
            *self.model.metrics_variables,
            *itertools.compress(self.others, changed),
        ]
        first = [value_of(v) for v in self.restored]
        self.states = [first] * len(self.settings)
        variables = example_weight_variables(self.layers)
        self.weights = [
            [np.asarray(weight, v.dtype) for v, weight in zip(variables, setting)]
            for setting in self.settings
        ]
        self.assign = assignment(self.test_function, [*variables, *self.restored])


class StatelessFunction(_SweptFunction):
    """On JAX, where a step takes the state of the model and returns the new one."""

    @contextlib.contextmanager
    def state_kept(self):
        # `evaluate` hands the memory of all variables to a compiled function, and an
        # error there would leave the model without them.
        variables = [*self.model.variables, *self.model.metrics_variables]
        values = [value_of(v) for v in variables]
        try:
            yield
        finally:
            for variable, value in zip(variables, values):
                variable.assign(value)

    def __call__(self, state, iterator):
        batches = self.batches(iterator)
        if self.logs is None:
            state = self._try_a_step(state, batches[0])
        trainable, others, metrics = state
        for batch in batches:
            for i in self.order:
                others = [self.restored[i].get(*pair) for pair in enumerate(others)]
                give_attributes(self.metrics, self.attributes[i])
                self.logs[i], (trainable, others, metrics) = self.test_function(
                    (trainable, others, self.states[i]), iter([batch])
                )
                self.states[i] = metrics
                self.restored[i] = {place: others[place] for place in self.places}
                self.attributes[i] = attributes_of(self.metrics)
            self.end_step()
        return self.logs[0], (trainable, others, metrics)

    def _try_a_step(self, state, batch):
        """Runs a step and undoes it, to see what a step changes.

        That can be recurrent states and the seeds of random layers, besides the example
        weights, which are set here.
        """
        import jax

        self.begin()
        _, others, metrics = state
        before = [np.array(value) for value in others]
        shardings = [value.sharding for value in others]
        first = [np.array(value) for value in metrics]
        _, (trainable, others, _) = self.test_function(state, iter([batch]))
        variables = {id(v): i for i, v in enumerate(self.model.non_trainable_variables)}
        own = [variables[id(v)] for v in example_weight_variables(self.layers)]
        changed = [
            place
            for place, value in enumerate(before)
            if place not in own and not are_equal(np.asarray(others[place]), value)
        ]
        self.places = [*own, *changed]
        self.states, self.restored = [], []
        for setting in self.settings:
            # Every setting needs its own memory, which a step takes over.
            self.states.append([jax.numpy.array(value) for value in first])
            values = {**dict(enumerate(before)), **dict(zip(own, setting))}
            self.restored.append(
                {
                    place: jax.device_put(
                        np.asarray(values[place], before[place].dtype),
                        shardings[place],
                    )
                    for place in self.places
                }
            )
        return trainable, others, first


def flat(logs):
    """Logs as pairs of a name and a float, as `evaluate` flattens and converts them.

    The elements of a vector get the names `name_0`, `name_1`, and so on.
    """
    for name, value in logs.items():
        if isinstance(value, dict):
            yield from flat(value)
            continue
        value = ops.convert_to_numpy(value) if ops.is_tensor(value) else value
        if np.ndim(value) == 0:
            yield name, float(value)
        else:
            for index, element in np.ndenumerate(value):
                yield "_".join((name, *map(str, index))), float(element)

"""The example weight as the state of a layer: a variable that is not a weight."""

import json
import pathlib
import warnings

import keras
from keras import ops

from keras_bn4.common.arguments import check_example_weight

# A layer's file among the assets of a saved model.
ASSET = "example_weight.json"


class ExampleWeightVariable(keras.Variable):
    """A scalar that is also known as a Python number on PyTorch.

    There a branch on a tensor waits for the device, and tracers refuse it.
    """

    def __init__(self, number, dtype):
        super().__init__(
            # Keras' initializer `Constant` would round to float32.
            initializer=lambda shape, dtype: ops.convert_to_tensor(number, dtype),
            shape=(),
            dtype=dtype,
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
            name="example_weight",
        )
        self._number = number

    @property
    def number(self):
        """The value as a float, or `None` where only a tensor has it."""
        # Private, because Keras does not say whether it infers shapes, or takes values
        # from a `keras.StatelessScope`, in place of the variable's own.
        return self._number if self.value is self._value else None

    def assign(self, value):
        assigned = super().assign(value)
        if keras.backend.backend() == "torch" and self.value is self._value:
            self._number = float(assigned)
        return assigned


class HasExampleWeight:
    """Gives a batch normalization layer the property `example_weight`.

    Setting it has to take effect in functions that are already compiled, on all
    backends, and it must not be one of the layer's weights, or checkpoints would not
    fit `keras.layers.BatchNormalization`. A Python float is a constant in a compiled
    function; so is, on JAX, a variable that the layer's `variables` do not list; and
    whatever Keras tracks is a weight. So this is a variable that Keras does not track,
    and that `variables` lists, except on PyTorch, where Keras makes the `state_dict` of
    a model of all that they list.
    """

    def _set_initial_example_weight(self, value):
        """Takes the example weight that the constructor was given."""
        self._example_weight = check_example_weight(value)
        self._example_weight_variable = None
        self._has_single_position = False
        self._has_warned_of_constant_output = False

    def build_example_weight(self, input_shape):
        """Creates the variable behind `example_weight`.

        Args:
            input_shape: Shape tuple of the inputs that the layer was built for.
        """
        self._has_single_position = all(
            size == 1
            for i, size in enumerate(input_shape)
            if i not in (0, self._channel_axis)
        )
        variable = ExampleWeightVariable(self._example_weight, self.variable_dtype)
        # `object.__setattr__` goes past Keras' tracking of variables.
        object.__setattr__(self, "_example_weight_variable", variable)
        self._warn_of_constant_output()

    @property
    def variables(self):
        """The weights and, except on PyTorch, the example weight."""
        variables = super().variables
        if (
            self._example_weight_variable is not None
            and keras.backend.backend() != "torch"
        ):
            variables.append(self._example_weight_variable)
        return variables

    @property
    def variable_dtype(self):
        """The dtype of all variables: not half precision, which would overflow."""
        dtype = self.dtype_policy.variable_dtype
        return "float32" if dtype in ("float16", "bfloat16") else dtype

    def save_assets(self, inner_path):
        """Writes the example weight into the file of a whole model.

        A model's configuration holds it as well, but not where a subclassed model or
        another layer creates this layer: loaded, it would have the constructor's value.
        Files of weights have no assets, so that they fit Keras' layer.
        """
        path = pathlib.Path(inner_path, ASSET)
        path.write_text(json.dumps(self.example_weight))

    def load_assets(self, inner_path):
        """Reads what `save_assets` wrote; files of earlier versions don't hold it."""
        path = pathlib.Path(inner_path or "", ASSET)
        if inner_path and path.exists():
            self.example_weight = json.loads(path.read_text())

    def _trackable_children(self, save_type="checkpoint", **kwargs):
        # Private, because TensorFlow has no public way to tell `tf.saved_model.save` of
        # a variable that checkpoints must not hold.
        children = super()._trackable_children(save_type, **kwargs)
        if save_type == "savedmodel" and self._example_weight_variable is not None:
            variable = self._example_weight_variable.value
            children = {**children, "_example_weight_variable": variable}
        return children

    @property
    def example_weight(self) -> float:
        """The weight of the example's own statistics at inference, from 0 to 1."""
        if self._example_weight_variable is not None:
            try:
                value = self._example_weight_variable.numpy()
            except (TypeError, NotImplementedError):
                # On JAX `fit` takes the values of variables away while it trains, and
                # TensorFlow has none while it traces.
                return self._example_weight
            # Returns the float that was given, 0.1 and not 0.10000000149011612, unless
            # something else has assigned to the variable since.
            if value != value.dtype.type(self._example_weight):
                return float(value)
        return self._example_weight

    @example_weight.setter
    def example_weight(self, value: float):
        self._example_weight = check_example_weight(value)
        if self._example_weight_variable is not None:
            self._example_weight_variable.assign(self._example_weight)
            self._warn_of_constant_output()

    def _warn_of_constant_output(self):
        if self._example_weight < 1 or self._has_warned_of_constant_output:
            return
        if self._has_single_position and self.channels_per_group == 1:
            self._has_warned_of_constant_output = True
            warnings.warn(
                f"Layer '{self.name}' normalizes single numbers. At example_weight=1 "
                "each of them is normalized by itself alone, so that the output at "
                "inference is `beta` whatever the input. Use an example_weight below "
                "1.",
                stacklevel=3,
            )

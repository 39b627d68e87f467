"""A callback that recalibrates before every validation."""

import keras
from keras import ops

from keras_bn4.common.arguments import check_flag, check_integer, check_verbose
from keras_bn4.common.batches import check_data, check_repeatable
from keras_bn4.moving_statistics.recalibration import recalibrate
from keras_bn4.moving_statistics.recorder import training_layers


class Recalibration(keras.callbacks.Callback):
    """Recalibrates the moving statistics before every validation and after training.

    Moving averages lag behind weights that change fast, and do not fit weights that
    were averaged. With this callback `fit` validates the network with the mean and
    variance of `data` at the very weights that are validated, as
    `keras_bn4.recalibrate` computes them. These may be averaged weights, which
    `keras.callbacks.SwapEMAWeights` puts in place, before or after this callback in the
    list. At the end of training the statistics are recalibrated once more, for the
    weights that the model keeps, such as the averages of an optimizer with
    `use_ema=True`. Put this callback after those that replace weights in their
    `on_train_end`, such as `EarlyStopping(restore_best_weights=True)`.

    The model keeps these statistics until training moves them on, so that a
    `ModelCheckpoint` saves what was validated; if it follows `SwapEMAWeights`, that one
    needs `swap_on_epoch=True`. Training itself does not use moving statistics, except
    with `renorm`. With `restore=True` their averages go on as if there had been no
    validation.

    All of this holds on TensorFlow, JAX and PyTorch, in `fit` and in `evaluate`. (On
    JAX, variables that a callback assigns between two batches are lost. Those assigned
    before the first batch of a validation, and between epochs, are kept.)

    Args:
        data: Inputs as `keras_bn4.recalibrate` takes them, augmented as in training,
            that can be read many times.
        batch_size: Positive integer, or `None` for 32. Only used if `data` is arrays.
        steps: Positive integer, how many batches to use each time, or `None` for all.
        restore: Whether the model gets the statistics of training back after each
            validation.
        verbose: 0 or `"auto"`/1, whether to show a progress bar each time.

    Raises:
        ValueError: if an argument is not as above, or `data` is an iterator and `steps`
            is not given. In `fit`, as `keras_bn4.recalibrate`.

    Examples:
        >>> import keras, keras_bn4, numpy as np
        >>> x = np.random.default_rng(0).normal(5, 1, (64, 3))
        >>> model = keras.Sequential(
        ...     [keras.Input((3,)), keras.layers.BatchNormalization()]
        ... )
        >>> model.compile(keras.optimizers.SGD(0.01, use_ema=True), "mse")
        >>> callbacks = [keras.callbacks.SwapEMAWeights(), keras_bn4.Recalibration(x)]
        >>> history = model.fit(
        ...     x, x, validation_data=(x, x), callbacks=callbacks, verbose=0
        ... )
        >>> np.allclose(model.layers[0].moving_mean, x.mean(0), rtol=1e-5)
        True
    """

    def __init__(
        self,
        data,
        *,
        batch_size: int | None = None,
        steps: int | None = None,
        restore: bool = False,
        verbose: str | int = 0,
    ):
        super().__init__()
        check_data(data)
        for name, value in (("batch_size", batch_size), ("steps", steps)):
            if value is not None:
                check_integer(name, value)
        check_flag("restore", restore)
        check_verbose(verbose)
        check_repeatable("data", data, steps)
        self.data = data
        self.restore = restore
        self._arguments = {"batch_size": batch_size, "steps": steps, "verbose": verbose}
        self._before = ()

    def on_test_begin(self, logs=None):
        # An interrupted validation has no end.
        self.on_test_end()

    def on_train_begin(self, logs=None):
        self.on_test_end()

    def on_test_batch_begin(self, batch, logs=None):
        # In `on_test_begin` the averaged weights of a later callback are not there yet.
        if batch == 0:
            if self.restore:
                self._before = [
                    (variable, ops.convert_to_numpy(variable))
                    for layer in training_layers(self.model)
                    for variable in layer.non_trainable_variables
                ]
            self._recalibrate()

    def on_test_end(self, logs=None):
        for variable, value in self._before:
            variable.assign(value)
        self._before = ()

    def on_train_end(self, logs=None):
        self._recalibrate()

    def _recalibrate(self):
        recalibrate(self.model, self.data, **self._arguments)

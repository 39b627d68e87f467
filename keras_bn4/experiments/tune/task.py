"""The data and the network of a search, and how the network is trained."""

import functools

import keras

from keras_bn4 import datasets, demo
from keras_bn4.common.models import BatchNormalization
from keras_bn4.demo import networks
from keras_bn4.tuner import HyperBatchNormalization

BATCH_SIZE = 64


class Task:
    """The data and the network of a search.

    Args:
        settings: Dict with `"dataset"`, `"examples"` and `"epochs"`; see `search.run`.
        data_dir: The folder of tensorflow-datasets.

    Attributes:
        train, validation, test: Pairs `(x, y)` of arrays.
        epochs: Integer, the number of epochs in a training.
        execution: Integer, how many trainings of the present trial have begun.
    """

    def __init__(self, settings, data_dir=None):
        names = ("train", "validation", "test")
        self._is_digits = settings["dataset"] == "digits"
        if not self._is_digits:
            n = settings["examples"]
            names = (f"train[:{n}]", f"train[{n}:{n * 6 // 5}]", "test")
        try:
            self.train, self.validation, self.test = datasets.load(
                settings["dataset"], names, data_dir=data_dir
            )
        except ValueError as error:
            if self._is_digits or "train[" not in str(error):
                raise
            raise ValueError(
                f"{error} Training takes as many images as `examples` says, and "
                f"validation a fifth more. Received: examples={n}."
            ) from error
        self.epochs = settings["epochs"]
        self.execution = 0

    def network(self, seed):
        """Makes and compiles the network with Keras' layer, initialized by a seed."""
        keras.utils.set_random_seed(seed)
        x, y = self.train
        steps = -(-len(x) // BATCH_SIZE) * self.epochs
        if self._is_digits:
            model = demo.build()
            optimizer = keras.optimizers.Adam(demo.LEARNING_RATE)
        else:
            normalization = functools.partial(
                BatchNormalization, momentum=demo.MOMENTUM
            )
            model = networks.resnet(
                x.shape[1:], int(y.max()) + 1, 1, normalization=normalization
            )
            schedule = keras.optimizers.schedules.CosineDecay(0.1, steps)
            optimizer = keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True)
        # With decay, the loss includes its penalty. This metric does not.
        cross_entropy = keras.metrics.SparseCategoricalCrossentropy(
            name="cross_entropy", from_logits=True
        )
        model.compile(
            optimizer,
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy", cross_entropy],
        )
        return model

    def hypermodel(self, seed, by_execution=False):
        """Makes the hypermodel, where each execution may have a seed of its own."""

        def build(hp):
            # Steps of 1000 keep these seeds apart from those of the repeats.
            return self.network(seed + by_execution * 1000 * self.execution)

        return HyperBatchNormalization(build, batch_size=BATCH_SIZE)

    def fit(self, model, objective):
        """Trains a model, then restores its best epoch by the objective at weight 0."""
        best_epoch = keras.callbacks.EarlyStopping(
            objective.name,
            patience=self.epochs,
            mode=objective.direction,
            restore_best_weights=True,
        )
        model.fit(
            *self.train,
            batch_size=BATCH_SIZE,
            epochs=self.epochs,
            validation_data=self.validation,
            callbacks=[best_epoch],
            verbose=0,
        )

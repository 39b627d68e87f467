"""Minibatches that are not i.i.d. (Sec. 4.4)."""

import collections

import keras
import numpy as np

from keras_bn4.common.arguments import check_integer


def non_iid_batches(
    x,
    y,
    batch_size: int,
    *,
    classes_per_batch: int = 1,
    batches: int | None = None,
    seed: int = 0,
) -> keras.utils.PyDataset:
    """Makes minibatches that each hold examples of only a few classes.

    This is the setting of Sec. 4.4, where the statistics of a minibatch say little
    about those of the data. Every minibatch draws `classes_per_batch` classes at
    random, with replacement as in the paper, and an equal number of examples for each
    draw. These repeat an example only if the class has too few. The order within a
    minibatch is random, so that ghosts hold several classes too.

    Args:
        x: Array of shape `(n, ...)`.
        y: Array of class labels of shape `(n,)` or `(n, 1)`.
        batch_size: Positive integer, a multiple of `classes_per_batch`. All
            minibatches have this size.
        classes_per_batch: Positive integer, at most the number of classes.
        batches: Positive integer, the number of minibatches in an epoch. `None` for as
            many as are needed for `n` examples.
        seed: Non-negative integer. The same seed gives the same minibatches, which
            differ from epoch to epoch.

    Returns:
        A `keras.utils.PyDataset` of pairs `(x, y)`, for `model.fit` or a `for` loop.

    Raises:
        ValueError: if an argument is not as above.

    Examples:
        >>> from keras_bn4.datasets import load
        >>> x, y = load("digits", "train")
        >>> dataset = non_iid_batches(x, y, 64, classes_per_batch=2)
        >>> images, labels = dataset[0]
        >>> len(dataset), images.shape, len(np.unique(labels)) <= 2
        (4, (64, 8, 8, 1), True)
    """
    return _NonIIDBatches(x, y, batch_size, classes_per_batch, batches, seed)


class _NonIIDBatches(keras.utils.PyDataset):
    def __init__(self, x, y, batch_size, classes_per_batch, batches, seed):
        super().__init__()
        self.x, self.y = np.asarray(x), np.asarray(y)
        n = len(self.y) if self.y.ndim else 0
        if not n or self.y.size != n or self.x.ndim == 0 or len(self.x) != n:
            raise ValueError(
                "Expected one class label for each example of `x`, at least one: `y` "
                "of shape (n,) or (n, 1). Received: "
                f"x.shape={self.x.shape}, y.shape={self.y.shape}."
            )
        if self.y.dtype.kind == "f" and np.isnan(self.y).any():
            raise ValueError(
                "The class labels `y` must not be NaN. Received: NaN in "
                f"{int(np.isnan(self.y).sum())} of {n} labels."
            )
        classes, positions = np.unique(self.y.reshape(n), return_inverse=True)
        self.members = [np.flatnonzero(positions == i) for i in range(len(classes))]
        self.batch_size = check_integer("batch_size", batch_size)
        self.per_batch = check_integer("classes_per_batch", classes_per_batch)
        if self.per_batch > len(classes) or self.batch_size % self.per_batch:
            raise ValueError(
                "Argument `classes_per_batch` must divide `batch_size` and be at most "
                f"the number of classes, {len(classes)}. Received: "
                f"classes_per_batch={classes_per_batch}, batch_size={batch_size}."
            )
        if batches is None:
            batches = -(-n // self.batch_size)
        self.batches = check_integer("batches", batches)
        self.seed = check_integer("seed", seed, least=0)
        self.epoch = 0

    def __len__(self):
        return self.batches

    def __getitem__(self, index):
        # A `for` loop over the data set needs this error to end.
        if not 0 <= index < self.batches:
            raise IndexError(f"Minibatch {index} of {self.batches}.")
        rng = np.random.default_rng([self.seed, self.epoch, index])
        share = self.batch_size // self.per_batch
        draws = rng.integers(len(self.members), size=self.per_batch)
        chosen = [
            # A class that is drawn twice has two shares, of different examples.
            np.resize(rng.permutation(self.members[i]), share * times)
            for i, times in collections.Counter(draws.tolist()).items()
        ]
        chosen = rng.permutation(np.concatenate(chosen))
        return self.x[chosen], self.y[chosen]

    def on_epoch_end(self):
        self.epoch += 1

"""Arrays for `fit`, `evaluate` and `predict` that do not delay their end.

TensorFlow tunes how arrays are read, in a thread that sleeps in between, each time
twice as long. Where all cores are busy, these functions return only when that thread
wakes up, which can take as long as all steps took.
"""

import keras


def minibatches(x, y=None, *, batch_size):
    """Keyword arguments that give a model these arrays in this order.

    `fit` also needs `shuffle=False`, and `predict` has no `y`.
    """
    if keras.backend.backend() != "tensorflow":
        labels = {} if y is None else {"y": y}
        return {"x": x, **labels, "batch_size": batch_size}
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    examples = tf.data.Dataset.from_tensor_slices((x,) if y is None else (x, y))
    # A known size, as arrays have it: without, results differ in the last bit.
    is_whole = len(x) % batch_size == 0
    batches = examples.batch(batch_size, drop_remainder=is_whole).prefetch(1)
    return {"x": batches.with_options(options)}

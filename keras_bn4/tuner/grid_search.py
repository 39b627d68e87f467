"""Lets Keras Tuner's grid search go on where it was killed."""

import functools


def restore_grid(callbacks):
    """Lets a grid search go on that was killed, which its oracle can't by itself.

    It doesn't save which trials it has made: keras-tuner#1055.
    """
    for callback in callbacks:
        oracle = getattr(getattr(callback, "tuner", None), "oracle", None)
        ordered = getattr(oracle, "_ordered_ids", None)
        if ordered is None or ordered._memory:
            continue
        values = {k: trial.hyperparameters.values for k, trial in oracle.trials.items()}
        compare = functools.cmp_to_key(
            lambda a, b, o=oracle, v=values: o._compare(v[a], v[b])
        )
        for trial_id in sorted(values, key=compare):
            ordered.insert(trial_id)
        oracle._populate_next = list(oracle.start_order)

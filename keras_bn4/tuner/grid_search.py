"""Lets an interrupted grid search of Keras Tuner continue."""

import functools


def restore_grid(callbacks):
    """Restores what the oracle of a grid search forgets when it is interrupted.

    `keras_tuner.oracles.GridSearchOracle` saves its trials, but neither their order in
    the grid nor the queue of those to continue from (keras-tuner#1055). Both are
    rebuilt from the trials here. One of the callbacks that the tuner passes to `fit`
    holds the tuner. Nothing is done if its search is not a grid search.
    """
    for callback in callbacks:
        oracle = getattr(getattr(callback, "tuner", None), "oracle", None)
        # Private, because the order in the grid has no public name, and only a grid
        # search has one. `_memory` is empty where it was forgotten; the list has no
        # public length.
        ordered = getattr(oracle, "_ordered_ids", None)
        if ordered is None or ordered._memory:
            continue
        values = {k: trial.hyperparameters.values for k, trial in oracle.trials.items()}
        # Private, because no public name compares trials by their place in the grid.
        compare = functools.cmp_to_key(
            lambda a, b, o=oracle, v=values: o._compare(v[a], v[b])
        )
        for trial_id in sorted(values, key=compare):
            ordered.insert(trial_id)
        # Private, because the queue has no public name.
        oracle._populate_next = list(oracle.start_order)

"""Conversion of Keras models to the layers of this package, and back."""

import collections
from collections.abc import Callable

import keras

from keras_bn4.common.arguments import (
    check_example_weight,
    check_flag,
    check_function,
    check_ghost_batch_size,
    check_groups,
)
from keras_bn4.common.models import check_built, layers_of, name_of
from keras_bn4.common.tables import listed
from keras_bn4.conversion.converted_parts import keep_in_files
from keras_bn4.conversion.model_copy import copy_of
from keras_bn4.conversion.replacement import (
    CHANGEABLE,
    LAYERS,
    UNCHANGED,
    batch_normalizations,
    convertible_layers,
    replace_all,
    replacements_of,
)
from keras_bn4.layers.arguments import keras_arguments, meant

OVERRIDES = (*CHANGEABLE, "variance_tracking")


class ConversionReport(
    collections.namedtuple(
        "ConversionReport", ["converted", "skipped", "notes"], defaults=[()]
    )
):
    """The attribute `conversion_report` of a converted or reverted model.

    Attributes:
        converted: Tuple of the paths of converted layers.
        skipped: Tuple of pairs of the path of a layer and the reason it was skipped.
        notes: Tuple of strings, what could not be copied.
    """

    def __repr__(self):
        counts = f"{len(self.converted)} layers converted, {len(self.skipped)} skipped"
        notes = f", {len(self.notes)} notes" if self.notes else ""
        return f"<ConversionReport: {counts}{notes}>"

    def __str__(self):
        lines = [f"{len(self.converted)} converted, {len(self.skipped)} skipped"]
        lines += [f"  converted  {path}" for path in self.converted]
        lines += [f"  skipped    {path}: {reason}" for path, reason in self.skipped]
        lines += [f"  note       {note}" for note in self.notes]
        return "\n".join(lines)


def convert(
    model: keras.Model,
    *,
    ghost_batch_size: int | None = UNCHANGED,
    groups: int | Callable[[keras.layers.Layer], int] | None = UNCHANGED,
    example_weight: float = UNCHANGED,
    select: Callable[[keras.layers.Layer], bool] | None = None,
    in_place: bool = False,
    **overrides,
) -> keras.Model:
    """Replaces `keras.layers.BatchNormalization` by the layers of this package.

    It reaches every layer of exactly that class, and every layer of this package,
    wherever it is: in Functional, Sequential, nested and subclassed models, shared,
    wrapped, or inside other layers. Weights, names, `trainable`, dtype policies, the
    class of the model, its compile configuration and the slots of its optimizer stay.
    Without `example_weight` and `groups` the predictions stay as well.

    An argument that is not given keeps the value of a layer of this package, and gives
    Keras' layer the behaviour of Keras' layer. So a converted model can be converted
    again to change one thing.

    The model is saved, loaded and copied as converted. Subclassed models and layers
    that create their layers themselves become instances of a subclass of the same name
    for that. Files need `import keras_bn4` to load.

    Args:
        model: A built `keras.Model`.
        ghost_batch_size: Positive integer or `None`; see `GhostBatchNormalization`.
        groups: `None` for `GhostBatchNormalization`. For `BatchGroupNormalization`
            a positive integer that divides the channels of every layer, -1 for as
            many groups as channels, or a function of the layer that returns any of
            these.
        example_weight: Float from 0 to 1.
        select: `None` for all layers, or a function of a layer that says whether to
            convert it.
        in_place: Whether to convert the given model itself. By default it is left
            unchanged, and the model is copied as Keras saves and loads it; classes and
            functions do not have to be registered. Other models that share layers with
            a model converted in place, such as one that contains it, have to be
            compiled again, so convert the outermost one.
        **overrides: Arguments of the layers to set at the same time: `momentum`,
            `epsilon`, `beta_regularizer`, `gamma_regularizer`, `beta_constraint`,
            `gamma_constraint`, `synchronized`, `variance_tracking`.

    Returns:
        The converted model. Its `conversion_report` lists the layers that were
        converted, and those that were skipped, with the reason.

    Raises:
        ValueError: if an argument is not as above, if `groups` does not divide the
            channels of a layer, if the model is not built or has nothing to convert, or
            if Keras cannot rebuild it (then use `in_place=True`). The model is then
            unchanged.
        OSError: if the assets of layers, such as vocabularies, cannot be copied.

    Examples:
        >>> inputs = keras.Input((8, 8, 3))
        >>> features = keras.layers.Conv2D(16, 3)(inputs)
        >>> model = keras.Model(inputs, keras.layers.BatchNormalization()(features))
        >>> converted = convert(model, ghost_batch_size=16, example_weight=0.05)
        >>> converted.layers[-1].ghost_batch_size
        16
    """
    arguments = dict(overrides)
    if ghost_batch_size is not UNCHANGED:
        arguments["ghost_batch_size"] = check_ghost_batch_size(ghost_batch_size)
    if example_weight is not UNCHANGED:
        arguments["example_weight"] = check_example_weight(example_weight)
    if groups is not UNCHANGED and groups is not None and not callable(groups):
        check_groups(groups)
    check_flag("in_place", in_place)
    check_function("select", select)
    unknown = sorted(set(overrides) - set(OVERRIDES))
    if unknown:
        own = ("ghost_batch_size", "groups", "example_weight", "select", "in_place")
        hints = {
            name: meant(name, [*own, *OVERRIDES])
            for name in unknown
            if name not in keras_arguments()
        }
        text = "".join(f"`{name}`: {hint}. " for name, hint in hints.items() if hint)
        raise ValueError(
            f"Unknown arguments {unknown}. {text}`convert` can set "
            f"{[*own[:3], *OVERRIDES]}, and takes `select` and `in_place`. "
            "Other arguments would change the weights of a layer or its place in the "
            "model; build the model with them instead."
        )
    layers, skipped = convertible_layers(model, select)
    new_layers = replacements_of(layers, groups, arguments)
    return _apply(model, layers, new_layers, skipped, in_place)


def revert(
    model: keras.Model, *, force: bool = False, in_place: bool = False
) -> keras.Model:
    """Replaces the layers of this package by `keras.layers.BatchNormalization`.

    This is for export, or for programs that do not import this package. The ghost batch
    size is lost, which only matters for further training.

    Args:
        model: A built `keras.Model` with layers of this package.
        force: Whether to revert layers even if predictions change.
        in_place: Whether to revert the given model itself and not a copy.

    Returns:
        The reverted model, with a `conversion_report` as `convert` gives it.

    Raises:
        ValueError: if the model has no layer of this package, or if one has an
            `example_weight` or channel groups, which Keras' layer lacks, so that
            predictions would change, and `force` is not set.

    Examples:
        >>> inputs = keras.Input((4,))
        >>> model = keras.Model(inputs, keras.layers.BatchNormalization()(inputs))
        >>> converted = convert(model, ghost_batch_size=2)
        >>> type(revert(converted).layers[-1]) is keras.layers.BatchNormalization
        True
    """
    check_flag("force", force)
    check_flag("in_place", in_place)
    check_built(model)
    own = [
        layer
        for layer in batch_normalizations(model)
        if type(layer) in LAYERS and layer.built
    ]
    if not own:
        raise ValueError(
            f"Model '{model.name}' has no layer of keras_bn4 to revert. Pass a model "
            "that `keras_bn4.convert` has converted."
        )
    changing = []
    for layer in own:
        reasons = []
        if layer.example_weight:
            reasons.append(f"example_weight={layer.example_weight}")
        if layer.channels_per_group > 1:
            reasons.append(f"groups={layer.groups}")
        if reasons:
            changing.append(f"'{name_of(layer)}' ({', '.join(reasons)})")
    if changing and not force:
        raise ValueError(
            f"Reverting {len(changing)} of {len(own)} layers would change "
            f"predictions: {listed(changing)}. Set their example weight to 0 first "
            "(`keras_bn4.set_example_weight(model, 0)`), or revert with force=True."
        )
    return _apply(model, own, [None] * len(own), [], in_place)


def _apply(model, layers, new_layers, skipped, in_place):
    notes = ()
    if not in_place:
        copied, notes = copy_of(model)
        # By position, because layers that a subclassed model creates without a name get
        # new names in a copy.
        pairs = zip(batch_normalizations(model), batch_normalizations(copied))
        copies = {id(layer): copy_of_layer for layer, copy_of_layer in pairs}
        layers = [copies[id(layer)] for layer in layers]
        model = copied
    replace_all(layers, new_layers)
    for part in layers_of(model, keras.Model):
        # These were traced with the old layers. The optimizer stays.
        part.train_function = part.test_function = part.predict_function = None
    keep_in_files(model)
    model.conversion_report = ConversionReport(
        tuple(map(name_of, layers)), tuple(skipped), notes
    )
    return model

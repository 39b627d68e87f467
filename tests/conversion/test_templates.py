"""Which layers are converted, and what they are exchanged for."""

import keras
import pytest
from keras import layers

from keras_bn4 import BatchGroupNormalization, GhostBatchNormalization, convert
from keras_bn4.conversion.templates import UNCHANGED, convertible_layers, templates_of


def built(axis=-1, shape=(None, 4, 4), **arguments):
    layer = layers.BatchNormalization(axis=axis, **arguments)
    layer.build(shape)
    return layer


def test_templates_have_what_the_layers_had_and_the_arguments():
    ghosts = GhostBatchNormalization(ghost_batch_size=8, momentum=0.5, name="ghosts")
    groups = BatchGroupNormalization(2, example_weight=0.3, name="groups")
    for layer in (ghosts, groups):
        layer.build((None, 4))
    keras_layer = built(name="keras", epsilon=0.1)
    given = [ghosts, groups, keras_layer]

    def kinds(found):
        return [(type(x), getattr(x, "groups", None)) for x in found]

    found = templates_of(given, UNCHANGED, {"variance_tracking": "variance"})
    assert kinds(found) == [
        (GhostBatchNormalization, None),
        (BatchGroupNormalization, 2),
        (GhostBatchNormalization, None),
    ]
    assert [x.name for x in found] == ["ghosts", "groups", "keras"]
    assert {x.variance_tracking for x in found} == {"variance"}
    assert [x.ghost_batch_size for x in found] == [8, None, None]
    assert (found[0].momentum, found[1].example_weight) == (0.5, 0.3)
    assert found[2].epsilon == 0.1
    assert not any(x.built for x in found)
    by_layer = templates_of(given, lambda layer: 1 if layer is groups else 4, {})
    assert kinds(by_layer) == [(BatchGroupNormalization, n) for n in (4, 1, 4)]
    ungrouped = templates_of(given, None, {})
    assert kinds(ungrouped) == [(GhostBatchNormalization, None)] * 3


def test_all_misfits_are_named_at_once():
    wide = built(name="wide", shape=(None, 6))
    narrow = built(name="narrow", shape=(None, 8))
    fits = built(name="fits", shape=(None, 12))
    with pytest.raises(ValueError, match=r"2 of 3.*'wide'.*'narrow'") as error:
        templates_of([wide, narrow, fits], 12, {})
    # Those that divide 6, 8 and 12.
    assert "[1, 2], and -1" in str(error.value)
    renorm = built(name="renorm", renorm=True)
    with pytest.raises(ValueError, match=r"'renorm'.*ghosts"):
        templates_of([renorm], UNCHANGED, {"ghost_batch_size": 2})


# Keras warns of a layer that is never called.
@pytest.mark.filterwarnings("ignore:`build.*unbuilt state:UserWarning")
def test_layers_that_are_skipped_and_why():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.taken = layers.BatchNormalization(name="taken")
            self.left_out = layers.BatchNormalization(name="left_out")
            self.unused = layers.BatchNormalization(name="unused")
            self.of_examples = layers.BatchNormalization(axis=0, name="of_examples")

        def call(self, inputs):
            return self.of_examples(self.left_out(self.taken(inputs)))

    model = Model()
    model(keras.ops.ones((3, 4)))
    taken, skipped = convertible_layers(model, lambda layer: layer.name != "left_out")
    assert [layer.name for layer in taken] == ["taken"]
    reasons = {path.split("/")[-1]: reason for path, reason in skipped}
    assert list(reasons) == ["left_out", "unused", "of_examples"]
    assert "`select`" in reasons["left_out"]
    assert "never built" in reasons["unused"]
    assert "axis=0" in reasons["of_examples"]


def test_unknown_subclass_is_skipped_and_reported():
    @keras.saving.register_keras_serializable("test_convert")
    class Special(layers.BatchNormalization):
        pass

    inputs = keras.Input((4,))
    hidden = layers.BatchNormalization(name="plain")(Special(name="special")(inputs))
    converted = convert(keras.Model(inputs, hidden))
    report = converted.conversion_report
    assert report.converted == ("plain",)
    ((path, reason),) = report.skipped
    assert path == "special"
    assert "Special" in reason
    assert "special" in str(report)
    assert repr(report) == "<ConversionReport: 1 layers converted, 1 skipped>"
    assert type(converted.get_layer("special")) is Special

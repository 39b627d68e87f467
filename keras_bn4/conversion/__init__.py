"""Converts any Keras model to the layers of this package, and back.

Read `replacement`, `converted_parts`, `model_copy`, `convert_revert`.
"""

from keras_bn4.conversion.convert_revert import (
    ConversionReport,
    convert,
    revert,
)
from keras_bn4.conversion.replacement import convertible_layers

__all__ = ["ConversionReport", "convert", "convertible_layers", "revert"]

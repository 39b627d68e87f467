"""The reason of an error of Keras or a backend, without its frames."""

import re

LONGEST = 500
# What Keras appends to the cause: arguments of a call, and whole configurations.
APPENDED = (
    r"\n\s*Arguments received by |,?\s+using config=|\s*(Full object )?config[=:] ?\{"
)
COLORS = r"\x1b\[[\d;]*m"
# How TensorFlow's pipelines quote an error of Python.
PIPELINE = r"^\{\{function_node .*?\}\} (\w+Error: )?"
# How messages of TensorFlow's graphs go on before the reason.
FRAMES = (" ", "\t", "Detected at ", "Graph execution error")


def reason_of(error):
    """The first informative sentence of an error, on one line and without full stop.

    Keras colours its messages, puts the cause of an error last, and frames it with
    layers, arguments and configurations; TensorFlow quotes the stack of the graph
    before the reason.

    Args:
        error: An exception.
    """
    text = re.sub(COLORS, "", str(error)).rpartition("Exception encountered: ")[2]
    text = re.sub(PIPELINE, "", text)
    text = re.split(APPENDED, text)[0]
    lines = [line for line in text.splitlines() if line.strip()]
    if text.startswith("Graph execution error"):
        lines = [line for line in lines if not line.startswith(FRAMES)][-1:]
    lines = [x for x in lines if not x.startswith("Exception encountered when ")]
    if not lines:
        return type(error).__name__
    # A line that ends with a colon announces the next one; Keras breaks long ones.
    reason = lines[0].strip()
    for line in lines[1:]:
        goes_on = line.strip()[0].islower() and not reason.endswith(".")
        if not (reason.endswith(":") or goes_on):
            break
        reason += f" {line.strip()}"
    # Its message is nothing but the key.
    if isinstance(error, KeyError):
        reason = f"KeyError: {reason}"
    if len(reason) > LONGEST:
        return f"{reason[:LONGEST]} [...]"
    return reason.rstrip(".")


def is_of_tensorflow(error):
    """Whether an error is one that TensorFlow raises only while it computes."""
    return type(error).__module__.startswith("tensorflow.")


def is_of_data(error):
    """Whether an error can mean, on any backend, that data do not fit the model."""
    return is_of_tensorflow(error) or isinstance(
        error, (TypeError, ValueError, IndexError)
    )

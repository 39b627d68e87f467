"""What is worth quoting of an error of Keras or a backend."""

import re


def reason_of(error, most=300):
    """The first sentence of an error that says something, on one line.

    Without its full stop. Keras colours its messages, and frames them by the layers and
    arguments of a call; TensorFlow quotes the stack of the graph before the reason.

    Args:
        error: An exception.
        most: Integer, how many characters to return at the most.
    """
    text = re.sub(r"\x1b\[\d*m", "", str(error))
    text = re.split(r"\n\s*Arguments received by ", text)[0]
    lines = [line for line in text.splitlines() if line.strip()]
    if text.startswith("Graph execution error"):
        # The reason is the last line that is neither part of the stack nor of a node.
        frames = (" ", "\t", "Detected at ", "Graph execution error")
        lines = [line for line in lines if not line.startswith(frames)][-1:]
    lines = [x for x in lines if not x.startswith("Exception encountered when ")]
    return lines[0].strip()[:most].rstrip(".") if lines else type(error).__name__

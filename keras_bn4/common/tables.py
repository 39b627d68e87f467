"""Tables and lists as plain text, and tables as CSV files."""

import csv
import itertools

from keras_bn4.common.files import written_whole


def text(lines, left=0):
    """Aligns lines of cells in columns.

    Args:
        lines: List of lists of strings. A line that is shorter than the others is one
            of a heading or two, over the first columns.
        left: Integer, how many of the first columns are flush left. The others, which
            are numbers, are flush right.
    """
    columns = itertools.zip_longest(*lines, fillvalue="")
    widths = [max(map(len, column)) for column in columns]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )


def markdown(header, lines):
    """The same as a Markdown table, of a list of strings and a list of such lists."""
    rule = "|---" * len(header) + "|"
    return "\n".join(
        [_markdown_line(header), rule, *(_markdown_line(line) for line in lines)]
    )


def _markdown_line(cells):
    return f"| {' | '.join(cells)} |"


def some(texts, most=5):
    """The first of some texts, and how many more there are, in one line."""
    texts = list(texts)
    rest = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + rest


def span(values):
    """The smallest and the largest of some numbers, once if they are the same."""
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g}-{high:g}"


def to_csv(rows, path):
    """Writes rows, dicts with the same keys, as a CSV file with a header."""
    with written_whole(path) as unfinished, open(unfinished, "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)

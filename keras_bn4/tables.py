"""Tables as plain text and as CSV files."""

import csv


def text(lines, left=0):
    """Aligns lines of cells in columns.

    Args:
        lines: List of lists of strings, all of a length.
        left: Integer, how many of the first columns are flush left; the others, which
            are numbers, are flush right.
    """
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )


def span(values):
    """The smallest and the largest of some numbers, once if they are the same."""
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g}-{high:g}"


def to_csv(rows, path):
    """Writes rows, dicts with the same keys, as a CSV file with a header."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)

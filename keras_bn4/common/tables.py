"""Tables, lists and progress as plain text, and tables as CSV files."""

import csv
import itertools
import sys
from html import escape

import keras

from keras_bn4.common.files import written_whole


def text(lines, left=0):
    """Aligns lines of cells in columns, as plain text.

    Args:
        lines: List of lists of strings, the cells of each line. A line may have fewer
            cells than others, such as a heading over the lines below it.
        left: Integer, how many of the first columns are aligned left. The others, which
            hold numbers, are aligned right.
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


def folded(lines, left=0, *, keys=1, width=80):
    """The same as `text`, in several tables if one would be wider than `width`.

    Args:
        lines: Lists of strings, equally many cells in each line.
        left: Integer, how many of the first columns are aligned left.
        keys: Integer, how many of the first columns are repeated in each table.
        width: Integer, the characters of a line.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rest, parts = list(range(keys, len(widths))), []
    while rest:
        columns = list(range(keys))
        while rest and (
            len(columns) == keys
            or sum(widths[i] + 2 for i in [*columns, rest[0]]) <= width + 2
        ):
            columns.append(rest.pop(0))
        parts.append(text([[line[i] for i in columns] for line in lines], left))
    return "\n\n".join(parts)


def markdown(header, lines):
    """Makes a Markdown table.

    Args:
        header: List of strings, the cells of the header.
        lines: List of lists of strings, the cells of each line.
    """
    first, *others = (f"| {' | '.join(cells)} |" for cells in (header, *lines))
    return "\n".join([first, "|---" * len(header) + "|", *others])


def html(header, lines):
    """Makes an HTML table, as `markdown` does, for notebooks."""
    rows = [
        "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)
        for tag, cells in (("th", header), *(("td", line) for line in lines))
    ]
    return "\n".join(["<table>", *(f"<tr>{row}</tr>" for row in rows), "</table>"])


def to_dataframe(rows):
    """Makes a `pandas.DataFrame` of a list of dicts with the same keys.

    Raises:
        ImportError: if pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "A DataFrame needs pandas, which cannot be imported: `pip install pandas`."
        ) from error
    return pandas.DataFrame(rows)


def listed(texts, most=5):
    """Joins the first texts with commas, and says how many more there are."""
    texts = list(texts)
    rest = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + rest


def value_range(values):
    """Formats the range of some numbers, or their value if they are all the same."""
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g}-{high:g}"


def to_csv(rows, path):
    """Writes a list of dicts with the same keys as a CSV file with a header."""
    with (
        written_whole(path) as unfinished,
        open(unfinished, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def progress_bar(target, *, unit_name="step", verbose=1):
    """Makes a `keras.utils.Progbar`.

    Outside a terminal or notebook, such as in a file, it is only drawn every half a
    minute and at the end.

    Args:
        target: Integer, how many units there are, or `None` if that is not known.
        unit_name: String, what one unit of the work is called.
        verbose: Whether to show anything.
    """
    interval = {} if _is_screen() else {"interval": 30}
    return keras.utils.Progbar(
        target, verbose=int(bool(verbose)), unit_name=unit_name, **interval
    )


def verbose_of_evaluation(verbose):
    """The `verbose` of `model.evaluate`: `"auto"` is one line where nobody watches."""
    return 2 if verbose == "auto" and not _is_screen() else verbose


def _is_screen():
    is_terminal = getattr(sys.stdout, "isatty", lambda: False)()
    return is_terminal or type(sys.stdout).__module__.startswith("ipykernel")

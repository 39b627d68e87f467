"""Reproduction of the paper's figures and tables (`python -m keras_bn4.experiments`).

First the parts that all of them share: settings, data, resumable trainings, records and
their statistics. Then a module for each result, and last the reports, the page, and the
files of published records.

The module of a result has a lab note as its docstring; `TITLE`; `SEEDS` and `HOURS` (on
two processor cores) for the scales at which it is available; `trainings(scale, seed,
dataset)`, the list of `Settings` of a seed; `row_of(settings)`, their row in the table;
and functions of the rows that `rows.rows_of` makes: `table(rows)`, a text,
`claims(rows)`, a list of `Claim` where no row is missing, and `plot(rows)`, a figure. A
new result is a file and a line in `RESULTS` below.

Read `settings`, `images`, `weights`, `normalizations`, `training`, `runs`, `rows`,
`differences`, `figure3`, `figure4`, `figure1`, `table1`, `section3_3`, `section3_4`,
`figure2`, `table1_variants`, `table1_all_images`, `figure5a`, `figure5b`, `figure6`,
`appendix_c`, `summary`.
"""

from keras_bn4.experiments.reproduction import (
    appendix_c,
    figure1,
    figure2,
    figure3,
    figure4,
    figure5a,
    figure5b,
    figure6,
    section3_3,
    section3_4,
    table1,
    table1_all_images,
    table1_variants,
)

RESULTS = {
    "figure3": figure3,
    "figure4": figure4,
    "figure1": figure1,
    "table1": table1,
    "section3.3": section3_3,
    "section3.4": section3_4,
    "figure2": figure2,
    "table1-variants": table1_variants,
    "table1-all-images": table1_all_images,
    "figure5a": figure5a,
    "figure5b": figure5b,
    "figure6": figure6,
    "appendix-c": appendix_c,
}
# Figures in the paper's appendix of the same results, with larger example weights.
SUPPLEMENTS = {"figure1": "figure7", "figure2": "figure8", "figure4": "figure9"}

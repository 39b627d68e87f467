"""The figures and tables of the paper, made anew (`python -m keras_bn4.experiments`).

First the parts that all of them need: what a training is, what it is trained on, how it
goes on after an interruption, and how many workers share the trainings. Then what is
made of the records, and a module for each result, whose docstring is the lab note.

A module of a result has `TITLE`; `SEEDS` and `HOURS` (on two processor cores) by scale,
for those scales that it can be made at; `trainings(scale, seeds, dataset)`, a list of
`Settings`; `report(records)`, a text; and `draw(records, path)`, which writes a figure.
`RECORDS` is the folder with the records that come with the package.

Read `settings`, `images`, `weights`, `normalizations`, `training`, `claims`, `runs`,
`summary`, `figure3`, `figure4`, `figure1`, `table1`, `section3_3`, `section3_4`,
`figure2`, `table1_variants`, `table1_all_images`, `figure5a`, `figure5b`, `figure6`,
`appendix_c`, `page`.
"""

import pathlib

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
# The paper's figures of the same results, with larger ranges of example weights.
SUPPLEMENTS = {"figure1": "figure7", "figure2": "figure8", "figure4": "figure9"}
RECORDS = pathlib.Path(__file__).parent / "records"

"""Figure 6: output ranges of the last batch normalization, and their bound (App. B).

Question: Do outputs in training come closer to the bound of Eq. 2 the fewer elements
are normalized together, and do they exceed it at inference?

    python -m keras_bn4.experiments figure6

Setting: the trainings of Figure 3, with a fourth stage at the small scale, so that the
last normalization has 4 by 4 positions as in the paper: with ghosts of 2, B is 32. The
trained networks see the test images in minibatches of 128, once in training mode and
once in inference mode; the paper reports the range "observed during training". Outputs
are taken before γ and β. For networks from files, and for the digits in two minutes:
`python -m keras_bn4.experiments.discrepancy_by_ghost_size`. 3 seeds.

Selection: nothing.

Expected: At B = 32 the range in training reaches -5.30 of a bound of -5.57; at large B
it does not come near the bound. At inference it shows no pattern, and exceeds the bound
where B is small.

Seen, at the small scale: At B = 32 the range in training reaches 4.5 of a bound of
5.57, less than the paper's share. At inference it exceeds the bound for ghosts of 2 and
4, and for no larger ones; the largest values of ghosts of 2 differ much between seeds.
"""

from keras_bn4.experiments import discrepancy_by_ghost_size
from keras_bn4.experiments.reproduction import figure3
from keras_bn4.experiments.reproduction.differences import claim
from keras_bn4.experiments.reproduction.rows import at_zero

TITLE = "output ranges in training and at inference"
SEEDS = {"small": 3, "paper": 1}
HOURS = {"small": 0.8, "paper": None}
row_of = figure3.row_of


def trainings(scale, seed, dataset="cifar100"):
    here = {"measures_outputs": True, "example_weights": (0.0,)}
    if scale == "small":
        here["filters"] = (16, 32, 64, 128)
    every = figure3.trainings(scale, seed, dataset)
    return [settings.replace(**here) for settings in every]


def table(rows):
    return discrepancy_by_ghost_size.table(_networks(rows))


def _networks(rows):
    """What `discrepancy_by_ghost_size` makes its table and figure of."""
    found = []
    for size, row in rows.items():
        accuracies = at_zero(row, "accuracy")
        for seed, record in row.items():
            network = {"ghost_batch_size": size, "accuracy": accuracies[seed] / 100}
            found.append({**record["results"]["outputs"], **network})
    return found


def claims(rows):
    few, many = min(rows), max(rows)
    near, far = (_shares(rows[size], "training") for size in (few, many))
    out = {s: share - 100 for s, share in _shares(rows[few], "inference").items()}
    return [
        claim(
            f"in training, ghosts of {few} come closer to the bound than the whole "
            "batch, percent of the bound",
            *("95 at B = 32", near, far),
            sign=1,
            form=".1f",
        ),
        claim(
            f"at inference, outputs after ghosts of {few} exceed the bound, percent",
            *(None, out),
            sign=1,
            form=".1f",
        ),
    ]


def _shares(row, mode):
    """How much of the bound the outputs reach by seed, in percent."""
    shares = {}
    for seed, record in row.items():
        found = record["results"]["outputs"]
        ends = (found[f"{mode}_{end}"] for end in discrepancy_by_ghost_size.ENDS)
        shares[seed] = 100 * max(map(abs, ends)) / found["bound"]
    return shares


def plot(rows, ax=None):
    """Draws the ranges over the number of elements, as the paper does."""
    return discrepancy_by_ghost_size.plot(_networks(rows), ax)

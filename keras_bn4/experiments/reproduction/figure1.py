"""Figures 1 and 7: example weighing of networks with batch normalization.

Question: Do loss and accuracy of a network that was trained with batch normalization
gain from a little of an example's own statistics at inference, without retraining?

    python -m keras_bn4.experiments figure1

Setting: the trainings of Figure 3 with the whole batch, which is batch normalization,
and no others. The paper takes trained ImageNet networks instead; files of those are
weighed by `python -m keras_bn4.experiments.pretrained MODEL.keras`. Its Figure 7 has a
larger range of weights, which the figure here has at once. The paper shows validation
data. Here the weight is chosen on them, for accuracy and loss separately, and reported
on test data.

Selection: nothing but the weight.

Expected: For a ResNet-152 on ImageNet the loss falls by 4.7 %, relative, and the
accuracy grows by up to 0.6 points. (Top-5 accuracy, which isn't measured here, grows by
0.16.) The best weights are small, and the largest for the network whose minibatches
were the smallest.
"""

from keras_bn4.experiments.reproduction import figure3, figure4
from keras_bn4.experiments.reproduction.differences import Difference, claim
from keras_bn4.experiments.reproduction.rows import at_zero, gains

TITLE = "example weighing with batch normalization"
SEEDS = figure3.SEEDS
HOURS = {"small": 0.2, "paper": None}
row_of, table, plot = figure3.row_of, figure4.table, figure4.plot


def trainings(scale, seed, dataset="cifar100"):
    every = figure3.trainings(scale, seed, dataset)
    return [settings for settings in every if settings.ghost_batch_size is None]


def claims(rows):
    (row,) = rows.values()
    before = at_zero(row, "cross_entropy")
    changes = gains(row, "cross_entropy").items()
    fall = Difference.between({seed: 100 * c / before[seed] for seed, c in changes})
    rise = Difference.between(gains(row, "accuracy"))
    return [
        claim("weighing lowers the loss, in percent of it", -4.7, fall, -1, ".2f"),
        claim("weighing raises the accuracy, in points", 0.6, rise, 1, ".2f"),
    ]

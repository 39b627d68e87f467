"""Figures 1 and 7: example weighing of networks with batch normalization.

Question: Do loss and accuracy of a network that was trained with batch normalization
improve if inference uses a little of each example's own statistics, without retraining?

    python -m keras_bn4.experiments figure1

Setting: the trainings of Figure 3 with the whole batch, which is batch normalization,
and no others. The paper uses trained ImageNet networks instead; for files of trained
networks, use `python -m keras_bn4.experiments.pretrained MODEL.keras`. Its Figure 7 has
a larger range of weights, which the figure here includes. The paper shows validation
data. Here the weight is chosen on them, for accuracy and loss separately, and results
are reported on test data.

Selection: nothing but the weight.

Expected: For a ResNet-152 on ImageNet the loss falls by 4.7 %, relative, and the
accuracy rises by up to 0.6 points. (Top-5 accuracy, which is not measured here, rises
by 0.16.) The best weights are small, and largest for the network with the smallest
minibatches.
"""

from keras_bn4.experiments.reproduction import figure3, figure4
from keras_bn4.experiments.reproduction.differences import claim
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
    fall = {seed: 100 * change / before[seed] for seed, change in changes}
    rise = gains(row, "accuracy")
    fall_text = "weighing lowers the loss, in percent of it"
    rise_text = "weighing raises the accuracy, in points"
    return [
        claim(fall_text, -4.7, fall, sign=-1, form=".2f"),
        claim(rise_text, 0.6, rise, sign=1, form=".2f"),
    ]

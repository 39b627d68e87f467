"""Experiments that repeat findings of the paper, and measure the layers of keras_bn4.

They run in a clone, by `python -m keras_bn4.experiments`, and are not installed.
Nothing imports from here. The folders and modules are:

- `machine`: versions and hardware with which an experiment runs
- `command`: their command lines
- `trained`: trained networks, the data to measure them on, and intervals of means
- `pretrained`: example weighing of networks that are already trained (Fig. 1)
- `shift`: trained networks on shifted images, and what is recorded of them
- `imagenet`: ImageNet networks on corrupted photographs
- `recalibration_prior`: how many images the statistics of training should count for
- `discrepancy_by_ghost_size`: output ranges in training and at inference (Fig. 6)
- `tune`: a search with Keras Tuner, and what it is worth on test data
- `reproduction`: the figures and tables of the paper, at a small and at its own scale
- `speed`: how fast the layers are
- `distributed`: training on several replicas
- `multi_worker`: training on several machines
- `method_pictures`: the pictures on the pages of the methods

Read `machine`, `command`, `trained`, `pretrained`, `shift`, `imagenet`,
`recalibration_prior`, `discrepancy_by_ghost_size`, `tune`, `reproduction`, `speed`,
`distributed`, `multi_worker`, `method_pictures`.
"""

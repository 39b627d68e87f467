"""Experiments that repeat findings of the paper, and measure the layers of keras_bn4.

Only the command line imports from here. The folders and modules are:

- `records`: keeps finished results, so that an interrupted experiment can continue
- `machine`: with which versions and on what hardware an experiment runs
- `minibatches`: arrays as `fit` reads them without waiting at its end
- `networks`: the networks of the experiments
- `trained`: trained networks, data to measure them on, and intervals over these
- `corruptions`: images that are darker, foggier, blurred or noisier
- `temperature`: what the loss of the example weight is compared with
- `digits`: shifted handwritten digits, and the paper in miniature
- `pretrained`: example weighing of networks that are already trained (Fig. 1)
- `shift`: accuracy on shifted images, before and after what adapts a network
- `discrepancy_by_ghost_size`: output ranges in training and at inference (Fig. 6)
- `tune`: a search with Keras Tuner, and what it is worth on test data
- `reproduction`: the figures and tables of the paper, at a small and at its own scale
- `speed`: how fast the layers are
- `distributed`: training on several replicas
- `multi_worker`: training on several machines
- `method_pictures`: the pictures on the pages of the methods

Read `records`, `machine`, `minibatches`, `networks`, `trained`, `corruptions`,
`temperature`, `digits`, `pretrained`, `shift`, `discrepancy_by_ghost_size`, `tune`,
`reproduction`, `speed`, `distributed`, `multi_worker`, `method_pictures`.
"""

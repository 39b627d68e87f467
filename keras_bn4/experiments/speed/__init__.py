"""Speed of the layers, relative to `keras.layers.BatchNormalization`.

Question: Does a network train and predict as fast as with Keras' layer, and at which
shapes of inputs does it not?

Setting: One layer is measured, forward and backward, and at inference; and `fit` of a
ResNet-20, 8 minibatches of 128. TensorFlow runs graphs traced for an unknown batch
size, as `fit` traces them, JAX compiles, PyTorch runs eagerly. Each backend has a
process of its own. What is compared runs in turns within it, in alternating order.
Ratios are taken within a round, where both ran under the same load, and the tables have
medians over the rounds. `fit` gets its data from `minibatches`, because TensorFlow
would wait after the last step of arrays.

Command: `python -m keras_bn4.experiments speed`. Time: eight minutes on two CPU cores
for TensorFlow, JAX and PyTorch. `--publish` records the ratios and writes them to the
page of the layers, `--check` compares them with the recorded ones.

Expected: No layer takes longer than Keras' in training, or at inference with weight 0.

Read `steps`, `measurements`, `page`.
"""

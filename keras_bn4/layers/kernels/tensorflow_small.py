"""Training on ghosts too small for TensorFlow's fused kernel, by separate operations.

The fewest of them: starting an operation takes as long as a small one's work.
"""


def normalize_ghosts(x, gamma, beta, cut, count, epsilon):
    """Normalizes every ghost by its own moments (Eq. 1 and 4).

    Args:
        x: Tensor of shape `(n, ..., C)`, of which only `n` may be unknown.
        gamma, beta: Tensors of shape `(C,)`.
        cut: The `ghosts.Cut` of its examples into `k` ghosts.
        count: Float tensor of shape `(k, 1)`, the number of elements of each ghost.
        epsilon: Float, added to the variance.

    Returns:
        Outputs of the shape and dtype of `x`, means and variances `(k, C)`.
    """
    import tensorflow as tf

    # A batch without examples has an empty ghost.
    count = tf.maximum(count, 1)

    @tf.custom_gradient
    def normalize(x, gamma, beta):
        def forward(view, total, along):
            means = total(view(x)) / count
            deviation = view(x) - along(means)
            variances = total(tf.square(deviation)) / count
            scale = tf.math.rsqrt(variances + epsilon) * gamma
            outputs = tf.cast(deviation * along(scale) + beta, x.dtype)
            outputs = tf.reshape(outputs, [-1, *x.shape[1:]])
            return outputs, means, variances, deviation

        outputs, means, variances, deviation = _in_rows(forward, cut, x.shape[-1])

        def gradient(upstream, *_):
            def backward(view, total, along):
                inverse = tf.math.rsqrt(variances + epsilon)
                scale, dy = inverse * gamma, view(upstream)
                to_beta = total(dy)
                to_gamma = total(dy * deviation) * inverse
                to_x = dy * along(scale) - along(scale * to_beta / count)
                to_x -= deviation * along(scale * inverse * to_gamma / count)
                to_x = tf.reshape(tf.cast(to_x, x.dtype), [-1, *x.shape[1:]])
                return to_x, tf.reduce_sum(to_gamma, 0), tf.reduce_sum(to_beta, 0)

            return _in_rows(backward, cut, x.shape[-1])

        return (outputs, means, variances), gradient

    return normalize(x, gamma, beta)


def _in_rows(function, cut, channels):
    """Calls a function of `view`, `total` and `along`, which depend on the cut."""
    # `view` gives a tensor `(n, ..., C)` as float32 rows `(rows, length, C)`, `total`
    # sums a view by ghost to `(k, C)`, and `along` gives `(k, C)` the axes of a view.
    import tensorflow as tf

    def view(rows, tensor):
        return tf.cast(tf.reshape(tensor, [rows, -1, channels]), tf.float32)

    def of_equal_ghosts():
        return function(
            lambda tensor: view(cut.ghosts, tensor),
            lambda rows: tf.reduce_sum(rows, 1),
            lambda tensor: tensor[:, None],
        )

    def of_unequal_ghosts():
        n = cut.ghosts * cut.size + cut.longer
        ghost = cut.ghost_of(tf.range(n))

        def total(rows):
            sums = tf.reduce_sum(rows, 1)
            return tf.math.unsorted_segment_sum(sums, ghost, cut.ghosts)

        return function(
            lambda tensor: view(n, tensor),
            total,
            lambda tensor: tf.gather(tensor, ghost)[:, None],
        )

    if isinstance(cut.longer, int):
        return of_unequal_ghosts() if cut.longer else of_equal_ghosts()
    return tf.cond(cut.longer == 0, of_equal_ghosts, of_unequal_ghosts)

"""The cut of a batch into ghost batches (Sec. 3.2, Eq. 4).

Ghosts are contiguous runs of examples. A batch of `n` examples makes
`k = max(1, n // ghost_batch_size)` ghosts, cut as `numpy.array_split` cuts: the first
`n mod k` ghosts hold one example more than the others. So no ghost is smaller than
`ghost_batch_size` unless the batch is, and any batch consists of two runs of ghosts of
equal size.
"""

import collections

from keras import ops


class Cut(collections.namedtuple("Cut", ["ghosts", "size", "longer"])):
    """A cut of a batch into ghosts, in integers or integer tensors.

    Attributes:
        ghosts: How many ghosts there are.
        longer: How many of them, the first ones, hold `size + 1` examples.
        size: How many examples each of the other ghosts holds.
    """

    @property
    def runs(self):
        """The two runs of equal ghosts: pairs of how many and of which size."""
        return (self.longer, self.size + 1), (self.ghosts - self.longer, self.size)

    @property
    def end_of_longer(self):
        """How many examples the longer ghosts hold in all."""
        return self.longer * (self.size + 1)

    def rows(self, ghost):
        """The slice of the examples of one ghost, given by its number."""
        start = ghost * self.size + _minimum(ghost, self.longer)
        return slice(start, start + self.size_of(ghost))

    def size_of(self, ghost):
        """How many examples a ghost holds; for a tensor of numbers a tensor."""
        is_longer = ghost < self.longer
        if isinstance(is_longer, bool):
            return self.size + is_longer
        return self.size + ops.cast(is_longer, "int32")

    def ghost_of(self, example):
        """The numbers of the ghosts that examples belong to.

        Args:
            example: Integer tensor, the places of examples in the batch.
        """
        # Among the first ghosts the first number is the larger one, or they are equal,
        # and among the others the second. An empty batch has ghosts of size 0.
        return ops.maximum(
            example // (self.size + 1),
            (example - self.longer) // ops.maximum(self.size, 1),
        )


def cut(n, ghost_batch_size):
    """Cuts a batch.

    Args:
        n: Integer or integer tensor, how many examples the batch holds.
        ghost_batch_size: Positive integer, or `None` for a single ghost.

    Returns:
        A `Cut`.
    """
    if ghost_batch_size is None:
        return Cut(1, n, 0)
    k = n // ghost_batch_size
    k = max(1, k) if isinstance(k, int) else ops.maximum(1, k)
    return Cut(k, n // k, n % k)


def number_of_equal_ghosts(n, ghost_batch_size):
    """How many ghosts a batch makes, if it is known and they are of the same size.

    Args:
        n: Integer, or `None` where the size of the batch is not known yet.
        ghost_batch_size: Positive integer, or `None` for a single ghost.

    Returns:
        Integer, or `None` if the size of the batch is not known, if the batch is empty,
        or if its ghosts differ in size.
    """
    if not n:
        return None
    ghosts, _, longer = cut(n, ghost_batch_size)
    return None if longer else ghosts


def _minimum(a, b):
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else ops.minimum(a, b)

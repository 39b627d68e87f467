"""The search space: kinds of statistics, ghosts, channel groups and weight decay."""

import math

from keras_bn4.common.arguments import (
    check_ghost_batch_size,
    check_groups,
    check_groups_divide,
    check_integer,
    common_divisors,
)
from keras_bn4.weight_decay import CenteredL2

KINDS = ("batch", "ghost", "batch_group")
DECAY = (1e-5, 1e-4, 1e-3)
SCOPE = "normalization"


class SearchSpace:
    """Declares the hyperparameters, and turns their values into those of `convert`.

    `keras_bn4.HyperBatchNormalization` documents the arguments.
    """

    def __init__(
        self,
        *,
        batch_size,
        kinds=None,
        ghost_batch_sizes=None,
        groups=None,
        decay=DECAY,
        momentum=None,
    ):
        self.batch_size = check_integer("batch_size", batch_size)
        self.kinds = candidates("kinds", kinds, _check_kind)
        self.ghost_batch_sizes = candidates(
            "ghost_batch_sizes", ghost_batch_sizes, self._check_ghost_batch_size
        )
        self.groups = candidates("groups", groups, check_groups)
        self.decay = candidates("decay", decay, _check_decay)
        self.momentum = candidates("momentum", momentum, _check_momentum)
        if self.kinds and "ghost" in self.kinds and not self._sizes("ghost"):
            raise ValueError(
                f"A batch size of {batch_size} leaves no ghosts to try: a ghost would "
                "be a single example or the whole minibatch. Leave 'ghost' out of "
                "`kinds`, or give `ghost_batch_sizes`."
            )

    def choose(self, hp, channels):
        """Declares the hyperparameters and reads their values.

        Args:
            hp: `keras_tuner.HyperParameters`.
            channels: List of integers, the number of channels of each layer to convert.

        Returns:
            Dict of arguments for `keras_bn4.convert`.

        Raises:
            ValueError: if `groups` or `kinds` asks for channel groups that these
                channels can't be divided into.
        """
        # All of them: the layers of `build` may be of this package already.
        arguments = {"ghost_batch_size": None, "groups": None, "example_weight": 0.0}
        # If the channels depend on a hyperparameter, the choices for the first model
        # of the search hold for all.
        known = {one.name: list(getattr(one, "values", ())) for one in hp.space}
        kinds = known.get(f"{SCOPE}/kind") or self._kinds(channels)
        group_choices = known.get(f"{SCOPE}/batch_group/groups")
        if group_choices is None and "batch_group" in kinds:
            self._check_groups_divide(channels)
            group_choices = self._groups(channels)
        with hp.name_scope(SCOPE):
            kind = hp.Choice("kind", list(kinds))
            for name in ("ghost", "batch_group"):
                if name in kinds:
                    with hp.conditional_scope("kind", [name]), hp.name_scope(name):
                        size = hp.Choice("ghost_batch_size", self._sizes(name))
                        if name == "batch_group":
                            groups = hp.Choice("groups", group_choices)
                    if name == kind:
                        arguments["ghost_batch_size"] = size
            if kind == "batch_group":
                arguments["groups"] = lambda layer: (
                    groups
                    if groups == -1
                    else math.gcd(groups, layer.moving_mean.shape[0])
                )
            if self.decay:
                decays = hp.Boolean("decay")
                with hp.conditional_scope("decay", [True]):
                    l2 = hp.Choice("l2", list(self.decay))
                if decays:
                    arguments["gamma_regularizer"] = CenteredL2(l2)
                    arguments["beta_regularizer"] = CenteredL2(l2, center=0.0)
            if self.momentum:
                arguments["momentum"] = hp.Choice("momentum", list(self.momentum))
        return arguments

    def _kinds(self, channels):
        if self.kinds:
            if "batch_group" in self.kinds and not self._groups(channels):
                raise ValueError(
                    "No number of groups but 1 divides the channels of all layers, "
                    f"{sorted(set(channels))}. Leave 'batch_group' out of `kinds`, or "
                    "exclude layers with `select`."
                )
            return self.kinds
        possible = {
            "batch": True,
            "ghost": self._sizes("ghost"),
            "batch_group": self._groups(channels),
        }
        return [kind for kind in KINDS if possible[kind]]

    def _sizes(self, kind):
        if self.ghost_batch_sizes:
            return list(self.ghost_batch_sizes)
        powers = [2**i for i in range(1, self.batch_size.bit_length())]
        sizes = [size for size in powers if 2 * size <= self.batch_size]
        # Sec. 3.4 uses channel groups over the whole of a very small minibatch.
        return sizes if kind == "ghost" else [*sizes, self.batch_size]

    def _groups(self, channels):
        if self.groups:
            return list(self.groups)
        return [groups for groups in common_divisors(channels) if groups > 1]

    def _check_groups_divide(self, channels):
        for groups in self.groups or ():
            try:
                for count in channels:
                    check_groups_divide(groups, count)
            except ValueError as error:
                raise ValueError(
                    f"{error} Groups that divide the channels of all layers: "
                    f"{common_divisors(channels)}, and -1."
                ) from error

    def _check_ghost_batch_size(self, size):
        if check_ghost_batch_size(size) is None or size > self.batch_size:
            raise ValueError(
                "Argument `ghost_batch_sizes` must hold integers from 1 to the batch "
                f"size, {self.batch_size}. Received: {size!r}. Leave this size out, or "
                "set `batch_size` to that of the training."
            )
        return int(size)


def chosen(values):
    """Separates a trial's hyperparameters of normalization from all others.

    Args:
        values: Dict, the `values` of `keras_tuner.HyperParameters`.

    Returns:
        A pair of dicts. The first has `"kind"`, `"ghost_batch_size"`, `"groups"`,
        `"l2"` (0 without decay) and, if it is searched, `"momentum"`. The second has
        all other hyperparameters.
    """
    others = dict(values)

    def take(name):
        return others.pop(f"{SCOPE}/{name}", None)

    kind = take("kind")
    settings = {
        "kind": kind,
        "ghost_batch_size": take(f"{kind}/ghost_batch_size"),
        "groups": take(f"{kind}/groups"),
        "l2": take("l2") or 0.0,
    }
    take("decay")
    momentum = take("momentum")
    if momentum is not None:
        settings["momentum"] = momentum
    return settings, others


def candidates(name, values, check):
    """Returns checked values as a tuple without duplicates, or `None` for `None`.

    Only example weights must be given, because there is no search without any.
    """
    if values is None and name != "example_weights":
        return None
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise ValueError(
            f"Argument `{name}` must be a sequence of values to try"
            f"{'' if values is None else ', or None'}. Received: {name}={values!r}."
        )
    values = tuple(dict.fromkeys(map(check, values)))
    if not values:
        raise ValueError(
            f"Argument `{name}` is empty. Give at least one value to try, or None."
        )
    return values


def _check_kind(kind):
    if kind not in KINDS:
        raise ValueError(
            f"Argument `kinds` must hold some of {list(KINDS)}. Received: {kind!r}."
        )
    return kind


def _check_decay(l2):
    CenteredL2(l2)
    if l2 == 0:
        raise ValueError(
            "Argument `decay` must hold positive factors. Training without decay is "
            "always tried. Received: 0."
        )
    return float(l2)


def _check_momentum(momentum):
    if not isinstance(momentum, float) or not 0 <= momentum < 1:
        raise ValueError(
            "Argument `momentum` must hold floats from 0 to below 1. Received: "
            f"{momentum!r}."
        )
    return momentum

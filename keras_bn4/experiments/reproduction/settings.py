"""The settings of a training of the reproduction, and the name of its record."""

import dataclasses
import hashlib
import json

SCALES = ("small", "paper")
# Dense near 0, where the paper's figures show their detail.
EXAMPLE_WEIGHTS = (
    *(0.0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0),
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of a training, which determine all of it.

    The name of a record depends on the settings that differ from the defaults here.
    So defaults never change, and a field that is added later has a default that means
    what was done before.

    Attributes:
        dataset: Name of an image data set, as `keras_bn4.datasets.load` takes it.
        classes: Which of its classes are used: `"all"`, `"first half"` or `"second
            half"`.
        train_images: How many images of the training split to train on, equally many of
            each class.
        validation_images: How many others of them to choose the example weight on.
        blocks: Blocks of two convolutions in each stage of the network.
        filters: Filters of each stage.
        residual: Whether blocks are added to what they are applied to.
        normalizes_shortcuts: Whether the convolutions of shortcuts are normalized.
        epochs: Number of epochs. Examples that do not fill a minibatch are left out.
        batch_size: Examples of a minibatch.
        learning_rate: Where the cosine schedule begins, which ends at 0.
        momentum: Nesterov's is not used.
        weight_decay: The factor δ of `δ / 2` times the squared kernels in the loss.
        affine_decay: The same decay of γ and β: `"none"`; `"to 0"`, which pulls both to
            0; or `"to 1"`, which pulls γ to 1 and β to 0.
        statistics_momentum: Momentum of the moving statistics.
        ghost_batch_size: Examples of a ghost, or `None` for batch normalization.
        groups: Groups of channels, or `None` for a group for each channel.
        elements_per_group: Instead of `groups`, how many elements of an example a group
            has in every layer, or `None`. This and the next two are for ghosts of 1.
        statistics_noise: Strength of the noise on the statistics of groups, in
            training.
        random_groups: Share of the steps that deal the channels to groups at random.
        renorm: Whether batch renormalization is used, clipped at r = 3 and d = 5.
        variance_tracking: What the moving variance follows if there are ghosts.
        classes_per_batch: Classes in a minibatch (Sec. 4.4), or `None` for minibatches
            of all of them.
        order_in_batch: With `classes_per_batch`, `"shuffled"` or `"by class"`.
        augmentation: `"crop and flip"` or `"none"`.
        example_weights: Those to evaluate at, on validation and on test data.
        measures_outputs: Whether output ranges of the last normalization are recorded.
        source: The training whose final weights this one starts from, all but those of
            the last layer, or `None`.
        recalibrations: Images from which the moving statistics are recomputed after
            the training, for more results on test data at example weight 0 (see
            `images.of_statistics`).
        seed: Of the initial kernels, the order of the images and the augmentation, and
            of noise and random groups.
    """

    dataset: str = "cifar100"
    classes: str = "all"
    train_images: int = 2500
    validation_images: int = 5000
    blocks: int = 1
    filters: tuple[int, ...] = (16, 32, 64)
    residual: bool = True
    normalizes_shortcuts: bool = False
    epochs: int = 60
    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 2.5e-4
    affine_decay: str = "none"
    statistics_momentum: float = 0.99
    ghost_batch_size: int | None = None
    groups: int | None = None
    elements_per_group: int | None = None
    statistics_noise: float = 0.0
    random_groups: float = 0.0
    renorm: bool = False
    variance_tracking: str = "second_moment"
    classes_per_batch: int | None = None
    order_in_batch: str = "shuffled"
    augmentation: str = "crop and flip"
    example_weights: tuple[float, ...] = EXAMPLE_WEIGHTS
    measures_outputs: bool = False
    source: "Settings | None" = None
    recalibrations: tuple[str, ...] = ()
    seed: int = 0

    @classmethod
    def at_scale(cls, scale, **changes):
        """The settings of a scale, with changes.

        `"small"` are the defaults, a ResNet-8 that overfits 2,500 images. `"paper"` is
        the paper's data and network (Sec. 4.1): 40,000 images of CIFAR-100, another
        10,000 for validation, and a ResNet-18 of 64 to 512 filters. The paper does not
        give the optimizer, its schedule and decay; these are the usual ones for this
        network: SGD for 200 epochs, cosine schedule from 0.1, decay 5e-4.
        """
        if scale == "paper":
            paper = {
                "train_images": 40_000,
                "validation_images": 10_000,
                "blocks": 2,
                "filters": (64, 128, 256, 512),
                "normalizes_shortcuts": True,
                "epochs": 200,
                "weight_decay": 5e-4,
            }
            changes = {**paper, **changes}
        return cls(**changes)

    @classmethod
    def from_record(cls, values):
        """The settings that a record holds."""
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        if values.get("source") is not None:
            values["source"] = cls.from_record(values["source"])
        return cls(**values)

    def replace(self, **changes):
        """The same settings with changes."""
        return dataclasses.replace(self, **changes)

    def to_dict(self):
        """All settings, as a record holds them."""
        return dataclasses.asdict(self)

    @property
    def name(self):
        """The name of the record: what a reader looks for first, and a digest."""
        digest = hashlib.sha256(json.dumps(self._changed()).encode()).hexdigest()[:8]
        kind = "resnet" if self.residual else "plain"
        words = [
            self.dataset.replace("/", "_"),
            str(self.train_images),
            f"{kind}{2 * self.blocks * len(self.filters) + 2}",
            f"batch{self.batch_size}",
            self.method.replace(" ", ""),
        ]
        if self.affine_decay != "none":
            words.append(f"decay {self.affine_decay}".replace(" ", ""))
        if self.classes_per_batch is not None:
            words.append(f"{self.classes_per_batch}classes")
        if self.classes != "all":
            words.append(self.classes.replace(" ", ""))
        if self.source is not None:
            words.append("transfer")
        return "-".join([*words, f"seed{self.seed}", digest])

    @property
    def method(self):
        """How layers normalize, in one or two words."""
        if self.renorm:
            return "batch renorm"
        if self.groups is None and self.elements_per_group is None:
            ghosts = self.ghost_batch_size
            return "batch norm" if ghosts is None else f"ghosts of {ghosts}"
        return "group norm" if self.ghost_batch_size == 1 else "batch-group norm"

    def _changed(self):
        """The settings that differ from the defaults, in order of their names."""
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        items = sorted({**self.to_dict(), "source": self.source}.items())
        changed = {name: value for name, value in items if value != defaults[name]}
        if self.source is not None:
            # Of a source, too, only these, since fields that are added count nowhere.
            changed["source"] = self.source._changed()
        return changed

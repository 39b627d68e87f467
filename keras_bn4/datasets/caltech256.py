"""Caltech-256 as a builder of tensorflow-datasets, which lacks it.

Importing this module registers it for `tensorflow_datasets.load("caltech256")`. Size
and checksum of the download are in `checksums.tsv`, where tensorflow-datasets looks.
"""

import hashlib
import re

import tensorflow_datasets as tfds

HOMEPAGE = "https://data.caltech.edu/records/nyy15-4j048"
ARCHIVE = f"{HOMEPAGE}/files/256_ObjectCategories.tar"
# How many images of a category the paper takes (Sec. 4.1). Together they are as many as
# the smallest category has.
PAPER_SPLITS = {"train": 40, "validation": 10, "test": 30}
CLUTTER = "clutter"
# `001.ak47/001_0001.jpg`. The archive also holds a file `198.spider/RENAME2` and a
# folder `056.dog/greg`, which are no images of a category.
IMAGE = re.compile(r"(?:^|/)(\d{3})\.[^/]+/(\1_\d{4}\.jpg)$")
# In the order of their numbers in the archive.
CATEGORIES = """
ak47 american-flag backpack baseball-bat baseball-glove basketball-hoop bat bathtub
bear beer-mug billiards binoculars birdbath blimp bonsai-101 boom-box bowling-ball
bowling-pin boxing-glove brain-101 breadmaker buddha-101 bulldozer butterfly cactus
cake calculator camel cannon canoe car-tire cartman cd centipede cereal-box
chandelier-101 chess-board chimp chopsticks cockroach coffee-mug coffin coin comet
computer-keyboard computer-monitor computer-mouse conch cormorant covered-wagon
cowboy-hat crab-101 desk-globe diamond-ring dice dog dolphin-101 doorknob
drinking-straw duck dumb-bell eiffel-tower electric-guitar-101 elephant-101 elk
ewer-101 eyeglasses fern fighter-jet fire-extinguisher fire-hydrant fire-truck
fireworks flashlight floppy-disk football-helmet french-horn fried-egg frisbee frog
frying-pan galaxy gas-pump giraffe goat golden-gate-bridge goldfish golf-ball goose
gorilla grand-piano-101 grapes grasshopper guitar-pick hamburger hammock harmonica
harp harpsichord hawksbill-101 head-phones helicopter-101 hibiscus homer-simpson
horse horseshoe-crab hot-air-balloon hot-dog hot-tub hourglass house-fly
human-skeleton hummingbird ibis-101 ice-cream-cone iguana ipod iris jesus-christ
joy-stick kangaroo-101 kayak ketch-101 killer-whale knife ladder laptop-101 lathe
leopards-101 license-plate lightbulb light-house lightning llama-101 mailbox
mandolin mars mattress megaphone menorah-101 microscope microwave minaret minotaur
motorbikes-101 mountain-bike mushroom mussels necktie octopus ostrich owl palm-pilot
palm-tree paperclip paper-shredder pci-card penguin people pez-dispenser photocopier
picnic-table playing-card porcupine pram praying-mantis pyramid raccoon
radio-telescope rainbow refrigerator revolver-101 rifle rotary-phone roulette-wheel
saddle saturn school-bus scorpion-101 screwdriver segway self-propelled-lawn-mower
sextant sheet-music skateboard skunk skyscraper smokestack snail snake sneaker
snowmobile soccer-ball socks soda-can spaghetti speed-boat spider spoon
stained-glass starfish-101 steering-wheel stirrups sunflower-101 superman sushi swan
swiss-army-knife sword syringe tambourine teapot teddy-bear teepee telephone-box
tennis-ball tennis-court tennis-racket theodolite toaster tomato tombstone top-hat
touring-bike tower-pisa traffic-light treadmill triceratops tricycle trilobite-101
tripod t-shirt tuning-fork tweezer umbrella-101 unicorn vcr video-projector
washing-machine watch-101 waterfall watermelon welding-mask wheelbarrow windmill
wine-bottle xylophone yarmulke yo-yo zebra airplanes-101 car-side-101 faces-easy-101
greyhound tennis-shoes toad clutter
""".split()  # noqa: SIM905 - a list would take 257 lines


class Caltech256(tfds.core.GeneratorBasedBuilder):
    """Images of 256 categories of objects, and of none ("clutter").

    The splits are the paper's: `"train"` with 40 images of each of the 256 categories,
    `"validation"` with 10 and `"test"` with 30. They are drawn at random once and for
    all, by a hash of the file names. `"rest"` holds all other images, with all of the
    clutter, which has the last of the 257 labels.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(names=CATEGORIES),
                    "file_name": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            homepage=HOMEPAGE,
            citation="Griffin, G., Holub, A., and Perona, P. (2007). Caltech-256 "
            "Object Category Dataset. California Institute of Technology.",
        )

    def _split_generators(self, dl_manager):
        archive = dl_manager.download(ARCHIVE)
        files = {}
        for path, _ in dl_manager.iter_archive(archive):
            if match := IMAGE.search(path):
                files.setdefault(int(match[1]) - 1, []).append(match[2])
        splits = cut(files)
        return {
            name: self._generate_examples(dl_manager.iter_archive(archive), chosen)
            for name, chosen in splits.items()
        }

    def _generate_examples(self, archive, chosen):
        for path, file in archive:
            match = IMAGE.search(path)
            if match and match[2] in chosen:
                label = int(match[1]) - 1
                yield match[2], {"image": file, "label": label, "file_name": match[2]}


def cut(files):
    """Draws sets of file names by split, from lists of file names by label."""
    splits = {name: set() for name in (*PAPER_SPLITS, "rest")}
    for label, names in files.items():
        # The order of a hash never changes; that of random numbers may.
        names = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
        if CATEGORIES[label] != CLUTTER:
            if len(names) < sum(PAPER_SPLITS.values()):
                raise ValueError(
                    f"Category {CATEGORIES[label]!r} has {len(names)} images, and its "
                    f"splits take {PAPER_SPLITS}. The archive is not the whole of "
                    f"Caltech-256: {ARCHIVE}."
                )
            for split, count in PAPER_SPLITS.items():
                splits[split] |= set(names[:count])
                names = names[count:]
        splits["rest"] |= set(names)
    return splits

"""Measures ImageNet networks on corrupted photographs, or publishes the results."""

import sys

from keras_bn4.experiments import command
from keras_bn4.experiments.imagenet import report
from keras_bn4.experiments.imagenet.measurement import NETWORKS, measure

OPTIONS = {
    "folder": {
        "nargs": "?",
        "help": "folder with networks, images and synset_words.txt",
    },
    "networks": {
        "nargs": "*",
        "metavar": "NETWORK",
        "help": f"some of {', '.join(NETWORKS)} (default: all)",
    },
    "--publish": {
        "action": "store_true",
        "help": "measure nothing; publish what is finished in the output folder",
    },
    "--recorded": {
        "action": "store_true",
        "help": "measure nothing, and report the published records",
    },
}


def main(arguments=None):
    """Runs what the arguments name, and returns the exit status."""
    module, output_dir = "keras_bn4.experiments.imagenet", "results/imagenet"
    return command.main(module, __doc__, run, OPTIONS, arguments, output_dir=output_dir)


def run(folder, networks, publish, recorded, output_dir, data_dir):
    """Measures, or publishes, and prints what is published."""
    if publish:
        report.publish(output_dir)
    elif not recorded:
        unknown = sorted(set(networks) - set(NETWORKS))
        if folder is None or unknown:
            raise ValueError(
                "Name the folder with networks and images, and then some of the "
                f"networks {list(NETWORKS)}, or none for all. Received: "
                f"folder={folder!r}, networks={networks}."
            )
        for name in networks or NETWORKS:
            measure(name, folder, output_dir)
        return
    print(report.text(report.published()))


if __name__ == "__main__":
    sys.exit(main())

"""Measures how fast the layers are, relative to Keras' layer, on all backends."""

import importlib.util
import json
import os
import subprocess
import sys

from keras_bn4.common.arguments import check_integer
from keras_bn4.experiments import command, machine
from keras_bn4.experiments.speed import measurements, page

OPTIONS = {
    "--rounds": {"type": int, "default": 15, "help": "default: 15"},
    "--backends": {
        "nargs": "+",
        "choices": page.BACKENDS,
        "default": [name for name in page.BACKENDS if importlib.util.find_spec(name)],
        "help": "default: all that are installed",
    },
    "--publish": {
        "action": "store_true",
        "help": "record the ratios, and write the page",
    },
    "--check": {
        "action": "store_true",
        "help": f"fail if a ratio is over {page.TOLERANCE} times the recorded one",
    },
}


def run(rounds, backends, publish, check):
    """Measures, prints tables, and publishes or checks them."""
    check_integer("rounds", rounds)
    results = {name: _measured(name, rounds) for name in backends}
    print(page.tables(results))
    if publish:
        processor = f"{machine.cores()} cores of {machine.processor()}"
        page.publish({"machine": processor, "rounds": rounds, "results": results})
    if check:
        found = page.slower(results, json.loads(page.RECORDS.read_text())["results"])
        if found:
            raise ValueError(f"Slower than recorded: {'; '.join(found)}.")


def _measured(backend, rounds):
    """The comparisons on a backend, which are printed as they are finished."""
    comparisons = []
    with subprocess.Popen(
        [sys.executable, "-m", measurements.__name__, str(rounds)],
        env={**os.environ, "KERAS_BACKEND": backend},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout:
            comparisons.append(json.loads(line))
            what, of, ratios = comparisons[-1].values()
            medians = (f"{name} {ratio[1]:.2f}" for name, ratio in ratios.items())
            print(f"{backend}, {what}, {of}: {', '.join(medians)}", file=sys.stderr)
    if process.returncode:
        raise RuntimeError(f"The measurements on {backend} failed.")
    return comparisons


def main(arguments=None):
    """Measures what the arguments name, and returns the exit status."""
    module, description = "keras_bn4.experiments.speed", __doc__.splitlines()[0]
    return command.main(module, description, run, OPTIONS, arguments)


if __name__ == "__main__":
    sys.exit(main())

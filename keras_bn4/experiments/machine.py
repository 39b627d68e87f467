"""Says with which versions and on what hardware an experiment runs."""

import importlib
import os
import pathlib
import platform
import subprocess

import keras
import numpy as np

import keras_bn4


def versions():
    """Versions of what computes, by name, and the name of the backend, as a dict."""
    backend = keras.backend.backend()
    return {
        "keras_bn4": keras_bn4.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "backend": backend,
        backend: importlib.import_module(backend).__version__,
    }


def hardware():
    """Processor, number of cores, Keras' devices and names of GPUs, as a dict."""
    return {
        "processor": processor(),
        "cores": cores(),
        "devices": list(keras.distribution.list_devices()),
        "gpus": gpus(),
    }


def processor():
    """The name of the processor."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []  # Not Linux.
    names = [line.partition(": ")[2] for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()


def cores():
    """The number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def gpus():
    """The names of NVIDIA's GPUs, which Keras doesn't tell."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return []
    return [] if found.returncode else found.stdout.split("\n")[:-1]

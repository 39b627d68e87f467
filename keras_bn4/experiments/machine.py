"""Versions and hardware with which an experiment runs."""

import importlib
import os
import pathlib
import platform
import subprocess

import keras
import numpy as np

import keras_bn4

BACKEND = keras.backend.backend()


def versions():
    """Returns a dict of the versions of what computes, and the name of the backend."""
    return {
        "keras_bn4": keras_bn4.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "backend": BACKEND,
        BACKEND: importlib.import_module(BACKEND).__version__,
    }


def hardware():
    """Returns a dict: processor, usable cores, Keras' devices, and names of GPUs."""
    return {
        "processor": processor(),
        "cores": cores(),
        # On PyTorch, Keras has no such list.
        "devices": [] if BACKEND == "torch" else keras.distribution.list_devices(),
        "gpus": gpus(),
    }


def processor():
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(": ")[2] for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()


def cores():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def gpus():
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return []
    return [] if found.returncode else found.stdout.split("\n")[:-1]

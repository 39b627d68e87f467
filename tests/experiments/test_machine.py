"""What records say of versions and hardware."""

import importlib.metadata
import os

import keras

from keras_bn4.experiments import machine


def test_versions_and_hardware(monkeypatch, tmp_path):
    versions = machine.versions()
    backend = keras.backend.backend()
    assert versions.pop("backend") == backend
    for name in ("keras", "numpy", backend):
        assert versions[name] == importlib.metadata.version(name)
    # Without a driver there are no names of GPUs.
    monkeypatch.setenv("PATH", str(tmp_path))
    hardware = machine.hardware()
    assert hardware["processor"].strip()
    assert 1 <= hardware["cores"] <= os.cpu_count()
    assert hardware["gpus"] == []

"""What records say of versions and hardware."""

import importlib.metadata
import os

import keras

from keras_bn4.experiments import machine


def test_versions_are_those_installed():
    versions = machine.versions()
    backend = versions.pop("backend")
    assert backend == keras.backend.backend()
    for name in ("keras", "numpy", backend):
        assert versions[name] == importlib.metadata.version(name)


def test_hardware():
    hardware = machine.hardware()
    assert hardware["processor"].strip()
    assert 1 <= hardware["cores"] <= os.cpu_count()
    assert hardware["devices"] == list(keras.distribution.list_devices())


def test_without_a_driver_there_are_no_names_of_gpus(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.gpus() == []

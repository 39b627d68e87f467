import pytest
from helpers import SECONDS_OF_A_PROCESS, on_tensorflow

from keras_bn4.experiments import multi_worker


@on_tensorflow
@pytest.mark.slow
def test_two_workers():
    differences = multi_worker.run(timeout=SECONDS_OF_A_PROCESS)
    assert differences["between_workers"] == 0
    assert differences["from_one_device"] < 1e-5

from pathlib import Path

import pytest

from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import MAX_FEATURES, SIGNATURES
from orchestrator.model_server.grpc_channel import TlsFiles, message_bytes, open_channel


def test_the_limits_of_messages_are_the_largest_batch_and_little_more():
    images = 32 * 224 * 224 * 3
    heads = 32 * 4 * (MAX_FEATURES + 1) * 5
    served = SIGNATURES["serving_default"]
    assert images + heads < message_bytes(served.inputs) < images + heads + 2**17
    answers = 32 * 4 * (5 + 1 + 5 + 1 + MAX_FEATURES + 5 * 7 * 7)
    assert answers < message_bytes(served.outputs) < answers + 2**17


@pytest.mark.parametrize(
    ("files", "setting"),
    [
        (TlsFiles(ca=Path("absent.pem")), "CA_FILE"),
        (TlsFiles(certificate=Path("absent.pem"), key=Path("absent.pem")), "CLIENT_KEY_FILE"),
    ],
)
async def test_a_certificate_that_cannot_be_read_names_its_setting_and_no_path(files: TlsFiles, setting: str):
    with pytest.raises(ConfigurationError, match=f"WBC_TF_SERVING__{setting}.*No such file") as raised:
        open_channel("ipv4:127.0.0.1:1", tls=files, keepalive_s=300)
    assert "absent" not in str(raised.value)

"""``wbc dicom`` up to the border of the process; what it makes and stores is in tests/integration."""

import pytest

from orchestrator.commands.dicom import stow_server
from orchestrator.errors import ConfigurationError


@pytest.mark.parametrize("url", ["ftp://archive/dicom-web", "archive:8042", "https://", "mllp://archive"])
def test_an_archive_is_reached_over_http_alone(url):
    with pytest.raises(ConfigurationError, match="http"):
        stow_server(url, None, None, 1, 1.0)


def test_a_password_stands_in_no_address_and_in_no_error():
    with pytest.raises(ConfigurationError, match="without a user") as raised:
        stow_server("https://archivist:secret-word@archive/dicom-web", None, None, 1, 1.0)
    assert "secret-word" not in str(raised.value)


def test_the_credential_is_the_first_line_of_its_file(tmp_path):
    file = tmp_path / "credential"
    file.write_text("archivist:pass word\nand a note\n")
    assert stow_server("http://archive/dicom-web", file, None, 1, 1.0).authorization == (
        "Basic YXJjaGl2aXN0OnBhc3Mgd29yZA=="
    )


@pytest.mark.parametrize("content", [b"", b"\nsecret", "schlüssel".encode(), b"\xff\xfe", None])
def test_a_file_without_a_credential_is_refused(content, tmp_path):
    file = tmp_path / "credential"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError):
        stow_server("http://archive/dicom-web", file, None, 1, 1.0)


def test_a_file_that_holds_no_certificates_is_refused(tmp_path):
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    for named in (file, tmp_path / "nothing.pem"):
        with pytest.raises(ConfigurationError, match="certificates"):
            stow_server("https://archive/dicom-web", None, named, 1, 1.0)

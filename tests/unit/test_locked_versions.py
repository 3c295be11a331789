"""What is installed is at or above the versions in which known attacks on it were ended."""

import re

import pytest
from packaging.version import Version

FIXED = {
    "CVE-2024-47874": ("starlette", "0.40.0"),
    "CVE-2024-53981": ("python-multipart", "0.0.18"),
    "CVE-2025-54121": ("starlette", "0.47.2"),
    "CVE-2026-40347": ("python-multipart", "0.0.26"),
    "CVE-2026-42561": ("python-multipart", "0.0.27"),
}


@pytest.mark.parametrize("cve", FIXED)
@pytest.mark.parametrize("lock_file", ["runtime.txt", "dev.txt"])
def test_no_lock_file_brings_back_a_known_hole(project_root, lock_file, cve):
    package, fixed = FIXED[cve]
    text = (project_root / "requirements" / lock_file).read_text()
    (pinned,) = re.findall(rf"^{package}==([^ \\;]+)", text, re.MULTILINE)
    assert Version(pinned) >= Version(fixed)

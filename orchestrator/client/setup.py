"""Builds the distribution (pyproject.toml beside this file) and leaves nothing behind in the clone."""

from tempfile import TemporaryDirectory

from setuptools import setup  # type: ignore[import-untyped]

with TemporaryDirectory() as scratch:  # setuptools would put build/ and *.egg-info here
    setup(
        script_name="setup.py",  # which is then no module of the package
        options={"build": {"build_base": scratch}, "egg_info": {"egg_base": scratch}},
    )

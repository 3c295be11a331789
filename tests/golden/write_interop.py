"""Write the golden messages beside this file: ``python -m tests.golden.write_interop``."""

from pathlib import Path

from orchestrator.emulator.golden import golden_files

FOLDER = Path(__file__).parent / "interop"

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    files = golden_files()
    for old in FOLDER.iterdir():
        if old.name not in files and old.name != "README.md":
            old.unlink()
    for name, data in files.items():
        (FOLDER / name).write_bytes(data)

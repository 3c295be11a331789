"""``python -m orchestrator``: serve with the settings of the environment."""

import sys

from pydantic import ValidationError

from orchestrator.errors import WbcError
from orchestrator.settings import Settings
from orchestrator.wiring import serve


def main() -> None:
    """Serve; an error that a person can mend is one line and exit code 2."""
    try:
        serve(Settings())
    except ValidationError as error:
        wrong = "; ".join(
            f"WBC_{'__'.join(str(part) for part in e['loc']).upper()}: {e['msg']}" for e in error.errors()
        )
        sys.exit(_failed(wrong))
    except WbcError as error:
        sys.exit(_failed(str(error)))


def _failed(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return 2


if __name__ == "__main__":
    main()

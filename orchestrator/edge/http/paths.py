"""The path of a request as this service knows it."""

from starlette.types import Scope


def path_within(scope: Scope) -> str:
    """The path below what a proxy puts before all paths of this service."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.edge.allowed_methods import allowed_methods


async def answer(_: Request) -> Response:
    return Response()


ROUTES = [
    Route("/orders", answer, methods=["POST"]),
    Route("/orders/{number}", answer, methods=["DELETE"]),
    Route("/orders", answer, methods=["GET"]),
]


def test_all_methods_of_a_path_are_named_whichever_route_has_them():
    def of(path: str) -> list[str]:
        return allowed_methods(ROUTES, {"type": "http", "method": "PUT", "path": path, "headers": []})

    assert of("/orders") == ["GET", "HEAD", "POST"]
    assert of("/orders/3") == ["DELETE"]
    assert of("/other") == []

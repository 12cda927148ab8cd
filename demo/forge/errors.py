"""GitHub's way of saying no."""

from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

DOCS = "https://docs.github.com/rest"


class ApiError(Exception):
    def __init__(self, status: int, message: str, errors: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.errors = status, message, errors


def not_found() -> ApiError:
    return ApiError(404, "Not Found")


def invalid(resource: str, code: str, field: str | None = None, message: str | None = None) -> ApiError:
    error = {"resource": resource, "code": code, "field": field, "message": message}
    return ApiError(422, "Validation Failed", [{name: value for name, value in error.items() if value is not None}])


def answer(status: int, message: str, errors: list[dict[str, Any]] | None = None) -> JSONResponse:
    body: dict[str, Any] = {"message": message, "documentation_url": DOCS, "status": str(status)}
    if errors is not None:
        body["errors"] = errors
    return JSONResponse(body, status)


async def on_api_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return answer(error.status, error.message, error.errors)


async def on_http_error(request: Request, error: Exception) -> JSONResponse:
    """No such path, or not with this method: GitHub says 404 to both."""
    assert isinstance(error, HTTPException)
    status = 404 if error.status_code == 405 else error.status_code
    return answer(status, HTTPStatus(status).phrase)


async def on_bug(request: Request, error: Exception) -> JSONResponse:
    return answer(500, "Server Error")  # Starlette logs the traceback itself

"""Errors of one shape, {"error": {"code", "message", "field"}}, which tell nothing of the machine."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from shelfcast.live.engine.questions import Busy
from shelfcast.live.store.store import Conflict, Unavailable

log = logging.getLogger("shelfcast.service")
CODES = {400: "bad_request", 401: "unauthorized", 404: "not_found", 405: "method_not_allowed", 409: "conflict"}
RETRY = "5"  # seconds
CODES |= {413: "too_large", 415: "media_type", 422: "invalid", 503: "busy"}
BODY_PARTS = ("body", "many", "one", "sale", "price", "promotion", "behavior")  # parts of a place that say nothing


class Refused(Exception):
    """What a request asks cannot be done; the message says why, for people."""

    def __init__(self, status: int, message: str, field: str | None = None):
        super().__init__(message)
        self.status, self.message, self.field = status, message, field


def answer(status: int, message: str, field: str | None = None, headers: dict | None = None) -> JSONResponse:
    """The response of an error."""
    fault = {"code": CODES.get(status, "failed"), "message": message}
    if field is not None:
        fault["field"] = field
    return JSONResponse({"error": fault}, status, headers)


def place(location: tuple) -> str:
    """Where in a request a value stands: 'events[3].quantity', 'product_id', 'changes[0].weeks[1]'.

    Worked example: ``place(("body", "many", 3, "sale", "quantity"))`` is 'events[3].quantity'.
    """
    parts = list(location)
    if parts[:1] in (["query"], ["path"], ["header"]):
        return ".".join(str(part) for part in parts[1:])
    parts = parts[1:] if parts[:1] == ["body"] else parts
    if parts[:1] in (["many"], ["one"]):
        parts = (["events"] if parts[0] == "many" else []) + parts[1:]
        parts = [part for i, part in enumerate(parts) if not _is_kind(parts, i)]
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else ("." if text else "") + str(part)
    return text or "body"


def _is_kind(parts: list, i: int) -> bool:
    """Whether a part is the kind that pydantic adds after an event's place; it may also be a field, which is the last."""
    after_place = i == 0 or (i == 2 and parts[0] == "events") or (i == 1 and isinstance(parts[0], int))
    return parts[i] in BODY_PARTS[3:] and after_place and i + 1 < len(parts)


def install(app: FastAPI) -> None:
    """Give every error its shape."""

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first, *more = error.errors()
        if first["type"] == "json_invalid":
            return answer(422, "the body is no JSON: numbers must be finite, and text must be UTF-8.", "body")
        note = f" ({len(more)} more values are wrong)" if more else ""
        return answer(422, f"{first['msg']}.{note} Nothing was stored or changed.", place(first["loc"]))

    @app.exception_handler(Refused)
    def refused(request: Request, error: Refused) -> JSONResponse:
        return answer(error.status, error.message, error.field)

    @app.exception_handler(Conflict)
    def conflict(request: Request, error: Conflict) -> JSONResponse:
        return answer(409, str(error), "id")

    @app.exception_handler(Unavailable)
    def unavailable(request: Request, error: Unavailable) -> JSONResponse:
        log.error("%s", error)
        text = (
            "the store of events cannot be used: it is locked, full or away. Nothing was stored; send it again later."
        )
        return answer(503, text, headers={"Retry-After": RETRY})

    @app.exception_handler(Busy)
    def busy(request: Request, error: Busy) -> JSONResponse:
        text = "other questions are being answered. Ask again in a few seconds."
        return answer(503, text, headers={"Retry-After": RETRY})

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> JSONResponse:
        return answer(error.status_code, str(error.detail), headers=error.headers)

    @app.exception_handler(Exception)
    def failed(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return answer(500, "the service failed to answer. Its log says why.")

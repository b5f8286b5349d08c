"""Who may ask, and how much: a token, loopback alone without one, and a limit on bodies. All are plain ASGI."""

from __future__ import annotations

import hmac
import ipaddress
import json
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from shelfcast.live.service import errors

OPEN = "/health"  # the one path that needs no token
LOCAL_NAMES = {"localhost"}


def is_loopback(host: str) -> bool:
    """Whether a name or an address means this machine alone: '127.0.0.1', '::1', 'localhost'."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host in LOCAL_NAMES


def check_address(host: str, token: str | None) -> None:
    """Refuse an address that others can reach where no token is set; a ValueError."""
    if token is not None and not token:
        raise ValueError("the token is empty. Set it to a long random text, or unset its variable.")
    if token is None and not is_loopback(host):
        raise ValueError(
            f"the service would be open to everyone who can reach {host}, since no token is set. "
            "Set SHELFCAST_TOKEN (or the variable that service.token_env names), or use the host 127.0.0.1."
        )


class Guard:
    """Refuses what comes without the token, or, where there is none, what calls this machine by another name.

    The second keeps web pages out that reach 127.0.0.1 by a name of their own (DNS rebinding).
    """

    def __init__(self, app, token: str | None):
        self.app, self.token = app, None if token is None else token.encode()

    async def __call__(self, scope, receive, send) -> None:
        refused = None
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            refused = self._without_token(headers) if self.token is None else self._by_token(scope["path"], headers)
        await (refused or self.app)(scope, receive, send)

    def _by_token(self, path: str, headers: Headers):
        kind, _, given = headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode("latin-1", "replace"), self.token) and kind.lower() == "bearer"
        if path == OPEN or right:
            return None
        text = "this call needs the header 'Authorization: Bearer <token>'."
        return errors.answer(401, text, headers={"WWW-Authenticate": "Bearer"})

    @staticmethod
    def _without_token(headers: Headers):
        host = headers.get("host", "127.0.0.1")
        name = host if host.endswith("]") else host.rsplit(":", 1)[0] if ":" in host else host
        if is_loopback(name):
            return None
        return errors.answer(400, "without a token the service answers to 127.0.0.1 and localhost alone.", "host")


class Limit:
    """Breaks a body off as soon as it is longer than `most` bytes, whatever its Content-Length says."""

    def __init__(self, app, most: int):
        self.app, self.most = app, most

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        text = f"the body is longer than {self.most} bytes. Send fewer events at once."
        length = Headers(scope=scope).get("content-length", "")
        if length.isdigit() and int(length) > self.most:
            await errors.answer(413, text)(scope, receive, send)
            return
        seen = 0

        async def counted() -> dict[str, Any]:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.most:
                raise HTTPException(413, text)
            return message

        await self.app(scope, counted, send)


def strict_json(body: bytes) -> Any:
    """JSON as its standard has it: NaN and Infinity, which Python would read, are refused; so is text that is no UTF-8."""

    def refuse(name: str):
        raise json.JSONDecodeError(f"{name} is no JSON number", name, 0)

    try:
        return json.loads(body.decode("utf-8"), parse_constant=refuse)
    except (UnicodeDecodeError, RecursionError) as error:
        raise json.JSONDecodeError(type(error).__name__, "", 0) from None

"""What every request passes: a limit to its body, an id, and its line in the log."""

import asyncio
import re
import time
import traceback
import uuid

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import BodyTooLarge, Problem, ShuttingDown
from .logs import log, request_id, unexpected

ID = re.compile(r"[\w.-]{1,64}", re.ASCII)


class BodyLimit:
    """Refuse a body larger than `limit` bytes, while it is read or before."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its body counted."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        read = 0

        async def count() -> Message:
            nonlocal read
            # Before the first `receive`, upon which the server tells a client to go on that asks.
            if announced.isdecimal() and int(announced) > self.limit:
                raise self.refusal()
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.limit:
                raise self.refusal()
            return message

        await self.app(scope, count, send)

    def refusal(self) -> BodyTooLarge:
        """The answer, after which the connection is closed: the rest of the body is not read."""
        return BodyTooLarge(
            f"the body is larger than {self.limit / 10**6:g} MB (MAX_UPLOAD_MB): "
            "send a smaller file",
            {"Connection": "close"},
        )


class RequestLog:
    """Give each request an id, log it in one line, and let nothing but an answer out."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked = Headers(scope=scope).get("x-request-id", "")
        identifier = asked if ID.fullmatch(asked) else uuid.uuid4().hex[:12]
        token = request_id.set(identifier)
        notes: dict[str, object] = {}
        scope.setdefault("state", {})["notes"] = notes
        started = time.monotonic()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = identifier
            await send(message)

        async def answer(problem: Problem) -> None:
            if not status:
                response = JSONResponse({"detail": problem.detail}, problem.status_code)
                await response(scope, receive, send_with_id)

        try:
            await self.app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            # The server cancels what is under way at the end of the grace period, and exits.
            await answer(ShuttingDown())
        except Exception:
            await answer(unexpected(traceback.format_exc()))
        finally:
            if (scope["path"], status) != ("/health", 200):
                words = [scope["method"], scope["path"], f"{time.monotonic() - started:.3f}s"]
                log.info("%s %s", status, " ".join(words + [f"{k}={v}" for k, v in notes.items()]))
            request_id.reset(token)

"""The form is read here, within limits, before FastAPI looks at it."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect
from starlette.types import Message

from .errors import BadForm, ClientGone, NotAForm

MAX_FIELDS = 20
MAX_FILES = 4
"""More than there are, so that an unknown one is named."""


class FormRoute(APIRoute):
    """A route that takes a multipart form and nothing else."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, behind what it does not do.

        It would parse an urlencoded body in one go, for seconds and into many times its size.
        """
        handle = super().get_route_handler()

        async def read_and_handle(request: Request) -> Response:
            kind, options = parse_options_header(request.headers.get("content-type"))
            if kind != b"multipart/form-data":
                raise NotAForm(headers={"Connection": "close"})
            form = Form(request, options.get(b"boundary", b""))
            await form.read()
            return await handle(form.request)

        return read_and_handle


class Form:
    """A request whose body is watched for its end, which the parser does not miss."""

    def __init__(self, request: Request, boundary: bytes) -> None:
        self._receive = request.receive
        self._end = b"--" + boundary + b"--"
        self._tail = b""
        self._ended = False
        self.request = Request(request.scope, self._watch)

    async def read(self) -> None:
        """Parse the body, which the request then keeps. Raises BadForm or ClientGone."""
        try:
            form = await self.request.form(max_files=MAX_FILES, max_fields=MAX_FIELDS)
        except ClientDisconnect:
            raise ClientGone from None
        except FormParserError:
            raise BadForm from None
        if not self._ended:
            await form.close()
            raise BadForm

    async def _watch(self) -> Message:
        message = await self._receive()
        if not self._ended:
            data = self._tail + message.get("body", b"")
            self._ended = self._end in data
            self._tail = data[-len(self._end) :]
        return message

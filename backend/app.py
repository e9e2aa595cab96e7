"""HTTP service around Step1X-3D, which turns an image into a 3D mesh."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from service import logs
from service.errors import BadParameter
from service.middleware import BodyLimit, RequestLog
from service.routes import Service, forms, router
from service.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """The service with its settings; the model starts to load when it starts to serve."""
    logs.configure()
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.model.start()
        yield
        await service.model.stop()

    app = FastAPI(title="Step1X-3D", description=__doc__, version="1", lifespan=lifespan)
    app.state.service = service
    app.include_router(router)
    app.include_router(forms)
    app.add_exception_handler(RequestValidationError, refuse)
    app.add_middleware(BodyLimit, limit=settings.max_upload_bytes)
    # Added last, and so the outermost.
    app.add_middleware(RequestLog)
    return app


async def refuse(_: Request, error: Exception) -> JSONResponse:
    """Say what is wrong with a form in one sentence, without repeating what was sent."""
    assert isinstance(error, RequestValidationError)
    faults = [
        "image: send a file, as `curl -F image=@picture.png` does"
        if fault["loc"][-1] == "image"
        else f"{fault['loc'][-1]}: {fault['msg']}"
        for fault in error.errors()
    ]
    return JSONResponse({"detail": "; ".join(faults)}, BadParameter.status)


app = create_app(Settings())

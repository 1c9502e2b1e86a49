"""The intake as an HTTP service: file, look, call off, hold. The ledger behind it is the one of every other door.

Each answer but a receipt is a sentence of ours; none repeats what was sent. Foreign and unknown requests look alike.
FastAPI reads the annotations of its functions, so this file does not postpone their evaluation.
"""

import json
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Query
from fastapi import Request as HttpRequest
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

import unlearning
from pipelines.intake import page
from pipelines.intake.problems import MEDIA_TYPE, Problem, answer, of_problem, without_values
from unlearning.errors import ConflictError, DataError, RequestError, StorageError, UnlearningError
from unlearning.requests import schema, tokens
from unlearning.requests.schema import MAX_BODY, Filed, Request
from unlearning.requests.tokens import ANYBODY, Caller
from unlearning.verbs import intake, locate
from unlearning.verbs import request as requests
from unlearning.workspace import Workspace

MAX_BULK = 64 * 2**20  # bytes of one bulk call
MAX_LINES = 100_000  # requests of one bulk call
MAX_PICTURE = 16 * 2**20  # bytes of a picture to locate

Said = TypeVar("Said")

_UNKNOWN = "no request of that controller and id is known to you"
_OTHER_BODY = "a request of that controller and id is known with another body; a new request needs a new request_id"
_PROBLEM = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"description": "no valid token", **_PROBLEM},
    404: {"description": "no such request", **_PROBLEM},
    409: {"description": "conflict", **_PROBLEM},
    413: {"description": "too large", **_PROBLEM},
    422: {"description": "not a valid request", **_PROBLEM},
    503: {"description": "the ledger is not reachable", **_PROBLEM},
}


def _sent(media_type: str, what: dict[str, Any]) -> dict[str, Any]:
    """What a call's body is, for the description: the body itself is read here, bounded, and never by a model."""
    return {"requestBody": {"required": True, "content": {media_type: {"schema": what}}}}


_BODY = _sent("application/json", {"$ref": "#/components/schemas/Request"})
_LINES = _sent("application/jsonl", {"type": "string"})
_PICTURE = _sent("image/*", {"type": "string", "format": "binary"})


def create_app(workspace: Workspace, open_door: bool = False) -> FastAPI:
    """The service over one root.

    open_door  answer whoever asks, as every controller's operator, where no token was ever made: for one's own machine
    Raises RequestError if the file of tokens is not one.
    """
    app = FastAPI(
        title="Deletion requests",
        version=unlearning.__version__,
        description="File a deletion request, once; ask how far it is; call it off while that is possible.",
        docs_url=None,
        redoc_url=None,
        responses=_PROBLEMS,
    )
    _handlers(app)
    _open_pages(app, workspace)
    known = _caller(workspace, open_door)
    _filing(app, workspace, known)
    _looking(app, workspace, known)
    _changing(app, workspace, known)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    return app


def _caller(workspace: Workspace, open_door: bool) -> Any:
    tokens.read(workspace)  # a broken file ends the service before it answers anybody

    def who(request: HttpRequest) -> Caller:
        given = tokens.read(workspace)  # each time: a token can be taken away from a running service
        if not given and open_door:
            return Caller(ANYBODY, True)
        found = tokens.caller(given, request.headers.get("authorization"))
        if found is None:
            raise Problem(401, "no valid token; send `Authorization: Bearer …`", **{"WWW-Authenticate": "Bearer"})
        return found

    return Annotated[Caller, Depends(who)]


def _filing(app: FastAPI, workspace: Workspace, Known: Any) -> None:
    @app.post("/v1/requests", status_code=201, openapi_extra=_BODY, summary="File one request")
    async def file_one(request: HttpRequest, caller: Known) -> JSONResponse:
        """201 and a receipt; the same request again: 200 and the same receipt; another body under its id: 409."""
        filed = [_parsed(await _body(request, MAX_BODY), "the request")]
        receipts, fresh = await run_in_threadpool(_add, workspace, caller, filed)
        return JSONResponse(receipts[0], 201 if fresh else 200)

    @app.post("/v1/requests/bulk", status_code=200, openapi_extra=_LINES, summary="File many, one JSON object a line")
    async def file_many(request: HttpRequest, caller: Known) -> JSONResponse:
        """All of them or none."""
        content = await _body(request, MAX_BULK)
        filed = await run_in_threadpool(_lines, content)
        receipts, fresh = await run_in_threadpool(_add, workspace, caller, filed)
        return JSONResponse({"filed": fresh, "known": len(receipts) - fresh, "receipts": receipts})

    @app.post("/v1/locate", openapi_extra=_PICTURE, summary="Which stored images a picture is")
    async def locate_one(
        request: HttpRequest,
        caller: Known,
        dataset: str,
        near: Annotated[int | None, Query(ge=0, le=locate.MOST_BITS, description="bits of a perceptual hash")] = None,
    ) -> JSONResponse:
        """Keys by how they match. The picture is looked at and not kept. Operators only."""
        _operators_only(caller)
        content = await _body(request, MAX_PICTURE)
        return JSONResponse(await run_in_threadpool(_located, workspace, content, dataset, near))


def _looking(app: FastAPI, workspace: Workspace, Known: Any) -> None:
    @app.get("/v1/requests/{controller_id}/{request_id}", summary="Receipt, tasks, due date and events of one")
    def show(controller_id: str, request_id: str, caller: Known) -> JSONResponse:
        return JSONResponse(_shown(workspace, caller, controller_id, request_id))

    @app.get("/v1/requests", summary="Receipts, oldest first; operators only")
    def listed(
        caller: Known,
        state: str | None = None,
        batch: str | None = None,
        model: str | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    ) -> JSONResponse:
        _operators_only(caller)
        return JSONResponse(_asked(lambda: list(requests.listed(workspace, state, batch, model, limit))))


def _changing(app: FastAPI, workspace: Workspace, Known: Any) -> None:
    @app.delete("/v1/requests/{controller_id}/{request_id}", summary="Call a request off, while that is possible")
    def cancel(controller_id: str, request_id: str, caller: Known) -> JSONResponse:
        """409 once images are being unlearned for it: from there on it can only be finished."""
        _shown(workspace, caller, controller_id, request_id)
        return _changed(workspace, controller_id, request_id, "cancel", "called_off_by_controller")

    @app.post("/v1/requests/{controller_id}/{request_id}/hold", summary="Legal hold; operators only")
    def hold(controller_id: str, request_id: str, caller: Known) -> JSONResponse:
        _operators_only(caller)
        _shown(workspace, caller, controller_id, request_id)
        return _changed(workspace, controller_id, request_id, "hold", "legal_hold")

    @app.post("/v1/requests/{controller_id}/{request_id}/release", summary="End a legal hold; operators only")
    def release(controller_id: str, request_id: str, caller: Known) -> JSONResponse:
        _operators_only(caller)
        _shown(workspace, caller, controller_id, request_id)
        return _changed(workspace, controller_id, request_id, "release", "hold_ended")


def _open_pages(app: FastAPI, workspace: Workspace) -> None:
    @app.get("/healthz", include_in_schema=False)
    def alive() -> PlainTextResponse:
        return PlainTextResponse("alive\n")

    @app.get("/readyz", include_in_schema=False)
    def ready() -> PlainTextResponse:
        _asked(lambda: intake.counts(workspace))
        return PlainTextResponse("ready\n")

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> PlainTextResponse:
        """OpenMetrics: how many requests stand where. Counts name nobody."""
        counts = _asked(lambda: intake.counts(workspace))
        lines = ["# TYPE unlearning_requests gauge"]
        lines += [f'unlearning_requests{{state="{state}"}} {count}' for state, count in sorted(counts.items())]
        kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
        return PlainTextResponse("\n".join([*lines, "# EOF", ""]), media_type=kind)

    @app.get("/docs", include_in_schema=False)
    @app.get("/", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(page.render(app.openapi()), headers={"Content-Security-Policy": page.POLICY})


def _handlers(app: FastAPI) -> None:
    app.add_exception_handler(Problem, of_problem)

    @app.exception_handler(RequestValidationError)
    async def of_parameters(request: HttpRequest, error: RequestValidationError) -> JSONResponse:
        """FastAPI's own answer would repeat what was sent."""
        return answer(422, "a parameter of the address is not what the description of this service says")

    @app.exception_handler(HTTPException)
    async def of_http(request: HttpRequest, error: HTTPException) -> JSONResponse:
        return answer(error.status_code, "there is nothing of that address and method here", dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def of_anything(request: HttpRequest, error: Exception) -> JSONResponse:
        return answer(500, "the intake broke; nothing was filed, the same call again is safe")


async def _body(request: HttpRequest, most: int) -> bytes:
    """The body, read no further than `most` bytes."""
    content = bytearray()
    async for block in request.stream():
        content += block
        if len(content) > most:
            raise Problem(413, f"more than {most} bytes; send less at a time")
    return bytes(content)


def _parsed(content: bytes, where: str) -> Filed:
    try:
        return schema.parse(content.decode(), where)
    except UnicodeDecodeError:
        raise Problem(422, f"{where}: not UTF-8 text") from None
    except RequestError as error:
        raise Problem(422, without_values(str(error))) from None


def _lines(content: bytes) -> list[Filed]:
    lines = [(number, line) for number, line in enumerate(content.split(b"\n"), 1) if line.strip()]
    if not 1 <= len(lines) <= MAX_LINES:
        raise Problem(422, f"{len(lines)} lines; 1 to {MAX_LINES} requests, one a line, are right")
    return [_parsed(line, f"line {number}") for number, line in lines]


def _add(workspace: Workspace, caller: Caller, filed: list[Filed]) -> tuple[list[dict[str, Any]], int]:
    """Receipts, and how many requests are new."""
    if not all(caller.speaks_for(one.request.controller_id) for one in filed):
        raise Problem(403, "a request of another controller; each token files for its own")
    return _asked(lambda: intake.file(filed, workspace, "http"))


def _shown(workspace: Workspace, caller: Caller, controller_id: str, request_id: str) -> dict[str, Any]:
    if not caller.speaks_for(controller_id):
        raise Problem(404, _UNKNOWN)  # not 403: that would say that it exists
    try:
        return _asked(lambda: requests.show(request_id, workspace, controller_id))[0]
    except Problem as problem:
        raise Problem(404, _UNKNOWN) if problem.status == 409 else problem from None


def _changed(workspace: Workspace, controller_id: str, request_id: str, action: str, reason: str) -> JSONResponse:
    return JSONResponse(_asked(lambda: requests.change(request_id, workspace, action, reason, controller_id))[0])


def _located(workspace: Workspace, content: bytes, dataset: str, near: int | None) -> dict[str, Any]:
    try:
        return locate.run(content, dataset, workspace, near)
    except DataError:
        raise Problem(422, "not a picture that can be decoded, or no such data set") from None


def _operators_only(caller: Caller) -> None:
    if not caller.operator:
        raise Problem(403, "only a token made with --operator may do that")


def _asked(action: Callable[[], Said]) -> Said:
    """What the ledger says; its refusals become problems that name nobody."""
    try:
        return action()
    except ConflictError:
        raise Problem(409, _OTHER_BODY) from None
    except RequestError:
        raise Problem(409, "not possible from the state that the request is in, or there is none such") from None
    except (StorageError, UnlearningError):
        raise Problem(503, "the ledger cannot be used now; nothing was changed, try again") from None


def _described(app: FastAPI) -> dict[str, Any]:
    """OpenAPI, with the schema of a request as it is really validated."""
    if app.openapi_schema is None:
        from fastapi.openapi.utils import get_openapi

        tree = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        request = Request.model_json_schema(ref_template="#/components/schemas/{model}")
        definitions = request.pop("$defs", {})
        problem = {
            name: {"type": kind} for name, kind in (("title", "string"), ("status", "integer"), ("detail", "string"))
        }
        schemas = tree.setdefault("components", {}).setdefault("schemas", {})
        schemas |= {**definitions, "Request": request, "Problem": {"type": "object", "properties": problem}}
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        tree["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        tree["security"] = [{"bearer": []}]
        app.openapi_schema = json.loads(json.dumps(tree))
    return app.openapi_schema

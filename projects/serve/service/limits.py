"""Refuses requests that are too large, before anything parses them."""

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# A client that is still sending when the connection closes may never see the response. So the rest
# of a body is read and thrown away, up to so many times the limit.
PATIENCE = 16


class LimitBody:
    """Answers 413 if a request's body has more than `max_body` bytes.

    app (ASGIApp): The application.
    max_body (int): The most bytes.
    """

    def __init__(self, app: ASGIApp, max_body: int):
        self.app = app
        self.max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        chunks: list[bytes] = []
        size, has_more = 0, True
        while has_more and size <= PATIENCE * self.max_body:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            chunk = message.get("body", b"")
            size += len(chunk)
            if size <= self.max_body:
                chunks.append(chunk)
            has_more = message.get("more_body", False)
        if size > self.max_body:
            detail = f"The request has more than {self.max_body} bytes."
            await JSONResponse({"detail": detail}, 413)(scope, receive, send)
            return
        is_read = False

        async def receive_again() -> Message:
            nonlocal is_read
            if is_read:
                return await receive()
            is_read = True
            return {"type": "http.request", "body": b"".join(chunks), "more_body": False}

        await self.app(scope, receive_again, send)

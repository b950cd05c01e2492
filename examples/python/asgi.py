async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    fields = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": b"Hello from ASGI\n"})

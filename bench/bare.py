"""The yardstick of the intake: an endpoint that reads Twilio's form, checks its signature, and does nothing else.

`python -m bench.bare PORT`, served as `recado serve` serves.
"""

import sys

import uvicorn
from fastapi import FastAPI, Request, Response

from recado.channels.twilio.forms import read_form, verify
from tests.fakes.twilio_inbound import AUTH_TOKEN


def make_app(public_url: str) -> FastAPI:
    """The app. `public_url` is what Twilio signs."""
    app = FastAPI()

    @app.post("/webhooks/twilio")
    async def receive(request: Request) -> Response:
        form = read_form(await request.body())
        url = public_url + request.url.path
        if not verify(url, form, request.headers.get("X-Twilio-Signature", ""), AUTH_TOKEN):
            return Response("wrong signature", 403)
        return Response("<Response/>", media_type="application/xml")

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return app


if __name__ == "__main__":
    port = int(sys.argv[1])
    uvicorn.run(make_app(f"http://127.0.0.1:{port}"), port=port, log_level="warning", access_log=False)

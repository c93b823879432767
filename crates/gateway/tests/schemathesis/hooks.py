"""Bodies that Schemathesis does not know how to send."""

import schemathesis


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def as_text(_context, value):
    return {"data": str(value).encode("utf-8", errors="replace")}

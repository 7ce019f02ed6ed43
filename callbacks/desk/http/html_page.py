"""Answers self-contained HTML pages: nothing is loaded from elsewhere, and a Content-Security-Policy enforces it."""

import base64
import hashlib
import re

from starlette.responses import Response

from callbacks.desk.http.responses import NO_STORE

_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


def html_response(html: str) -> Response:
    """Returns an answer with this page; only its own inline scripts and styles may run."""
    return Response(html, headers={**NO_STORE, **_security_headers(html)}, media_type="text/html")


def _security_headers(html: str) -> dict[str, str]:
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for tag, content in _INLINE.findall(html):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        hashes[tag].append(f"'sha256-{digest}'")
    sources = {tag: " ".join(found) or "'none'" for tag, found in hashes.items()}
    policy = [
        "default-src 'none'",
        f"script-src {sources['script']}",
        f"style-src {sources['style']}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    return {"Content-Security-Policy": "; ".join(policy), "Referrer-Policy": "no-referrer"}

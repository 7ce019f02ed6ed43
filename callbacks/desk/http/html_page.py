"""HTML pages that stand alone: nothing is loaded from anywhere, and the browser is told to see to that."""

import base64
import hashlib
import re

from starlette.responses import Response

from callbacks.desk.http.responses import NO_STORE

_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


def page(html: str) -> Response:
    """An answer with this page; only the scripts and styles that it has itself may run."""
    return Response(html, headers={**NO_STORE, **_policy(html)}, media_type="text/html")


def _policy(html: str) -> dict[str, str]:
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

"""Holds what all endpoints of the desk share.

Rule: nothing here knows tasks, callbacks or subscriptions, or imports their folders, except `context`, which holds the
dependencies of all handlers.

* `context` - the dependencies of handlers
* `endpoint` - declares what an endpoint is
* `routes` - builds Starlette routes from endpoints; authorizes before any handler runs
* `access` - authenticates and authorizes by bearer token
* `token_guesses` - counts wrong tokens by address, and makes their clients wait
* `parameters` - reads query parameters by a table
* `body_fields` - declares and reads request bodies by a table
* `request_body` - reads the bytes of a body within limits, and parses them
* `responses` - builds JSON answers
* `problems` - the errors of the API (RFC 9457)
* `pagination` - builds the pages of lists
* `cursors` - encodes the position where a page ended
* `query_pool` - runs queries in threads that callers share fairly
* `openapi` - builds the OpenAPI document
* `json_schema` - builds JSON Schemas from small parts
* `docs_page` - renders the OpenAPI document as HTML
* `html_page` - answers HTML pages with a Content-Security-Policy
"""

"""The web part of a process: the door takes vendors' callbacks and makes them durable, the desk answers the HTTP API.

Rule: nothing here changes the state of a task. Door and desk only append to the ledger and read from it.

app - the ASGI application: door, desk, and the parts that only they use
server - serves the application; its door opens first and shuts last

The door:
door - verifies, records and answers a callback
recorder - makes callbacks durable: in the ledger, or in the spool while the ledger is away
pending_callbacks - callbacks that wait for their answer
circuit_breaker - sends callbacks to the spool while the ledger does not take them
rejections - saves rejected callbacks; counts unrecorded ones, and wrong tokens

Connections:
client_connection - a client's HTTP connection, with limits; can be cut
connection_limits - counts the connections of a process, and closes some if there are too many
write_buffers - limits the memory of answers that clients do not read
client_address - the client behind a proxy

desk - the HTTP API, the status page and the docs
explain - `tally explain`: the history of a task as text
"""

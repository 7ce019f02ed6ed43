"""Access to the desk: tokens and what stands for them. No token is ever printed, logged or passed as an argument of a process.

tokens - makes random tokens; compares a request's token with the configured ones
token_file - the admin token of a desk without configured tokens, in a file beside the ledger
login_codes - codes for a browser that stand for a token, once and for ten minutes
login_link - links with a login code, for a terminal
curl - `tally curl`: runs curl with the address and a token filled in
"""

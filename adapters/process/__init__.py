"""The process as the operating system sees it. Modules here import little: some run before the rest of the program is loaded.

entry - the entry point of the command `tally`
listening_sockets - the sockets on which the server listens, opened here or passed on by the service manager
file_limits - the limit of open files, and the connections that it allows
service_manager - notifies systemd: ready, stopping
standard_streams - stdin, stdout and stderr that are closed, full, or without a reader
terminal - prints untrusted text safely
"""

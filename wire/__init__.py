"""What is on the wire: message formats and what is derived from them, transports, captures."""

from wire.lean import postpone

# Construct imports a debugger, and Twisted what reads cookies, with the whole of urllib, http.client and email.
postpone("pdb", "http.cookiejar")

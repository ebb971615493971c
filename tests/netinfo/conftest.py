from tests.netinfo.tools import domain, host, tool

__all__ = ["domain", "host", "tool"]

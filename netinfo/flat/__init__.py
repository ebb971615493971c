"""The flat files of Unix, such as passwd and hosts, out of a domain's directories and into them (NETINFO
6.4).

`formats.FORMATS` has every format by name; NeXT's and Apple's tools wrote and read some of them differently
(`model.Dialect`).
"""

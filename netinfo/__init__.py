"""NetInfo: the directory service of NeXTSTEP and early Mac OS X."""

"""SUP, CMU's Software Upgrade Protocol: collections, the file server, the client and their tools."""

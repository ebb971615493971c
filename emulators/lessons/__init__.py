"""The lessons: short stories in `docs/lessons`, each with an exchange that is played for real and recorded.

A lesson is a page of text, whose generated blocks are made from a capture (`story`), and a function that plays the
exchange with our own servers and clients on free ports of this machine (`stage`). `catalogue` lists them.
"""

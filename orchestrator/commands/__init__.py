"""The ``wbc`` command: one module for each of its words, over the same services as the running service.

What comes in: arguments and files of a person at a terminal. What goes out: text for that person, and an exit
code.
"""

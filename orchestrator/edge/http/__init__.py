"""What every HTTP request goes through, whatever it asks for: sizes and times, who asks, which route, how
errors look.

What comes in: bytes of a connection that is not trusted. What goes out: a request within its bounds, with its
route.
"""

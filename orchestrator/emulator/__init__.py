"""A laboratory's side of every format, so that an integrator can work without one: ``wbc emulate``."""

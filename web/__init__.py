"""The room: a Dash page, the sockets behind it, and the component package that draws the twin."""

__version__ = "0.1.0"  # Dash puts it into the address of the component bundle

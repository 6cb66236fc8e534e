"""Where attempts run: `base` is the interface, the other modules are the places."""

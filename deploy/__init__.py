"""How Penstock is run: the embedded stack, container images, cloud templates."""

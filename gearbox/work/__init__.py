"""How a worker does its jobs: commands and functions, leave and lease, results repeated until the core has them."""

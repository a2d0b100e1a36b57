"""The web side of a challenge: pages, a JSON interface, resumable uploads."""

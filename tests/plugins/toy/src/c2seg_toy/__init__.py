"""An example of a plug-in of c2seg."""

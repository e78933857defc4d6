"""Wire formats and pages; each face is independent of the others."""

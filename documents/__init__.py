"""The document registry and repository, modelled on IHE XDS."""

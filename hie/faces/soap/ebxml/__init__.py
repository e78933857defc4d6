"""ebRIM 3.0 to and from the metadata values of the document registry. Pure.

What the values have no place for is kept in `extra`, and written again: ``slots`` (slots that are no attribute) and
``ebxml`` (`kept`). Source: spec/xds.md 3 (IHE ITI TF-3 4.2).
"""

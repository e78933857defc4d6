"""The document registry and repository, modelled on IHE XDS.

Owns submission sets, document entries, folders, associations, the encrypted bytes behind them
and the labels set on them. Knows a patient only as the primary key of an identifier, a custodian
only as a directory id; refuses to know who may see what: `hie.exchange.access` decides.
"""

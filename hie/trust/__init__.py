"""Who is calling: tokens, limits, accounts, second factors.

Owns the proof of identity: client assertions, access tokens, scopes, limits on use, this
hub's own keys, accounts of people. Refuses to know what a caller may see: that is consent's.
"""

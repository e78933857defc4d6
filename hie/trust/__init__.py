"""Who is calling: tokens, limits, accounts, second factors."""

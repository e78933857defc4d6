"""What was done: events, disclosures, seals, checkpoints.

Owns the record of every act and attempt, its tamper evidence, its search. Events
are only ever inserted. Refuses to know patients, documents and consent: it holds
their identifiers as opaque text, and encrypted words only a viewer entitled by
`hie.exchange.access_log` gets to read.
"""

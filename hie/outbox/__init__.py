"""What has to be told to others: notices as rows.

Owns: the rows, claiming them, trying again. `from hie.outbox import outbox; outbox.add(...)`.
Refuses to know: who is told, by which channel, and what a notice means.
"""

"""Privacy at the way out: the table of every way, hidden against absent over HTTP, errors and logs, the cost of the door."""

"""What was done: events, disclosures, seals, checkpoints."""

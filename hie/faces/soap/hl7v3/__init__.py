"""Patient identity in HL7 V3, carried by the SOAP face: what a message says, what it does, how it is acknowledged."""

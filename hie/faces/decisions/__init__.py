"""Decision services beside FHIR: CDS Hooks and XACML in JSON. Reads and writes their forms; decides nothing itself."""

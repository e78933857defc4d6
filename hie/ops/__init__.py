"""Running the hub: supervisor, embedded services, sandbox, benchmarks."""

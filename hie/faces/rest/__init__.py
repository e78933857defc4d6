"""JSON for what no standard covers."""

"""HTTP: the API and the dashboard."""

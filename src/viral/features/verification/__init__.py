"""The attack on the running installation, and the signed report of what held."""

"""Jobs that Inngest calls for."""

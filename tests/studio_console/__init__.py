"""Studio's console: typed SQL, plans, the diagram, the state of the migrations."""

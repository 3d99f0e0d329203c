"""The application, driven as browsers and programs do."""

"""The application attacked by itself: a family of attacks for `viral tenant verify`."""

"""An existing database of the specification's Prisma schema becomes rows of this installation."""

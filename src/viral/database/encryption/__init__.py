"""Encrypted fields: the keys, the cipher, the models' events, and the change of keys."""

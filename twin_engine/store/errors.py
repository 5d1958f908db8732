"""What may go wrong between the house and Redis, one family per reaction."""

from __future__ import annotations


class StoreError(Exception):
    """Base of all that the store raises."""


class StoreDown(StoreError):
    """Redis can't be reached or refuses work. Wait and try again; nothing was written."""


class NotOwner(StoreError):
    """Another engine holds this shard (its fencing token is newer). Stop writing at once."""


class NotPermitted(StoreError):
    """Redis knows the user, and does not let it do this: its rules are not this version's. An operator mends them."""


class StoreCorrupt(StoreError):
    """What lies in Redis can't be read back with the keys at hand. Stop, and let a person look."""


class Erased(StoreCorrupt):
    """The patient was erased: nothing of her can be read or written, ever again."""

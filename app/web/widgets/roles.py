"""Roles of heads in words."""


def role_name(role: str) -> str:
    """A role as a word for people."""
    return role.replace("_", " ")

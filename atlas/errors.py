"""Every error a user can meet, each with the way out.

AtlasError(message, hint)
├── ConfigError     a setting that is unknown, of the wrong type or out of range
├── ModelError      a model that cannot be found, loaded or decomposed
├── CorpusError     a corpus that is missing, empty or broken
├── BundleError     a bundle that is incomplete, damaged or of another version
├── StoreError      a store or snapshot that is missing, damaged or of another version
├── NotFound        an id that parses but names nothing, or does not parse
├── QueryError      a search or a SQL query that is refused or ran out of its limits
│   └── Busy        too many ask or write at once; a NotesError too
├── NotesError      a note that cannot be written
│   └── Conflict    somebody else changed it first
└── LabelError      a labeller or its endpoint that cannot work
"""


class AtlasError(Exception):
    """A fact that stops the work, and what the user can do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class ConfigError(AtlasError):
    """A setting is unknown, of the wrong type or out of range."""


class ModelError(AtlasError):
    """A model cannot be found, loaded or decomposed."""


class CorpusError(AtlasError):
    """A corpus is missing, empty or broken."""


class BundleError(AtlasError):
    """A bundle is incomplete, damaged or of another version."""


class StoreError(AtlasError):
    """A store or snapshot is missing, damaged or of another version."""


class NotFound(AtlasError):
    """An id does not parse or names nothing."""


class QueryError(AtlasError):
    """A query is refused or ran out of its limits."""


class NotesError(AtlasError):
    """A note cannot be written."""


class Conflict(NotesError):
    """Somebody else changed the note first; neither side's words are lost."""

    def __init__(
        self, message: str, hint: str = "", theirs: object = None, yours: object = None
    ) -> None:
        super().__init__(message, hint)
        self.theirs = theirs
        """The note as it stands now; None when it was removed."""
        self.yours = yours
        """The content that was not written; None for a removal or an undo."""


class Busy(QueryError, NotesError):
    """Too many ask or write at once: the same works later."""


class LabelError(AtlasError):
    """A labeller or its endpoint cannot work."""

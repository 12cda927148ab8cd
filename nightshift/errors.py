"""Every error Nightshift raises on purpose, split by who must act on it.

UserError: the caller sent something wrong; the API answers 4xx and says what to do.
ModelRetry: the model sent something wrong; the text goes back to it as the tool's output.
Retryable: the world hiccuped; the same call may succeed later.
Permanent: the same call will never succeed; a person must read the reason.
"""


class NightshiftError(Exception):
    """Root of the tree."""


class UserError(NightshiftError):
    """The caller must change the request. `status` is the HTTP status, `title` the problem's short name.

    `code` is stable and says which of its kind it is: the pages have a sentence for each (web/words), into which they
    fill `values`. Without one the title stands for it.
    """

    status = 400
    title = "Bad request"

    def __init__(self, detail: str, code: str = "", **values: object) -> None:
        super().__init__(detail)
        self.code = code or self.title.lower().replace(" ", "-")
        self.values = values


class Unauthorized(UserError):
    """No credentials, or credentials that open nothing."""

    status, title = 401, "Unauthorized"


class BudgetExhausted(UserError):
    """The session's budget does not pay for another model call; its owner may raise it."""

    status, title = 402, "Budget exhausted"


class Forbidden(UserError):
    """Valid credentials that do not open this."""

    status, title = 403, "Forbidden"


class NotFound(UserError):
    """No such thing, or it belongs to somebody else."""

    status, title = 404, "Not found"


class Conflict(UserError):
    """A document of that id exists, or the request contradicts an earlier one."""

    status, title = 409, "Conflict"


class StaleGeneration(Conflict):
    """The worker belongs to an older start of the machine and must exit."""

    title = "Stale generation"


class PreconditionFailed(UserError):
    """The document changed since it was read (ETag mismatch)."""

    status, title = 412, "Precondition failed"


class TooLarge(UserError):
    """The payload is over the limit that the message names."""

    status, title = 413, "Payload too large"


class Unprocessable(UserError):
    """Well-formed, but not something that can be done."""

    status, title = 422, "Unprocessable content"


class TooManyRequests(UserError):
    """More than a person would ask. `retry_after` is in seconds."""

    status, title = 429, "Too many requests"

    def __init__(self, detail: str, retry_after: int, code: str = "") -> None:
        super().__init__(detail, code, seconds=retry_after)
        self.retry_after = retry_after


class ModelRetry(NightshiftError):
    """The model must change its call; the message tells it how."""


class Retryable(NightshiftError):
    """A passing fault. `retry_after` (seconds) is what the other side asked for, if it did."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def may_pass(status: int) -> bool:
    """Whether the same HTTP request may succeed later, for all that an answer of this status tells."""
    return status >= 500 or status in (408, 425, 429)


class Permanent(NightshiftError):
    """It will not work however often it is tried. `advice` tells a person what to do."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class ContextTooLong(Permanent):
    """The model server refuses a request for its length. The same conversation, shortened, may pass."""

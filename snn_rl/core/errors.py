"""Errors that users meet: one clear sentence that says what to do."""


class UserError(ValueError):
    """Something the user can put right. The message is the whole story; the command line prints it without a traceback."""

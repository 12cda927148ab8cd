"""What can go wrong before the host serves anything."""


class StartError(Exception):
    """The app folder or the machine is not as it must be; the message says what to change."""
